"""The page of /metrics as a function of a view: what is on it, what is not, and its bound."""

import dataclasses
import re
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from onguard import contract
from onguard.counts import ResourceSample
from onguard_sidecar.analyst.analysis import Tally
from onguard_sidecar.analyst.display import Shown
from onguard_sidecar.analyst.page import MAX_SERIES, View, account, families
from onguard_sidecar.analyst.speech import Speech
from onguard_sidecar.ledger import ANALYST_FIELDS, WIRE_FIELDS, Histogram, Ledger, Snapshot, layout_of
from onguard_sidecar.resources import Usage

LABELS = {"model": "churn", "revision": "r1", "arm": "candidate"}


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    ledger = Ledger.open_wire(tmp_path / "ledger", layout_of("", (0.2,)), 1)
    ledger.add_all({name: number for number, name in enumerate(WIRE_FIELDS)})
    buckets = tuple(range(len(ledger.snapshot().layout.bounds_ns) + 1))
    shot = ledger.snapshot()._replace(duration=Histogram(buckets, 5_000_000_000))
    ledger.close()
    return shot


def full(snapshot: Snapshot, features: int = 3, bins: int = 0) -> View:
    return View(
        labels=LABELS,
        snapshot=snapshot,
        profile_hash="abc",
        model_use=ResourceSample(source="x", cpu_seconds=1.0, memory_bytes=2.0, threads=3, open_fds=None),
        own_use={"onguard-wire": Usage(1.0, 2.0, 3, 4)},
        cpu_limit_cores=0.5,
        shown=tuple(Shown(f"f{i}", 0.1, 0.2, 0.3, 0.4, 0.5, 0.6) for i in range(features)),
        bins={(f"f{i}", f"le={i}"): i for i in range(bins)},
    )


class Of(Collector):
    def __init__(self, view: View) -> None:
        self.view = view

    def collect(self) -> list[Metric]:
        return families(self.view)


def read(view: View) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Of(view))
    return registry


def value(view: View, name: str, **labels: str) -> float | None:
    return read(view).get_sample_value(name, LABELS | labels)


def test_no_data_is_no_series_never_zero() -> None:
    empty = View(labels=LABELS)
    names = {family.name for family in families(empty)}
    assert not any("feature" in name or "model_" in name or "requests" in name for name in names)
    assert value(empty, contract.METRIC_FEATURE_PSI, feature="age") is None


def test_every_series_says_model_revision_and_arm(snapshot: Snapshot) -> None:
    for family in families(full(snapshot)):
        for sample in family.samples:
            assert sample.labels.items() >= LABELS.items()


def test_durations_are_cumulative_and_have_the_objectives_bound_as_an_edge(snapshot: Snapshot) -> None:
    view, name = full(snapshot), contract.METRIC_REQUEST_DURATION
    assert value(view, f"{name}_bucket", le="0.2") == sum(range(8))
    assert value(view, f"{name}_bucket", le="+Inf") == value(view, f"{name}_count")
    assert value(view, f"{name}_sum") == 5.0


def test_the_account_names_each_field_of_the_ledger_once(snapshot: Snapshot) -> None:
    counters = dict.fromkeys((*WIRE_FIELDS, *ANALYST_FIELDS), 1)
    values = account(counters)
    assert set(values.values()) == {1}
    assert {outcome for outcome, _ in values} == {
        "analysed",
        "not_inference",
        "sampled_out",
        "truncated",
        "undecodable",
        "dropped",
    }
    in_account = [n for n in counters if re.match(r"analysed|duplicate|probe|stale|undecodable_|dropped_", n)]
    assert len(values) == len(in_account) + 3


def test_what_is_held_of_http_2_stands_beside_what_the_wire_holds(snapshot: Snapshot) -> None:
    without, both = full(snapshot), dataclasses.replace(full(snapshot), http2=snapshot)
    for name, fields in (
        (
            contract.METRIC_WIRE_LIMIT,
            {"http2_connections": "limit_connections", "http2_copy_bytes": "limit_copy_bytes"},
        ),
        (contract.METRIC_WIRE_USED, {"http2_connections": "connections_open", "http2_copy_bytes": "copy_bytes"}),
        (contract.METRIC_WIRE_LIMIT_HITS, {"http2_framing": "framing_limits", "http2_copy_bytes": "copies_shed"}),
    ):
        for limit, field in fields.items():
            assert value(both, name, limit=limit) == snapshot.counters[field]
            assert value(without, name, limit=limit) is None


def test_connections_that_are_not_read_are_told_apart_and_add_up(snapshot: Snapshot) -> None:
    counters = snapshot.counters | {"connections_opaque": 9, "framing_failures": 1, "framing_limits": 2}
    view, name = (
        full(snapshot._replace(counters=counters | {"connections_http2_lost": 4})),
        contract.METRIC_CONNECTIONS_OPAQUE,
    )
    kinds = {kind: value(view, name, reason=kind) for kind in ("ambiguous", "limit", "http2", "other")}
    assert kinds == {"ambiguous": 1, "limit": 2, "http2": 4, "other": 2}


def test_an_unknown_number_has_no_series(snapshot: Snapshot) -> None:
    view = full(snapshot)
    assert value(view, contract.METRIC_MODEL_THREADS) == 3
    assert value(view, contract.METRIC_MODEL_OPEN_FDS) is None
    assert value(view, contract.METRIC_MODEL_CPU_LIMIT) == 0.5
    assert value(view, contract.METRIC_MODEL_MEMORY_LIMIT) is None


@pytest.mark.parametrize(("features", "bins"), [(3, 0), (50, 0), (50, 2000), (3000, 0), (0, 3000)])
def test_the_number_of_series_has_a_hard_cap_and_what_is_cut_is_counted(
    snapshot: Snapshot, features: int, bins: int
) -> None:
    page = families(full(snapshot, features, bins))
    series = sum(len(family.samples) for family in page)
    dropped = next(f for f in page if f.name == contract.METRIC_SERIES_DROPPED).samples[0].value
    fixed = sum(len(family.samples) for family in families(full(snapshot, 0, 0)))
    assert series <= MAX_SERIES
    assert series + dropped == fixed + 6 * features + bins


def test_half_a_histogram_is_never_shown(snapshot: Snapshot) -> None:
    for cap in range(1, 80):
        for family in families(full(snapshot), max_series=cap):
            if family.type == "histogram":
                assert sum(sample.name.endswith("_count") for sample in family.samples) == 1


def test_every_metric_of_the_sidecar_in_the_contract_can_be_on_the_page(snapshot: Snapshot) -> None:
    view = full(snapshot, bins=1)
    view = View(
        **{f: getattr(view, f) for f in view.__dataclass_fields__}
        | {
            "memory_limit_bytes": 1.0,
            "tally": Tally(speech=Speech(answers=1, finish=Counter(stop=1))),
            "model_use": ResourceSample(source="x", cpu_seconds=1.0, memory_bytes=1.0, threads=1, open_fds=1),
        }
    )
    source = Path(contract.__file__).read_text()
    sidecar = source[source.index("# sidecar") : source.index("# operator")]
    declared = set(re.findall(r'"(onguard_\w+)"', sidecar))
    shown = {f.name + ("_total" if f.type == "counter" else "") for f in families(view)}
    assert shown == declared
