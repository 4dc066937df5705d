"""
One visit of one ModelDeployment, from a live read to the written status.

The order is the guarantee: what should be there is applied; pods are read; evidence moves; a Decision is recorded; the
evidence that it rests on is saved; only then is anything done. A crash anywhere repeats the same names.
"""

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from onguard import contract
from onguard.decide import Action, Phase, remember_act
from onguard.spec import ResourceSource, Spec, SpecError, parse_spec
from onguard_operator import (
    act,
    announce,
    assess,
    deciding,
    evaluate,
    exchangeable,
    gather,
    guarding,
    injection,
    learn,
    present,
    progress,
    reconcile,
    records,
    reference,
    resources,
    scrape,
    status,
    target_conditions,
    tokens,
)
from onguard_operator.cluster import Cluster, ClusterError, Kind
from onguard_operator.evaluate import Evaluation, Inputs
from onguard_operator.evidence import Evidence
from onguard_operator.fleet import Fleet
from onguard_operator.lease import Lease
from onguard_operator.objects import Object, is_terminating, name_of, namespace_of, uid_of
from onguard_operator.observe import SLOW_S, Observed, observe
from onguard_operator.plan import ApplyConfig, Means, config_of, plan
from onguard_operator.scheduler import Key
from onguard_operator.scrape import NotReadable, Reading, Scraper
from onguard_operator.settings import Settings
from onguard_operator.status import Condition, fails
from onguard_operator.store import Store
from onguard_operator.telemetry import Telemetry

MAX_STEPS: Final = 4
"""Steps of one Decision in one visit; a chain that is longer goes on at the next."""
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tools:
    """What visits share."""

    cluster: Cluster
    store: Store
    scraper: Scraper
    lease: Lease
    telemetry: Telemetry
    settings: Settings
    clock: Callable[[], datetime]
    fleet: Fleet = dataclasses.field(default_factory=Fleet)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """One visit: the cluster as seen, the time, and what this ModelDeployment's sidecars are told."""

    seen: Observed
    means: Means
    token: str
    now: datetime

    @property
    def unix(self) -> float:
        """The time in seconds since 1970."""
        return self.now.timestamp()

    @property
    def model(self) -> tuple[str, str]:
        """Namespace and name, as metrics label it."""
        return namespace_of(self.seen.mdep), self.seen.name


