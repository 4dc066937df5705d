"""What is counted is counted once; what a crash costs is evidence, never its double."""

import dataclasses
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onguard import contract
from onguard.counts import Counts, Epoch, Report, to_wire
from onguard.profile import Feature, Kind, Numeric, Profile
from onguard.spec import parse_spec
from onguard_operator import counting, epochs, gather
from onguard_operator.evidence import Evidence
from onguard_operator.gather import PodReading, Setting
from onguard_operator.judges import Judges, judges_of
from onguard_operator.release import History

NUMERIC = Numeric(minimum=0.0, maximum=100.0, mean=50.0, sd=29.0)
AGE = Feature(
    name="age",
    kind=Kind.NUMERIC,
    edges=tuple(float(10 * i) for i in range(1, 10)),
    counts=(5000,) * 10 + (0,) * 4,
    numeric=NUMERIC,
)
PROFILE = Profile(rows=50_000, features=(AGE,))


def without_alarm(detector: Any) -> Any:
    return replace(detector, threshold=replace(detector.threshold, log_alarm=np.inf))


SPEC = parse_spec(
    {"targetRef": {"name": "m"}, "objectives": {"errors": {"below": "1%"}, "drift": {}, "dataQuality": {}}}
)
SETTING = Setting(judges=judges_of(SPEC, PROFILE, ordinal=1), profile=PROFILE, objectives_hash="h")
UNBOUNDED = Setting(
    judges=Judges(
        data=tuple(replace(j, detector=without_alarm(j.detector)) for j in SETTING.judges.data),
        service=tuple(replace(j, detector=without_alarm(j.detector)) for j in SETTING.judges.service),
    ),
    profile=PROFILE,
    objectives_hash="h",
)
"""Detectors that gather for ever: an alarm that clears starts the evidence again, which is another matter."""
START = 100_000
"""First epoch."""


def rows(per_bin: list[int]) -> Counts:
    bins = np.array(per_bin + [0] * 4, np.int64)
    total = sum(per_bin)
    return replace(
        Counts.zero(PROFILE), rows=total, units=total * contract.UNIT, bins=bins, unit_bins=bins * contract.UNIT
    )


@dataclasses.dataclass
class Pod:
    """A sidecar: three epochs a visit, counters that grow."""

    name: str = "a"
    boot: int = 0
    counts: Counts = dataclasses.field(default_factory=lambda: Counts.zero(PROFILE))
    rows: list[Epoch] = dataclasses.field(default_factory=list)
    now: int = START

    def serve(self, errors: int, per_bin: list[int]) -> None:
        for _ in range(3):
            self.rows.append(Epoch(self.now, 100, errors))
            self.now += 1
        self.counts = self.counts + rows(per_bin)

    def report(self, since: int = 0) -> Report:
        kept = tuple(e for e in self.rows[-contract.EPOCHS_SERVED :] if e.id > since)
        return Report(
            sidecar_version="1",
            wire_boot="w",
            analyst_boot=f"a{self.boot}",
            model="m",
            revision="",
            arm="candidate",
            objectives_hash="h",
            profile_hash=PROFILE.hash,
            epoch_now=self.now,
            epochs=kept,
            ledger={"inference": 10_000, "analysed": self.counts.rows},
            counts=to_wire(self.counts),
        )


def take(evidence: Evidence, pod: Pod, setting: Setting = SETTING) -> Evidence:
    reading = PodReading(
        pod=pod.name,
        revision="r",
        arm="candidate",
        report=pod.report(gather.since_of(evidence)),
        is_new=False,
        ready_at=0.0,
    )
    return gather.absorb(evidence, [reading], setting, expected=frozenset({pod.name}), now=float(pod.now * 5))[0]


def log_e(evidence: Evidence) -> dict[str, float]:
    data = {name: float(np.logaddexp.reduce(state.log_r)) for name, state in evidence.data.items()}
    return data | {name: state.log_d for name, state in evidence.service.items()}


