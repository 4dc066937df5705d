"""
A reference out of live traffic: which step of learning is next, from what is there. Pure.

1. *Bins.* While the ConfigMap of the learnt reference is not there, sidecars look at their first requests and propose
   bins. Any bins are valid; those of the pod with the most requests are taken, and written without counts.
2. *Counts.* The requests that good revisions serve after that are counted in these bins, all pods summed: exact in any
   order, and each counted once whatever restarts. Nothing is counted while an objective is broken, a Decision is open
   or traffic is lost: what is wrong now must not become normal.
3. *Frozen.* With enough requests over enough time the counts are written into the same ConfigMap, whose hash the
   status keeps: content that anybody changes later is not used. (An immutable ConfigMap would be read once by the
   kubelets, and never again after another attempt has replaced it.)
"""

import base64
import dataclasses
import gzip
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np

from onguard import contract, learning
from onguard.counts import Counts, Surveyed, from_wire, to_wire
from onguard.learning import Source
from onguard.profile import Profile, ProfileError, decode_profile, encode_profile
from onguard.sidecar_config import Survey
from onguard_operator import gather, naming, release
from onguard_operator.evidence import Evidence, Learning
from onguard_operator.objects import (
    Object,
    annotations_of,
    is_owned_by,
    namespace_of,
    owner_reference,
    stamp,
    uid_of,
)
from onguard_operator.observe import Observed
from onguard_operator.release import Standing
from onguard_operator.scrape import Reading, Value
from onguard_operator.status import Condition, fails, unknown

LEARNING: Final = "Learning"
SURVEYED: Final = (200, 2000)
"""At least and at most so many requests of one pod choose the bins; between them a tenth of those wanted."""
PLAIN_BYTES: Final = 900_000
"""A larger profile goes into the ConfigMap compressed."""
MAX_BYTES: Final = 8 << 20
_GOOD: Final = (Standing.GOOD, Standing.ASSUMED_GOOD)
_SHOWN: Final = 20
"""Steps of the progress that is told, so that the status is not written at each visit."""


class Learnt(msgspec.Struct, frozen=True, kw_only=True):
    """What the ConfigMap says of its reference, for people."""

    from_: str = msgspec.field(name="from")
    until: str
    requests: int
    revisions: tuple[str, ...]


