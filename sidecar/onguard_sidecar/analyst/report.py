"""The body of ``GET /counts``: counters of this boot, for the operator. Pure."""

import onguard
from onguard import contract
from onguard.counts import Epoch, Report, ResourceSample, to_wire
from onguard_sidecar.analyst.state import State
from onguard_sidecar.ledger import EpochRow, Snapshot


def boot_text(boot: int) -> str:
    """
    A boot id as the ledger writes it.

    >>> boot_text(255)
    '00000000000000ff'
    """
    return f"{boot:016x}"


def closed_epochs(snapshot: Snapshot, since: int) -> tuple[Epoch, ...]:
    """The last 60 closed epochs from ``since`` on; the newest closed one may still settle, so it waits for the next."""
    rows = [row for row in snapshot.epochs if since <= row.id < snapshot.epoch_now - 1]
    return tuple(_epoch(row) for row in rows[-contract.EPOCHS_SERVED :])


def _epoch(row: EpochRow) -> Epoch:
    return Epoch(
        id=row.id,
        requests=row.requests,
        errors=row.errors,
        slow=row.slow,
        connections=row.connections,
        connection_bad=row.connection_bad,
        connection_slow=row.connection_slow,
    )


def report(state: State, snapshot: Snapshot, resources: ResourceSample | None, *, since: int = 0) -> Report:
    """
    All that the operator reads of this pod.

    Args:
        state: counts, and what they belong to.
        snapshot: the ledger.
        resources: of the model's container, if they can be seen.
        since: first epoch that is wanted.
    """
    counts = state.analysis.counts()
    return Report(
        sidecar_version=onguard.__version__,
        wire_boot=snapshot.wire_boot,
        analyst_boot=boot_text(state.boot),
        model=state.settings.model,
        revision=state.settings.revision,
        arm=state.settings.arm,
        objectives_hash=snapshot.layout.id,
        profile_hash=state.profile.hash if state.profile else "",
        epoch_now=snapshot.epoch_now,
        epochs=closed_epochs(snapshot, since),
        ledger=snapshot.counters,
        counts=to_wire(counts) if counts else None,
        survey=state.survey.said if state.survey else None,
        profile_error=state.profile_error,
        config_error=state.config_error,
        resources=resources,
    )
