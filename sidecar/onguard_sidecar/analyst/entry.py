"""The two programs of the analyst's container: the keeper, which needs almost nothing, and the analyst."""

import ctypes
import logging
import os
import signal
from collections.abc import Sequence
from typing import Final

from onguard_sidecar.core_dumps import forbid_core_dumps

SERVE: Final = "serve"
_PR_SET_PDEATHSIG: Final = 1


def start(arguments: Sequence[str]) -> int:
    """Keep the analyst running; with ``serve``, be the analyst."""
    forbid_core_dumps()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if list(arguments) == [SERVE]:
        return _serve()
    from onguard_sidecar.analyst import keeper

    return keeper.run_analyst()


def _serve() -> int:
    _die_with_the_keeper()
    _yield_to_the_wire()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: each thread costs memory, and we use one
    import asyncio

    from onguard_sidecar.analyst.service import main
    from onguard_sidecar.analyst.settings import Settings

    asyncio.run(main(Settings.from_env(os.environ)))
    return 0


def _die_with_the_keeper() -> None:
    """Where processes are shared, the keeper is not PID 1 of anything, and its end would leave the analyst behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _yield_to_the_wire() -> None:
    """
    Where processors are short, the model and the wire go first and exchanges are shed: counting can wait.

    SCHED_IDLE: whatever wakes up interrupts the analyst at once. Under any other policy, however nice, the kernel lets
    it finish its slice first, and the wire waits for up to 3 ms.
    """
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
