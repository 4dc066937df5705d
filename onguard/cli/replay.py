"""
Visits replayed through the operator's own evaluation: the same code, and so the same verdicts, bit by bit.

What the operator does after a decision is not done: nothing rolls back, no Job starts, and no Decision exists that a
later one could collide with. Two things that a recording does not have are as if nothing were wrong: metrics of
resources, and what other models report.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Final

from onguard.cli import stagehand
from onguard.cli.stagehand import Model, Names
from onguard.cli.truths import Watch
from onguard.decide import Verdict
from onguard.frames import Frame
from onguard.profile import Profile
from onguard.sidecar_config import of_spec
from onguard_operator import assess, deciding, evaluate
from onguard_operator.evaluate import Evaluation, Inputs
from onguard_operator.evidence import Evidence
from onguard_operator.records import Measured

QUIET: Final = frozenset[str]()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """
    Something that a person would have been told.

    Attributes:
        at: Unix time of the visit.
        began, ended: alarms that are new, and that are over.
        verdict: the decision, if one was made; revisions as the recording names them.
        objective: what the decision is about.
        figures: its evidence.
    """

    at: float
    began: frozenset[str]
    ended: frozenset[str]
    verdict: Verdict | None = None
    objective: str = ""
    figures: tuple[Measured, ...] = ()


class Engine:
    """
    The operator's memory of one model, visit by visit.

    Attributes:
        evidence: all that is remembered.
        visits: how many there were.
        evaluation: the last one.
    """

    def __init__(self, model: Model, profile: Profile | None) -> None:
        self._model = model
        self._profile = profile
        self._objectives_hash = of_spec(model.name, model.spec, "").objectives_hash
        self._first_seen: dict[str, float] = {}
        self._alarms = QUIET
        self._labels = Watch(profile, model.spec.false_alarms)
        self.evidence = Evidence()
        self.evaluation: Evaluation | None = None
        self.visits = 0

    def visit(self, frame: Frame) -> Turn | None:
        """
        Take one frame; what is new by it, if anything.

        The lines are those of the operator's visit, without reading and without acting.
        """
        self._note(frame)
        seen = stagehand.observed(self._model, frame, self._first_seen, self.evidence.history)
        before, now = self.evidence, frame.at
        noted = evaluate.note_revision(before, seen, broken=frozenset(before.onsets), now=now)
        inputs = Inputs(
            seen=seen,
            readings=stagehand.readings_of(frame),
            usages=(),
            profile=self._profile,
            objectives_hash=self._objectives_hash,
            measurement=False,
            now=now,
            labelled=self._labels.see(frame),
        )
        evaluation = evaluate.evaluate(noted, inputs)
        outcome = deciding.decide_on(seen, evaluation, now=now)
        self.evidence = dataclasses.replace(evaluation.evidence, memory=outcome.memory)
        self.evaluation, self.visits = evaluation, self.visits + 1
        return self._turn(now, evaluation, outcome.verdict)

    def _note(self, frame: Frame) -> None:
        self._first_seen.setdefault(frame.current, frame.began)
        for pod in frame.pods:
            self._first_seen.setdefault(pod.revision, pod.born)

    def _turn(self, now: float, evaluation: Evaluation, verdict: Verdict | None) -> Turn | None:
        alarms, before = frozenset(evaluation.alarms), self._alarms
        self._alarms = alarms
        if alarms == before and verdict is None:
            return None
        turn = Turn(at=now, began=alarms - before, ended=before - alarms)
        if verdict is None:
            return turn
        return dataclasses.replace(
            turn,
            verdict=self._named(verdict),
            objective=assess.leading_objective(evaluation.present, evaluation.around),
            figures=tuple(assess.figures_of(evaluation.present, evaluation.around)),
        )

    def _named(self, verdict: Verdict) -> Verdict:
        names = Names.of(self._first_seen)
        fields = {name: getattr(verdict, name) for name in verdict.__struct_fields__}
        target = verdict.target_revision
        fields["revision"] = names.readable(verdict.revision)
        fields["target_revision"] = names.readable(target) if target else None
        return Verdict(**fields)


def replay(engine: Engine, frames: Iterable[Frame]) -> Iterator[Turn]:
    """All turns of a recording, in order."""
    for frame in frames:
        turn = engine.visit(frame)
        if turn is not None:
            yield turn
