"""
PID 1 of the analyst's container: starts the analyst, and starts it again when it dies.

A pod is Ready only while each of its native sidecars runs. If the analyst itself were the container, one that dies
again and again would spend minutes in the kubelet's back-off, and take the pod out of its Service for so long. The
keeper lives on, so that an analyst that crashes costs its counts and nothing else. It also keeps the analyst's
memory below the container's limit: an allocation then fails in the analyst, instead of the kernel killing the
container with everything in it.
"""

import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
RESERVED_BYTES: Final = 24 << 20
"""For the keeper itself, files in memory and the kernel's part."""
MIN_BYTES: Final = 64 << 20
_NO_LIMIT: Final = 1 << 50
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
STABLE_S: Final = 60.0
"""An analyst that lived so long starts again at once, as the first time."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_log = logging.getLogger(__name__)


def keep(command: Sequence[str], *, memory_root: Path = CGROUPS) -> int:
    """
    Run ``command`` until SIGTERM or SIGINT, again and again; return the exit status for the container.

    The command gets the signal too and is waited for: it may have something to finish.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    _limit_memory(memory_root)
    pauses = _pauses()
    while True:
        started = time.monotonic()
        child = os.posix_spawn(command[0], list(command), os.environ, setsigmask=())
        stopped, status = _wait(child)
        if stopped:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 0
        if time.monotonic() - started >= STABLE_S:
            pauses = _pauses()
        pause_s = next(pauses)
        _log.error("the analyst ended with %d; again in %.0f s", os.waitstatus_to_exitcode(status), pause_s)
        if _is_stopped_within(pause_s):
            return 0


def memory_limit(root: Path = CGROUPS) -> int | None:
    """Memory limit of this container in bytes (cgroup v2, then v1); None where there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdigit() and int(text) < _NO_LIMIT else None
    return None


def _limit_memory(root: Path) -> None:
    limit = memory_limit(root)
    if limit is not None:
        wanted = max(limit - RESERVED_BYTES, MIN_BYTES)
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))


def _pauses() -> Iterator[float]:
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _wait(child: int) -> tuple[bool, int]:
    """Wait for the child, handing on what asks us to stop; say whether something did, and the child's status."""
    stopped = False
    while True:
        # SIGCHLD may have come before this call; the time limit only bounds how long such a race can cost.
        received = signal.sigtimedwait(_SIGNALS, 1.0)
        if received is not None and received.si_signo != signal.SIGCHLD:
            stopped = True
            os.kill(child, received.si_signo)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return stopped, status


def _is_stopped_within(seconds: float) -> bool:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        received = signal.sigtimedwait(_SIGNALS, left)
        if received is not None and received.si_signo != signal.SIGCHLD:
            return True
    return False


def run_analyst() -> int:
    """Keep ``python3 -m onguard_sidecar.analyst serve`` running."""
    return keep((sys.executable, "-m", "onguard_sidecar.analyst", "serve"))