def survey_of(seen: Observed) -> Survey | None:
    """What sidecars are asked to look at; None once there are bins."""
    learns = seen.spec.reference.learn
    if learns is None or has_bins(seen) or frozen_hash(seen) or is_name_taken(seen):
        return None
    return Survey(attempt=learns.attempt, requests=min(max(learns.requests // 10, SURVEYED[0]), SURVEYED[1]))


def has_bins(seen: Observed) -> bool:
    """Whether the ConfigMap is there, and of the attempt that is wanted."""
    learns, found = seen.spec.reference.learn, seen.profile_map
    if learns is None or found is None or not is_owned_by(found, seen.mdep):
        return False
    return annotations_of(found).get(contract.ANNOTATION_LEARN_ATTEMPT) == str(learns.attempt)


def is_name_taken(seen: Observed) -> bool:
    """Whether somebody else's ConfigMap is where the reference should be."""
    return seen.profile_map is not None and not is_owned_by(seen.profile_map, seen.mdep)


def frozen_hash(seen: Observed) -> str:
    """Hash of the reference that this attempt has led to, by our own word; empty while it has not."""
    told = (seen.mdep.get("status") or {}).get("reference") or {}
    learns = seen.spec.reference.learn
    is_ours = learns is not None and told.get("state") == "Frozen" and told.get("attempt") == learns.attempt
    return str(told.get("hash", "")) if is_ours else ""


def learns_from(evidence: Evidence, bins: Profile | None) -> frozenset[str]:
    """Revisions whose traffic may become the reference now."""
    if bins is None or bins.is_counted or obstacle(evidence):
        return frozenset()
    return frozenset(known.id for known in evidence.history.revisions if known.standing in _GOOD)


def obstacle(evidence: Evidence) -> str:
    """Why nothing may be learnt at this moment; empty: nothing is in the way."""
    current = evidence.history.now_serving
    if evidence.onsets:
        return f"broken: {', '.join(sorted(evidence.onsets))}"
    if evidence.memory.open:
        return "a Decision is open"
    if gather.is_lossy(evidence):
        return "too much of the traffic could not be read"
    if current is None or current.standing not in _GOOD:
        return "the revision that serves now is not known to be good yet"
    return ""


def counted(evidence: Evidence, intake: gather.Intake, setting: gather.Setting, *, now: float) -> Evidence:
    """
    Add what was served since the last visit.

    Args:
        evidence: so far; bins that are gone take their counts along.
        intake: of this visit.
        setting: bins, and those revisions.
        now: Unix time.
    """
    bins, before, new = setting.profile, evidence.learning, intake.learnt
    if bins is None or bins.is_counted:
        return dataclasses.replace(evidence, learning=None)
    if before is not None and before.bins != bins.hash:
        before = None
    if new is None or not new.units:
        return dataclasses.replace(evidence, learning=before)
    served = tuple(r.id for r in evidence.history.revisions if r.id in setting.learns_from)
    total = new if before is None else new + from_wire(before.counts, bins)
    moved = Learning(
        bins=bins.hash,
        since=before.since if before else now - contract.SCRAPE_S,
        until=now,
        revisions=tuple(dict.fromkeys((*(before.revisions if before else ()), *served))),
        counts=to_wire(total),
        hours=_by_hour(before.hours if before else {}, intake.hours, new),
    )
    return dataclasses.replace(evidence, learning=moved)


def _by_hour(before: Mapping[int, Sequence[int]], hours: frozenset[int], new: Counts) -> Mapping[int, Sequence[int]]:
    if len(hours) != 1:
        return before
    (cell,) = hours
    old = before.get(cell)
    return {**before, cell: (new.bins if old is None else new.bins + np.array(old, np.int64)).tolist()}


def _requests(evidence: Evidence) -> int:
    return evidence.learning.counts.units // contract.UNIT if evidence.learning else 0


def _span_s(evidence: Evidence) -> float:
    return evidence.learning.until - evidence.learning.since if evidence.learning else 0.0


def next_map(
    seen: Observed, readings: Mapping[str, Reading], evidence: Evidence, bins: Profile | None
) -> Sequence[Object]:
    """The ConfigMap to write at this visit, or none. The same picture leads to the same ConfigMap."""
    if survey_of(seen) is not None:
        proposed = _proposed(seen, readings, evidence)
        return [_map(seen, proposed, {})] if proposed else []
    learns, got = seen.spec.reference.learn, evidence.learning
    if learns is None or got is None or bins is None or bins.is_counted or not has_bins(seen):
        return []
    if _requests(evidence) < learns.requests or _span_s(evidence) < learns.for_:
        return []
    learnt = Learnt(
        from_=_time(got.since), until=_time(got.until), requests=_requests(evidence), revisions=got.revisions[-16:]
    )
    source = Source(bins, f"{learnt.from_} to {learnt.until}, revision {', '.join(learnt.revisions)}", learnt.until)
    hours = {cell: np.array(counts, np.int64) for cell, counts in got.hours.items()}
    profile = learning.frozen(source, from_wire(got.counts, bins), span_s=_span_s(evidence), hours=hours)
    return [_map(seen, profile, {contract.ANNOTATION_LEARNT: msgspec.json.encode(learnt).decode()})]


def _time(unix: float) -> str:
    return stamp(datetime.fromtimestamp(unix, UTC))


def surveys(seen: Observed, readings: Mapping[str, Reading], evidence: Evidence) -> Mapping[str, Surveyed]:
    """What pods of good revisions say, by uid."""
    learns = seen.spec.reference.learn
    if learns is None or obstacle(evidence):
        return {}
    good = {known.id for known in evidence.history.revisions if known.standing in _GOOD}
    revisions = release.revisions_of_pods(seen.pods, seen.replica_sets, seen.contents)
    said = {
        uid_of(pod): reading.report.survey
        for pod in seen.pods
        if isinstance(reading := readings.get(uid_of(pod)), Value) and revisions.get(uid_of(pod)) in good
    }
    return {uid: one for uid, one in said.items() if one is not None and one.attempt == learns.attempt}


def _proposed(seen: Observed, readings: Mapping[str, Reading], evidence: Evidence) -> Profile | None:
    """Bins of the pod that looked at the most requests."""
    said = surveys(seen, readings, evidence)
    for uid in sorted(said, key=lambda uid: (-said[uid].requests, uid)):
        profile = _decoded(said[uid].profile_json)
        if profile is not None:
            return profile
    return None


def _decoded(content: bytes) -> Profile | None:
    """Bins as a sidecar sent them; whatever else it is, it is none."""
    try:
        stream = zlib.decompressobj(wbits=31)
        profile = decode_profile(stream.decompress(content, MAX_BYTES)) if content else None
    except (zlib.error, ProfileError):
        return None
    return profile if profile is not None and not profile.is_counted else None


def _map(seen: Observed, profile: Profile, annotations: Mapping[str, str]) -> Object:
    learns = seen.spec.reference.learn
    content = encode_profile(profile)
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": naming.learned_profile(seen.name),
            "namespace": namespace_of(seen.mdep),
            "labels": {contract.LABEL_MODEL_DEPLOYMENT: seen.name},
            "annotations": {
                contract.ANNOTATION_LEARN_ATTEMPT: str(learns.attempt if learns else 0),
                **annotations,
            },
            "ownerReferences": [owner_reference(seen.mdep)],
        },
    }
    if len(content) <= PLAIN_BYTES:
        return {**body, "data": {"profile.json": content.decode()}}
    return {**body, "binaryData": {"profile.json": base64.b64encode(gzip.compress(content, mtime=0)).decode()}}


def told(seen: Observed, readings: Mapping[str, Reading], evidence: Evidence) -> Condition:
    """How far learning has come."""
    kind, learns = contract.CONDITION_REFERENCE_VALID, seen.spec.reference.learn
    wanted, survey = learns.requests if learns else 0, survey_of(seen)
    why = obstacle(evidence)
    paused = f"; paused: {why}" if why else ""
    if survey is not None:
        said = surveys(seen, readings, evidence)
        if said and all(one.error for one in said.values()):
            text = f"no bins could be chosen from live traffic: {next(iter(said.values())).error}"
            return fails(kind, "NotLearnable", f"{text}; fix: use spec.reference.configMap")
        most = max((one.requests for one in said.values()), default=0)
        part = _part(most, survey.requests)
        return unknown(
            kind, LEARNING, f"choosing bins: about {part} % of {survey.requests:,} requests of one pod{paused}"
        )
    parts = _part(_requests(evidence), wanted), _part(_span_s(evidence), learns.for_ if learns else 0.0)
    days = learns.for_ / 86_400 if learns else 0.0
    text = f"counting: about {parts[0]} % of {wanted:,} requests and {parts[1]} % of {days:.3g} days"
    return unknown(kind, LEARNING, text + paused)


def _part(got: float, wanted: float) -> int:
    """
    Per cent, rounded down to a step.

    >>> _part(1234, 10_000), _part(20_000, 10_000), _part(0.0, 0.0)
    (10, 100, 100)
    """
    return int(min(got / wanted if wanted else 1.0, 1.0) * _SHOWN) * (100 // _SHOWN)


def learnt_of(config_map: Object) -> Learnt | None:
    """What the ConfigMap says of how it was learnt."""
    text = annotations_of(config_map).get(contract.ANNOTATION_LEARNT, "")
    try:
        return msgspec.json.decode(text, type=Learnt) if text else None
    except msgspec.DecodeError:
        return None


def shown(seen: Observed, evidence: Evidence, profile: Profile | None) -> Object:
    """``status.reference``: always the same fields, so that none is left of an earlier state."""
    learns, found = seen.spec.reference.learn, seen.profile_map
    fields: dict[str, Any] = {
        "state": "None",
        "attempt": learns.attempt if learns else 0,
        "hash": profile.hash if profile else "",
        "rows": profile.rows if profile else 0,
        "requests": 0,
        "from": "",
        "until": "",
        "revisions": [],
    }
    if profile is not None and profile.is_counted:
        learnt = learnt_of(found) if learns is not None and found is not None else None
        return fields | ({"state": "Frozen", **msgspec.to_builtins(learnt)} if learnt else {"state": "Given"})
    if learns is None:
        return fields
    if frozen_hash(seen):
        return fields | dict(seen.mdep["status"]["reference"])  # lost or altered: what it was is still known
    if profile is None:
        return fields | {"state": "Surveying"}
    got = _part(_requests(evidence), learns.requests) * learns.requests // 100
    return fields | {"state": "Counting", "requests": got}
