"""The ledger: one writer a counter, snapshots of one moment, a new file for each wire."""

from pathlib import Path

import pytest

from onguard.contract import EPOCH_RING, LATENCY_SLOTS
from onguard_sidecar import ledger as ledgers
from onguard_sidecar.ledger import Ledger, LedgerError, LedgerMissingError, layout_of

LAYOUT = layout_of("00ff00ff00ff00ff", (0.3, 0.25))


def test_each_side_sees_what_the_other_counted(tmp_path: Path) -> None:
    wire = Ledger.open_wire(tmp_path / "ledger", LAYOUT, 0x77)
    analyst = Ledger.open_analyst(tmp_path / "ledger", 0x88)
    wire.add("requests", 3)
    analyst.add_all({"analysed": 2, "rows": 64})
    for side in (wire, analyst):
        snapshot = side.snapshot()
        assert (snapshot.wire_boot, snapshot.analyst_boot) == (f"{0x77:016x}", f"{0x88:016x}")
        assert {k: v for k, v in snapshot.counters.items() if v} == {"requests": 3, "analysed": 2, "rows": 64}
    assert wire.accounted() == 2


@pytest.mark.parametrize("name", ["analysed", "no such counter"])
def test_a_counter_of_the_other_writer_is_refused_and_nothing_is_added(tmp_path: Path, name: str) -> None:
    wire = Ledger.open_wire(tmp_path / "ledger", LAYOUT, 1)
    with pytest.raises(LedgerError, match=f"got {name}"):
        wire.add_all({"requests": 1, name: 1})
    assert wire.snapshot().counters["requests"] == 0


def test_an_analyst_that_is_first_is_told_to_try_again(tmp_path: Path) -> None:
    with pytest.raises(LedgerMissingError):
        Ledger.open_analyst(tmp_path / "ledger", 1)


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(8 * ledgers._CELLS)])
def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ledger").write_bytes(content)
    with pytest.raises(LedgerError, match="expected"):
        Ledger.open_analyst(tmp_path / "ledger", 1)


def test_a_second_wire_starts_anew_and_the_analyst_notices(tmp_path: Path) -> None:
    first = Ledger.open_wire(tmp_path / "ledger", LAYOUT, 1)
    first.add("requests")
    analyst = Ledger.open_analyst(tmp_path / "ledger", 9)
    assert not analyst.superseded
    Ledger.open_wire(tmp_path / "ledger", LAYOUT, 2)
    assert analyst.superseded
    again = Ledger.open_analyst(tmp_path / "ledger", 9)
    assert (again.snapshot().wire_boot, again.snapshot().counters["requests"]) == (f"{2:016x}", 0)


def test_a_second_analyst_goes_on_counting(tmp_path: Path) -> None:
    wire = Ledger.open_wire(tmp_path / "ledger", LAYOUT, 1)
    first = Ledger.open_analyst(tmp_path / "ledger", 8)
    first.add("analysed", 5)
    first._cells[first._generation] += 1  # killed while it wrote
    first.close()
    Ledger.open_analyst(tmp_path / "ledger", 9).add("analysed")
    assert (wire.snapshot().counters["analysed"], wire.snapshot().analyst_boot) == (6, f"{9:016x}")


def test_an_analyst_that_opened_twice_counts_once(tmp_path: Path) -> None:
    wire = Ledger.open_wire(tmp_path / "ledger", LAYOUT, 1)
    one, two = (Ledger.open_analyst(tmp_path / "ledger", 8) for _ in range(2))
    for ledger in (one, two, one, two):
        ledger.add("analysed")
    assert wire.snapshot().counters["analysed"] == 4


def test_a_reader_sees_all_and_writes_nothing(tmp_path: Path) -> None:
    Ledger.open_wire(tmp_path / "ledger", LAYOUT, 1).add("requests")
    reader = Ledger.open_reader(tmp_path / "ledger")
    assert (reader.snapshot().counters["requests"], reader.snapshot().analyst_boot) == (1, "0" * 16)
    with pytest.raises(LedgerError):
        reader.add("analysed")


def test_what_is_tallied_shows_when_it_is_published(tmp_path: Path) -> None:
    wire = Ledger.open_wire(tmp_path / "ledger", LAYOUT, 1)
    wire.tally[0] += 1
    assert wire.snapshot().counters["requests"] == 0
    wire.tally[ledgers.DURATION] += 1
    wire.publish(1)
    assert (wire.snapshot().counters["requests"], wire.snapshot().duration.buckets[0]) == (1, 0)
    wire.publish()
    assert wire.snapshot().duration.buckets[0] == 1


def test_objectives_bounds_are_exact_edges() -> None:
    assert {250_000_000, 300_000_000} <= set(LAYOUT.bounds_ns)
    assert list(LAYOUT.bounds_ns) == sorted(set(LAYOUT.bounds_ns))
    most = layout_of("", tuple(0.0011 * n for n in range(1, LATENCY_SLOTS + 9)))
    assert len(most.bounds_ns) == ledgers.MAX_BOUNDS


def test_another_layout_starts_histograms_and_epochs_again_and_keeps_counters(tmp_path: Path) -> None:
    wire = Ledger.open_wire(tmp_path / "ledger", LAYOUT, 1)
    wire.tally[ledgers.DURATION] = wire.tally[ledgers.RING] = 4
    wire.add("requests")
    wire.relayout(layout_of("0000000000000001", ()))
    snapshot = wire.snapshot()
    assert snapshot.layout == layout_of("0000000000000001", ())
    assert (snapshot.counters["requests"], sum(snapshot.duration.buckets), snapshot.epochs) == (1, 0, ())


def test_epochs_come_by_id(tmp_path: Path) -> None:
    wire = Ledger.open_wire(tmp_path / "ledger", LAYOUT, 1)
    for number in (EPOCH_RING + 3, 7):
        at = ledgers.RING + number % EPOCH_RING * ledgers.EPOCH_CELLS
        wire.tally[at : at + ledgers.EPOCH_CELLS] = [number, *range(1, ledgers.EPOCH_CELLS)]
    wire.publish()
    rows = wire.snapshot().epochs
    assert [row.id for row in rows] == [7, EPOCH_RING + 3]
    assert rows[0] == ledgers.EpochRow(7, 1, 2, (3, 4, 5, 6), 7, 8, (9, 10, 11, 12))