class Visitor:
    """Visits ModelDeployments; keeps what they remember between visits."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._evidence: dict[str, Evidence] = {}
        self._uids: dict[Key, str] = {}

    async def visit(self, key: Key) -> bool:
        """
        Visit one ModelDeployment; says whether it exists.

        Raises:
            ClusterError: if something could not be read or saved; nothing was done that relies on it.
        """
        if not self._tools.lease.is_held:
            return True
        mdep = await self._tools.cluster.find(Kind.MODEL_DEPLOYMENT, key.namespace, key.name)
        if mdep is None:
            return False
        if self._uids.get(key, uid_of(mdep)) != uid_of(mdep):
            self.forget(key)  # another object under the same name inherits nothing
        self._uids[key] = uid_of(mdep)
        if not is_terminating(mdep):
            await self._visit(mdep)
        return True

    def forget(self, key: Key) -> None:
        """Drop all that is kept of a ModelDeployment that is gone."""
        uid = self._uids.pop(key, "")
        self._evidence.pop(uid, None)
        self._tools.fleet.forget(uid)
        self._tools.telemetry.forget(key)

    async def save_all(self) -> None:
        """Save what is remembered, at the end of the process."""
        for key, uid in self._uids.items():
            if uid in self._evidence:
                shell: Object = {"metadata": {"name": key.name, "namespace": key.namespace, "uid": uid}}
                await self._tools.store.save(shell, self._evidence[uid], self._tools.clock().timestamp())

    async def _visit(self, mdep: Object) -> None:
        tools, now = self._tools, self._tools.clock()
        try:
            spec = parse_spec(mdep["spec"])
        except SpecError as error:
            broken = fails(contract.CONDITION_READY, "SpecInvalid", str(error))
            await self._write_status(mdep, [broken], {"phase": "Degraded", "message": str(error)[:1024]}, now)
            return
        scene = await self._look(mdep, spec, now)
        before = await self._remembered(scene)
        noted = evaluate.note_revision(before, scene.seen, broken=frozenset(before.onsets), now=scene.unix)
        failed = await reconcile.apply(tools.cluster, mdep, plan(scene.seen, noted.history, means=scene.means, now=now))
        evaluation, conditions, picture = await self._evaluate(scene, noted)
        decisions = await self._decide(scene, before, evaluation)
        conditions += _of_cluster(scene, failed, tools.settings)
        await self._report(scene, conditions, dataclasses.replace(picture, decisions=decisions))

    async def _look(self, mdep: Object, spec: Spec, now: datetime) -> Scene:
        settings = self._tools.settings
        seen = await observe(self._tools.cluster, mdep, spec, operator_namespace=settings.namespace)
        token = tokens.counts_token(settings.read_key(), uid_of(mdep))
        means = Means(sidecar_image=settings.sidecar_image, token_sha256=tokens.fingerprint(token))
        return Scene(seen=seen, means=means, token=token, now=now)

    async def _remembered(self, scene: Scene) -> Evidence:
        uid = scene.seen.uid
        if uid not in self._evidence:
            loaded = await self._tools.store.load(uid)
            if not loaded.history.current:
                loaded = dataclasses.replace(loaded, memory=deciding.recovered(scene.seen.decisions))
            self._evidence[uid] = loaded
        return self._evidence[uid]

    async def _evaluate(self, scene: Scene, noted: Evidence) -> tuple[Evaluation, list[Condition], present.Picture]:
        tools, seen = self._tools, scene.seen
        pods = evaluate.guarded_pods(seen)
        since = {uid_of(pod): gather.since_of(noted) for pod in pods}
        readings = await tools.scraper.read(pods, scene.token, since)
        tools.telemetry.count_scrapes(scene.model, Counter(_outcome(reading) for reading in readings.values()))
        usages = await self._usages(seen)
        profile, reference_valid = reference.read(seen)
        evaluation = evaluate.evaluate(
            noted,
            Inputs(
                seen=seen,
                readings=readings,
                usages=usages,
                profile=profile,
                objectives_hash=config_of(seen, scene.means).objectives_hash,
                measurement=tools.fleet.is_suspect(seen.uid),
                now=scene.unix,
            ),
        )
        tools.fleet.note(seen.uid, evaluation.alarms, scene.unix)
        must = [pod for pod in pods if uid_of(pod) in evaluate.expected_pods(seen)]
        scrapable = scrape.scrapable(must, readings, operator_namespace=tools.settings.namespace)
        if reference_valid.reason == learn.LEARNING:
            reference_valid = learn.told(seen, readings, evaluation.evidence)
        for body in learn.next_map(seen, readings, evaluation.evidence, profile):
            await reconcile.apply(tools.cluster, seen.mdep, [ApplyConfig(body)])
        picture = dataclasses.replace(
            _picture(scene, evaluation, readings, usages), reference=learn.shown(seen, evaluation.evidence, profile)
        )
        return evaluation, [reference_valid, scrapable, present.healthy(picture)], picture

    async def _usages(self, seen: Observed) -> list[resources.Usage]:
        if seen.target is None or seen.spec.resources.source is not ResourceSource.METRICS_API:
            return []
        labels = seen.target["spec"]["selector"].get("matchLabels")
        try:
            space = namespace_of(seen.mdep)
            found = await self._tools.cluster.list(Kind.POD_METRICS, space, labels=labels, within=SLOW_S)
        except ClusterError as error:
            _log.debug("no resource metrics: %s", error)
            return []
        return resources.usages(seen.live_pods, found)

    # --- deciding and acting ----------------------------------------------------------------------------------
    async def _decide(self, scene: Scene, before: Evidence, evaluation: Evaluation) -> Sequence[Object]:
        """Record a new Decision if there is one, save, and take the next steps of all that are open."""
        outcome = deciding.decide_on(scene.seen, evaluation, now=scene.unix)
        memory, decisions = outcome.memory, list(scene.seen.decisions)
        if outcome.verdict is not None:
            decision = records.record(
                scene.seen.mdep,
                outcome.verdict,
                objective=assess.leading_objective(evaluation.present, evaluation.around),
                evidence=assess.figures_of(evaluation.present, evaluation.around),
                previous_hash=memory.last_hash,
                now=scene.now,
            )
            made = await act.ensure_record(self._tools.cluster, decision)
            memory = msgspec.structs.replace(memory, last_decision=name_of(made), last_hash=records.hash_of(made))
            decisions = [*(d for d in decisions if name_of(d) != name_of(made)), made]
            await self._told(scene, made)
        evidence = dataclasses.replace(evaluation.evidence, memory=memory)
        await self._keep(scene, before, evidence)
        return [await self._proceed(scene, decision, evaluation) for decision in decisions]

    async def _told(self, scene: Scene, decision: Object) -> None:
        spec, phase = decision["spec"], records.phase_of(decision)
        self._tools.telemetry.count_decision(scene.model, spec["cause"], spec["action"], phase.value)
        await announce.post(self._tools.cluster, [announce.of_decision(scene.seen.mdep, decision, scene.now)])

    async def _keep(self, scene: Scene, before: Evidence, evidence: Evidence) -> None:
        """Save at once when anything that decides has changed, else when it is due; then, and only then, remember."""
        if _has_turned(before, evidence) or self._tools.store.is_due(scene.seen.uid, scene.unix):
            await self._tools.store.save(scene.seen.mdep, evidence, scene.unix)
        self._evidence[scene.seen.uid] = evidence

    async def _proceed(self, scene: Scene, decision: Object, evaluation: Evaluation) -> Object:
        first = records.phase_of(decision)
        decision = await act.ensure_phase(self._tools.cluster, decision)
        for _ in range(MAX_STEPS):
            remembered = self._evidence[scene.seen.uid]
            around = deciding.circumstances(
                decision, scene.seen, dataclasses.replace(evaluation, evidence=remembered), now=scene.unix
            )
            step = progress.next_step(decision, scene.seen, remembered.history, around)
            moved = await self._take(scene, decision, step)
            is_over = moved is decision or isinstance(step, progress.ApplyTemplate | progress.StartJob)
            decision = moved
            if is_over:
                break  # what was just written is not in what this visit has seen
        if records.phase_of(decision) is not first:
            await self._told_end(scene, decision)
        return decision

    async def _take(self, scene: Scene, decision: Object, step: progress.Step) -> Object:
        lease = self._tools.lease
        moved = await act.take(self._tools.cluster, decision, step, may_act=lambda: lease.is_held, now=scene.now)
        if isinstance(step, progress.Begin):
            remembered = self._evidence[scene.seen.uid]
            memory = remember_act(remembered.memory, Action(decision["spec"]["action"]), scene.unix)
            await self._keep(scene, remembered, dataclasses.replace(remembered, memory=memory))
        return moved

    async def _told_end(self, scene: Scene, decision: Object) -> None:
        """Announce the phase; after a rollback that has come to its end, let go of the fields that it wrote."""
        cluster, seen = self._tools.cluster, scene.seen
        await announce.post(cluster, [announce.of_decision(seen.mdep, decision, scene.now)])
        if records.phase_of(decision) is Phase.SUCCEEDED and decision["spec"]["action"] == Action.ROLLBACK:
            target = await cluster.find(Kind.DEPLOYMENT, namespace_of(seen.mdep), seen.spec.target_ref.name)
            if target is not None:
                await act.give_up_ownership(cluster, decision, target)

    # --- telling ----------------------------------------------------------------------------------------------
    async def _report(self, scene: Scene, conditions: Sequence[Condition], picture: present.Picture) -> None:
        seen = scene.seen
        summary = status.ready(conditions)
        images, _ = injection.suspension(seen, scene.now, sidecar_image=scene.means.sidecar_image)
        acting = any(records.phase_of(decision) is Phase.ACTING for decision in picture.decisions)
        history = picture.evidence.history
        current = history.now_serving
        fields: dict[str, Any] = {
            **present.fields(seen, picture),
            "suspendedImages": list(images),
            "phase": status.phase(
                conditions,
                alarmed=bool(picture.alarms),
                acting=acting,
                watching=current is not None and current.standing.value == "Baking",
            ),
            "message": summary.message[:1024],
        }
        await self._write_status(seen.mdep, [summary, *conditions], fields, scene.now)
        guarded = any(c.type == contract.CONDITION_TRAFFIC_GUARDED and c.status == "True" for c in conditions)
        self._tools.telemetry.show(scene.model, present.gauges(picture, guarded=guarded, now=scene.unix))
        self._tools.telemetry.count_evaluation(scene.model, "done")

    async def _write_status(
        self, mdep: Object, conditions: Sequence[Condition], fields: Mapping[str, Any], now: datetime
    ) -> None:
        old = mdep.get("status") or {}
        generation = int(mdep["metadata"].get("generation", 0))
        merged, changes = status.merge(old.get("conditions") or (), conditions, generation=generation, now=now)
        new = {**fields, "conditions": merged, "observedGeneration": generation}
        if status.differs(old, new):
            await self._tools.cluster.patch(Kind.MODEL_DEPLOYMENT, mdep, {"status": new}, subresource="status")
        await announce.post(self._tools.cluster, announce.of_changes(mdep, changes, now))


def _outcome(reading: Reading) -> str:
    return reading.reason if isinstance(reading, NotReadable) else "read"


def _has_turned(before: Evidence, after: Evidence) -> bool:
    """Whether anything has changed that a crash must not forget: revisions, alarms, decisions, references."""
    standings = [[(r.id, r.standing) for r in e.history.revisions] for e in (before, after)]
    return (
        before.memory != after.memory
        or before.history.current != after.history.current
        or standings[0] != standings[1]
        or set(before.onsets) != set(after.onsets)
        or before.references != after.references
    )


def _picture(
    scene: Scene, evaluation: Evaluation, readings: Mapping[str, Reading], usages: Sequence[resources.Usage]
) -> present.Picture:
    seen = scene.seen
    expected = evaluate.expected_pods(seen)
    unreadable = sum(1 for uid in expected if isinstance(readings.get(uid), NotReadable))
    bare = sum(1 for pod in seen.live_pods if not guarding.is_injected(pod))
    return present.Picture(
        evidence=evaluation.evidence,
        findings=evaluation.findings,
        alarms=evaluation.alarms,
        comparison=evaluation.around.comparison,
        pods=present.Pods(guarded=len(expected), unguarded=bare, unreadable=unreadable),
        usages=usages,
        detectable=evaluation.detectable,
        estimate=evaluation.estimate,
    )


def _of_cluster(scene: Scene, failed: Sequence[tuple[object, ClusterError]], settings: Settings) -> list[Condition]:
    seen = scene.seen
    return [
        target_conditions.target_found(seen),
        injection.injected(seen, scene.now, sidecar_image=settings.sidecar_image),
        guarding.traffic_guarded(seen),
        guarding.drain_guaranteed(seen),
        exchangeable.arms_exchangeable(seen),
        target_conditions.actions_allowed(seen, failed, settings.namespace),
    ]
