"""
Resource use of processes, read from /proc under a root that a test can replace.

Private cgroup namespaces hide the model's cgroup from a sidecar; where the pod shares its process namespace its
processes are visible instead. A container is told by its cgroup path: everything in the cgroup of one of our own
programs is ours, the pod's pause process is nobody's, the rest is the model.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

PROC: Final = Path("/proc")
PSS_LIMIT_BYTES: Final = 4 << 30
"""Above it, resident memory stands in for the proportional one: walking so many pages would hold the model up."""
_OURS: Final = b"onguard_sidecar"
_PAUSE: Final = b"pause"
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
# Fields of /proc/PID/stat behind the command's closing bracket, counted from 0 (proc_pid_stat(5)).
_UTIME, _CSTIME, _THREADS = 11, 14, 17


class Process(NamedTuple):
    """What is known of one process."""

    pid: int
    command: bytes
    """Arguments, separated by NUL; the name in brackets where there are none."""
    cgroup: bytes


class Usage(NamedTuple):
    """
    Use of several processes together.

    Attributes:
        cpu_seconds: user and system time, children that were waited for included.
        memory_bytes: proportional set size where we may read it, else resident.
        threads: number of them.
        open_fds: open descriptors; None where we may not look at all of them.
    """

    cpu_seconds: float
    memory_bytes: float
    threads: int
    open_fds: int | None


def processes(root: Path = PROC) -> list[Process]:
    """All processes that are visible; those that end meanwhile are left out."""
    found = []
    for entry in root.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                found.append(_process(entry))
    return found


def _process(entry: Path) -> Process:
    command = (entry / "cmdline").read_bytes() or (entry / "comm").read_bytes().strip()
    return Process(int(entry.name), command, (entry / "cgroup").read_bytes())


def of_model(all_processes: list[Process]) -> list[Process]:
    """
    The processes that are neither ours nor the pod's own.

    >>> ours = Process(9, b"python -m onguard_sidecar.wire", b"0::/")
    >>> model = Process(7, b"python serve.py", b"0::/../b")
    >>> of_model([Process(1, b"/pause", b"0::/../a"), model, ours]) == [model]
    True
    """
    groups = {p.cgroup for p in all_processes}
    own = {p.cgroup for p in all_processes if _OURS in p.command or _is_pause(p)}
    if len(groups) == 1:  # no cgroups to tell containers by
        own = set()
    return [p for p in all_processes if p.cgroup not in own and _OURS not in p.command and not _is_pause(p)]


def _is_pause(process: Process) -> bool:
    return process.pid == 1 and process.command.rstrip(b"\0").rpartition(b"/")[2] == _PAUSE


def of_program(all_processes: list[Process], module: str) -> list[Process]:
    """Our processes that run ``module``."""
    return [p for p in all_processes if module.encode() in p.command]


def usage(of: list[Process], root: Path = PROC) -> Usage | None:
    """Their use together; None if none of them lives any more."""
    parts = list(_usages(of, root))
    if not parts:
        return None
    fds = [part.open_fds for part in parts]
    known = [count for count in fds if count is not None]
    return Usage(
        sum(part.cpu_seconds for part in parts),
        sum(part.memory_bytes for part in parts),
        sum(part.threads for part in parts),
        sum(known) if len(known) == len(fds) else None,
    )


def _usages(of: list[Process], root: Path) -> Iterator[Usage]:
    for process in of:
        with contextlib.suppress(OSError):
            yield _usage(root / str(process.pid))


def _usage(entry: Path) -> Usage:
    fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
    ticks = sum(int(field) for field in fields[_UTIME : _CSTIME + 1])
    return Usage(ticks / _TICKS, _memory(entry), int(fields[_THREADS]), _open_fds(entry))


def _memory(entry: Path) -> float:
    resident = int((entry / "statm").read_bytes().split()[1]) * _PAGE
    if resident > PSS_LIMIT_BYTES:
        return resident
    try:
        lines = (entry / "smaps_rollup").read_bytes().splitlines()
    except OSError:  # another user's process
        return resident
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:")), resident)


def _open_fds(entry: Path) -> int | None:
    try:
        return sum(1 for _ in (entry / "fd").iterdir())
    except PermissionError:
        return None
