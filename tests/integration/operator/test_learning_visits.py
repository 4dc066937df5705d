"""A reference out of live traffic: bins, counts, frozen once; restarts count nothing twice, nothing bad is learnt."""

import dataclasses
import gzip
from dataclasses import dataclass, field

import msgspec
import pytest

from onguard import contract
from onguard.counts import Counts, Surveyed, to_wire
from onguard.profile import Profile, decode_profile, encode_profile
from onguard.sidecar_config import decode_config
from onguard_operator.scrape import Reading, Value
from tests.integration.operator.fake_api import Object
from tests.integration.operator.stage import NAME, PROFILE, SPACE, Stage, Traffic

LEARNT = f"{NAME}-onguard-learned"
BINS = Profile(
    rows=0,
    edge_rows=200,
    features=tuple(msgspec.structs.replace(f, counts=(0,) * f.size) for f in PROFILE.features),
)
SPEC = {
    "release": {"watch": "2m", "bake": {"for": "30s", "requests": 200}},
    "reference": {"learn": {"requests": 12_000, "for": "4m"}},
    "objectives": {"errors": {"below": "1%"}, "drift": {"tolerance": "1%"}, "dataQuality": {}},
}


@dataclass
class Mounted:
    """What a sidecar counts in: since when, and under which boot."""

    profile: Profile
    before: Counts
    number: int


@dataclass
class LearningStage(Stage):
    """Sidecars that propose bins when asked, and count in whatever the ConfigMap holds."""

    mounted: dict[str, Mounted] = field(default_factory=dict)

    def reading(self, pod: Object, since: int) -> Reading:
        read = super().reading(pod, since)
        if not isinstance(read, Value):
            return read
        uid = pod["metadata"]["uid"]
        sim, config = self.sims[uid], self.api.find("configmaps", SPACE, f"{NAME}-onguard")
        wanted = decode_config(config["data"]["sidecar.json"].encode()).survey
        changes: dict[str, object] = {"profile_hash": "", "counts": None}
        if wanted is not None:
            got = min(sim.ledger["analysed"], wanted.requests)
            content = gzip.compress(encode_profile(BINS)) if got == wanted.requests else b""
            changes["survey"] = Surveyed(attempt=wanted.attempt, requests=got, profile_json=content)
        found = self.api.find("configmaps", SPACE, LEARNT)
        if found is not None:
            mounted = self._mount(uid, decode_profile(found["data"]["profile.json"].encode()), sim.counts)
            counts = dataclasses.replace(sim.counts - mounted.before, profile_hash=mounted.profile.hash)
            changes |= {
                "profile_hash": mounted.profile.hash,
                "counts": to_wire(counts),
                "analyst_boot": f"a-{uid}-{mounted.number}",
            }
        return Value(msgspec.structs.replace(read.report, **changes))

    def _mount(self, uid: str, profile: Profile, counts: Counts) -> Mounted:
        known = self.mounted.get(uid)
        if known is None or known.profile.hash != profile.hash:
            known = self.mounted[uid] = Mounted(profile, counts, known.number + 1 if known else 1)
        return known

    @property
    def reference(self) -> Object:
        return self.status["reference"]

    @property
    def valid(self) -> Object:
        return self.condition(contract.CONDITION_REFERENCE_VALID)

    @property
    def learnt(self) -> Profile:
        return decode_profile(self.api.find("configmaps", SPACE, LEARNT)["data"]["profile.json"].encode())

    def learn(self, **learn: object) -> None:
        self.guard(**SPEC | {"reference": {"learn": {**SPEC["reference"]["learn"], **learn}}})


@pytest.fixture
async def stage(tmp_path):
    stage = LearningStage(tmp_path)
    await stage.open()
    stage.guard(**SPEC)
    yield stage
    await stage.close()