visit = st.tuples(
    st.sampled_from([0, 0, 1, 5, 40]),
    st.sampled_from([[10] * 10, [30] * 3 + [2] * 7, [1] * 7 + [40] * 3, [0] * 10]),
    st.sampled_from(["go", "go", "go", "save", "crash"]),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(visit, min_size=1, max_size=14))
def test_under_any_crash_schedule_the_evidence_is_at_most_that_of_the_uninterrupted_run(visits: list) -> None:
    straight_pod, pod = Pod(), Pod()
    straight = take(Evidence(), straight_pod, UNBOUNDED)
    crashing = saved = take(Evidence(), pod, UNBOUNDED)
    stored = saved.encode()
    for errors, per_bin, event in visits:
        straight_pod.serve(errors, per_bin)
        pod.serve(errors, per_bin)
        straight = take(straight, straight_pod, UNBOUNDED)
        if event == "crash":
            crashing = Evidence.decode(stored)
            continue  # this visit never came to its end
        crashing = take(crashing, pod, UNBOUNDED)
        if event == "save":
            stored = crashing.encode()
    pod.serve(0, [0] * 10)
    straight_pod.serve(0, [0] * 10)
    straight, crashing = take(straight, straight_pod, UNBOUNDED), take(crashing, pod, UNBOUNDED)
    for name, value in log_e(crashing).items():
        assert value <= log_e(straight)[name] + 1e-6, name


def test_the_first_reading_of_a_pod_that_was_there_before_adds_nothing() -> None:
    pod = Pod()
    pod.serve(50, [50] * 10)
    first = take(Evidence(), pod)
    assert all(state.steps == 0 for state in (*first.data.values(), *first.service.values()))
    pod.serve(50, [50] * 10)
    assert all(state.steps > 0 for state in take(first, pod).data.values())


def test_a_pod_that_began_after_our_last_reading_counts_from_zero() -> None:
    increment, _ = counting.advance(None, Pod(counts=rows([7] * 10)).report(), profile=PROFILE, is_new=True)
    assert increment.counts.rows == 70


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.booleans()), max_size=30))
def test_differences_over_any_restarts_and_missed_readings_sum_to_at_most_what_was_served(steps: list) -> None:
    pod, cursor, total, served = Pod(), None, 0, 0
    for number, restarts, is_read in steps:
        if restarts:
            pod.boot, pod.counts = pod.boot + 1, Counts.zero(PROFILE)
        pod.counts = pod.counts + rows([number] * 10)
        served += 10 * number
        if is_read:
            increment, cursor = counting.advance(cursor, pod.report(), profile=PROFILE, is_new=False)
            total += increment.counts.rows if increment.counts else 0
    assert total <= served


def test_counts_of_another_reference_are_left_out() -> None:
    other = Profile(rows=50_000, features=(AGE,), source="another")
    _, cursor = counting.advance(None, Pod(counts=rows([7] * 10)).report(), profile=other, is_new=True)
    later = Pod(counts=rows([9] * 10)).report()
    increment, _ = counting.advance(cursor, later, profile=other, is_new=False)
    assert increment.counts is None


def joined_by(*pods: epochs.PodEpochs) -> list[int]:
    last = epochs.last_common(pods)
    return [int(e.total()[epochs.REQUESTS]) for e in epochs.join(pods, START, last, skip_warm_up=True)]


def of(pod: Pod, **more: object) -> epochs.PodEpochs:
    usual = {"pod": pod.name, "revision": "r", "arm": "candidate", "ready_at": 0.0, "objectives_hash": "h"}
    return epochs.of_report(pod.report(), **{**usual, **more})


def test_epochs_are_joined_up_to_the_last_that_is_final_on_every_pod() -> None:
    slow, quick = Pod("a"), Pod("b")
    for _ in range(3):
        slow.serve(0, [0] * 10)
        quick.serve(0, [0] * 10)
    quick.serve(0, [0] * 10)
    assert len(joined_by(of(slow), of(quick))) == 9 - contract.CONNECTION_SETTLE_EPOCHS
    assert set(joined_by(of(slow), of(quick))) == {200}


