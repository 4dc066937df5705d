"""Which epochs /counts serves."""

from pathlib import Path

from onguard import contract
from onguard_sidecar.analyst.report import closed_epochs
from onguard_sidecar.ledger import EpochRow, Ledger, Snapshot, layout_of


def snapshot(tmp_path: Path, ids: range, now: int) -> Snapshot:
    ledger = Ledger.open_wire(tmp_path / "ledger", layout_of("", ()), 1)
    rows = tuple(EpochRow(i, i, 0, (0, 0, 0, 0), 1, 0, (0, 0, 0, 0)) for i in ids)
    shot = ledger.snapshot()._replace(epochs=rows, epoch_now=now)
    ledger.close()
    return shot


def test_the_open_epoch_and_the_one_before_are_not_served(tmp_path: Path) -> None:
    assert [e.id for e in closed_epochs(snapshot(tmp_path, range(5, 11), 10), 0)] == [5, 6, 7, 8]


def test_since_is_the_first_one_wanted(tmp_path: Path) -> None:
    assert [e.id for e in closed_epochs(snapshot(tmp_path, range(5, 11), 10), 7)] == [7, 8]


def test_at_most_the_last_sixty_are_served(tmp_path: Path) -> None:
    served = closed_epochs(snapshot(tmp_path, range(1, 65), 100), 0)
    assert (len(served), served[-1].id) == (contract.EPOCHS_SERVED, 64)