async def test_bins_then_counts_then_a_frozen_reference_that_is_judged_by(stage) -> None:
    stage.release("1")
    await stage.run(15)
    assert (stage.reference["state"], stage.valid["reason"]) == ("Surveying", "Learning")
    await stage.run(75)
    assert (stage.reference["state"], stage.valid["status"]) == ("Counting", "Unknown")
    assert [e["objective"] for e in stage.status["evidence"]] == ["errors"], "data are not judged yet"
    await stage.run(100)
    assert "of 12,000 requests" in stage.valid["message"]
    await stage.run(240)
    assert (stage.reference["state"], stage.valid["reason"], stage.valid["status"]) == ("Frozen", "Learned", "True")
    assert stage.reference["hash"] == stage.learnt.hash
    assert stage.reference["requests"] == stage.learnt.rows >= 12_000
    assert stage.reference["revisions"] == [stage.status["revision"]]
    assert stage.reference["from"] < stage.reference["until"]
    assert stage.learnt.learned
    assert "Learned" in [e["reason"] for e in stage.api.all("events", SPACE)]
    assert "what was wrong then is normal" in stage.valid["message"]
    stage.traffic["1"] = Traffic(shift=3)
    await stage.run(120)
    assert stage.status["alarms"] == ["drift"]


async def test_the_counts_are_the_sum_over_pods_and_an_operator_that_restarts_counts_none_twice(stage) -> None:
    stage.release("1", replicas=3)
    await stage.run(105)
    for _ in range(30):
        await stage.run(15)
        await stage.restart()
        if stage.reference["state"] == "Frozen":
            break
    rates = 3 * 20.0
    span = stage.reference["requests"] / rates
    assert stage.reference["state"] == "Frozen"
    assert span == pytest.approx(240.0, abs=30.0), "not more than was served in the time that it says"
    (age,) = stage.learnt.features
    assert max(age.counts[:10]) - min(age.counts[:10]) <= 3 * 90, "all pods alike"
    total = sum(age.counts)
    assert total == stage.learnt.rows == stage.reference["requests"]


def learnt_so_far(stage: LearningStage) -> int:
    """Requests that have been counted for the reference."""
    (evidence,) = stage.visitor._evidence.values()
    return evidence.learning.counts.units // contract.UNIT


async def test_what_is_served_while_an_objective_is_broken_is_not_learnt(stage) -> None:
    stage.release("1")
    await stage.run(150)
    assert learnt_so_far(stage) > 0
    stage.traffic["1"] = Traffic(bad=0.5, shift=5)
    await stage.run(90)
    assert "paused: broken: errors" in stage.valid["message"]
    before = learnt_so_far(stage)
    await stage.run(60)
    assert learnt_so_far(stage) == before


async def test_a_revision_that_is_not_known_to_be_good_is_not_learnt_from(stage) -> None:
    stage.guard(**SPEC | {"release": {"watch": "2m", "bake": {"for": "10m", "requests": 200}}})
    stage.release("1")
    await stage.run(150)
    stage.release("2")
    stage.traffic["2"] = Traffic(shift=5)
    await stage.run(30)
    before = learnt_so_far(stage)
    await stage.run(90)
    assert learnt_so_far(stage) == before
    assert "paused: the revision that serves now is not known to be good yet" in stage.valid["message"]


async def test_a_lost_or_altered_reference_is_said_and_only_another_attempt_learns_anew(stage) -> None:
    stage.release("1")
    await stage.run(450)
    first = stage.learnt.hash
    kept = stage.api.find("configmaps", SPACE, LEARNT)
    other = msgspec.structs.replace(stage.learnt, source="somebody")
    stage.api.put({**kept, "data": {"profile.json": encode_profile(other).decode()}})
    await stage.run(15)
    assert stage.valid["reason"] == "ReferenceAltered"
    stage.api.objects.pop(next(k for k in stage.api.objects if k.name == LEARNT))
    await stage.run(300)
    assert stage.valid["reason"] == "ReferenceLost"
    assert stage.reference["hash"] == first
    stage.learn(attempt=2)
    await stage.run(450)
    assert (stage.reference["state"], stage.reference["attempt"]) == ("Frozen", 2)
    assert stage.valid["status"] == "True"


async def test_somebody_elses_config_map_of_that_name_is_left_alone(stage) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": LEARNT, "namespace": SPACE}}
    stage.api.put({**body, "data": {"profile.json": encode_profile(PROFILE).decode()}})
    stage.release("1")
    await stage.run(60)
    assert stage.valid["reason"] == "NameTaken"
    assert decode_profile(stage.api.find("configmaps", SPACE, LEARNT)["data"]["profile.json"].encode()) == PROFILE


async def test_changing_how_much_is_wanted_does_not_touch_a_frozen_reference(stage) -> None:
    stage.release("1")
    await stage.run(450)
    first = stage.learnt.hash
    stage.learn(requests=20_000)
    await stage.run(60)
    assert (stage.reference["state"], stage.learnt.hash) == ("Frozen", first)