def test_the_warm_up_of_a_pod_is_left_out_until_it_has_served_200_requests_or_a_minute() -> None:
    pod = Pod()
    for _ in range(6):
        pod.serve(0, [0] * 10)
    fresh = replace(of(pod), warm_from=0)
    assert len(joined_by(fresh)) == 16
    report = replace(pod, name="n").report()
    young = epochs.of_report(
        Report(**{f: getattr(report, f) for f in report.__struct_fields__} | {"ledger": {"inference": 1800}}),
        pod="n",
        revision="r",
        arm="candidate",
        ready_at=float(START * 5),
        objectives_hash="h",
    )
    assert young.warm_from == START + 2, "two epochs of 100 requests"
    assert of(pod, ready_at=None).warm_from > pod.now - 4, "a pod that is not ready says nothing yet"


def test_epochs_that_were_cut_under_other_objectives_are_not_used() -> None:
    assert of(Pod(), objectives_hash="other") is None


@pytest.mark.parametrize(
    ("members", "expected", "read", "is_taken", "moves_on"),
    [
        ({"a", "b"}, {"a", "b"}, ["a", "b"], True, True),
        ({"a", "b"}, {"a", "b"}, ["a"], False, False),
        ({"a", "b"}, {"a"}, ["a"], False, True),
    ],
    ids=["all speak", "one is unreadable: wait", "one took its last epochs along: discard"],
)
def test_the_arms_take_an_epoch_only_if_every_pod_speaks_for_it(
    members: set, expected: set, read: list, is_taken: bool, moves_on: bool
) -> None:
    pods = []
    for name in read:
        pod = Pod(name)
        for _ in range(4):
            pod.serve(0, [0] * 10)
        pods.append(
            PodReading(pod=name, revision="r", arm="candidate", report=pod.report(), is_new=False, ready_at=0.0)
        )
    before = Evidence(members=frozenset(members), arms_to=START + 1, service_to=START + 1)
    after, intake = gather.absorb(before, pods, SETTING, expected=frozenset(expected), now=0.0)
    assert bool(intake.paired) is is_taken
    assert (after.arms_to > before.arms_to) is moves_on
    assert after.service_to > before.service_to


def test_evidence_survives_its_encoding() -> None:
    pod = Pod()
    evidence = take(Evidence(), pod)
    pod.serve(3, [5] * 10)
    evidence = replace(take(evidence, pod), onsets={"errors": 7.0}, references=("x",))
    again = Evidence.decode(evidence.encode())
    assert again.cursors == evidence.cursors
    assert (again.past, again.onsets, again.history, again.memory) == (
        evidence.past,
        evidence.onsets,
        evidence.history,
        evidence.memory,
    )
    assert log_e(again) == pytest.approx(log_e(evidence), rel=1e-5)


def test_evidence_that_is_too_large_loses_its_cursors_first(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = Pod()
    evidence = take(Evidence(), pod)
    monkeypatch.setattr("onguard_operator.evidence.MAX_BYTES", 10)
    again = Evidence.decode(evidence.encode())
    assert again.cursors == {}
    assert again.service_to == evidence.service_to


def test_what_was_counted_around_an_edit_of_a_config_map_judges_nothing() -> None:
    pod = Pod()
    for _ in range(4):
        pod.serve(100, [5] * 10)
    reading = PodReading(pod="a", revision="r", arm="candidate", report=pod.report(), is_new=True, ready_at=0.0)
    end = float(pod.now * contract.EPOCH_S)
    mixed_until = end - 6 * contract.EPOCH_S
    for until, is_taken in ((mixed_until, True), (end + 60.0, False)):
        before = Evidence(read_at=1.0, service_to=START, arms_to=START, history=History(mixed_until=until))
        after, intake = gather.absorb(before, [reading], SETTING, expected=frozenset({"a"}), now=end)
        assert all(epoch.id * contract.EPOCH_S >= until for epoch in (*intake.served, *intake.paired))
        found = (bool(intake.served), bool(intake.paired), bool(after.past), intake.counts is not None)
        assert found == (is_taken,) * 4
        assert after.service_to > START, "they are not taken later either"
