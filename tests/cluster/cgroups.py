"""
Every process of the cluster lives below one cgroup of ours, from its first instruction on.

Membership is the proof that a process is ours: no list of pids that a crash could leave stale, no search by name.
Programs have a leaf each (``onguard/programs/etcd``; containerd's holds the shims too), pods are below
``onguard/kubepods``. Works on cgroup v1 (one tree for each controller) and v2 (one tree).
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from commands import CommandError
from places import NAME

ROOT: Final = Path("/sys/fs/cgroup")
IS_V2: Final = (ROOT / "cgroup.controllers").exists()
V1_TREE: Final = "pids"
"""The controller whose tree tells who is ours on v1; the kubelet uses it too."""


def trees() -> list[Path]:
    """Our folder in every mounted hierarchy."""
    if IS_V2:
        return [ROOT / NAME]
    return [
        path / NAME
        for path in sorted(ROOT.iterdir())
        if path.is_dir() and not path.is_symlink() and (path / "cgroup.procs").exists()
    ]


def tree() -> Path:
    """The one that is asked for members."""
    return ROOT / NAME if IS_V2 else ROOT / V1_TREE / NAME


def ensure() -> None:
    """Make our folder in every hierarchy, with the controllers that the kubelet hands on."""
    for folder in trees():
        folder.mkdir(exist_ok=True)
        if IS_V2:
            controllers = (folder / "cgroup.controllers").read_text().split()
            (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # On v1 a new cpuset is empty and takes no process until it has both.
            if not IS_V2 and (folder / setting).exists() and not (folder / setting).read_text().strip():
                (folder / setting).write_text((folder.parent / setting).read_text())
    (tree() / "programs").mkdir(exist_ok=True)


def leaf(program: str) -> Path:
    path = tree() / "programs" / program
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Stay in a leaf meanwhile: the commands that the caller starts are then found even if it is killed."""
    origin = _own_cgroup()
    (leaf(name) / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (origin / "cgroup.procs").write_text(str(os.getpid()))


def members(folder: Path) -> list[int]:
    """Pids in this cgroup and all below it."""
    return [pid for procs in _below(folder, "cgroup.procs") for pid in _read_pids(procs)]


def stop(folder: Path, *, grace_s: float) -> None:
    """Ask with SIGTERM, then kill whatever is left, until the cgroup is empty."""
    if grace_s > 0:
        _signal_all(folder, signal.SIGTERM)
        _wait_empty(folder, grace_s)
    deadline = time.monotonic() + 20
    while members(folder):
        # Killing one may let another start: repeat until nobody is there.
        _signal_all(folder, signal.SIGKILL)
        _wait_empty(folder, 0.5)
        if time.monotonic() > deadline:
            raise CommandError(f"{folder}: still has processes {members(folder)} after SIGKILL")


def remove() -> None:
    """Remove our folders, deepest first; processes must be gone."""
    for folder in trees():
        for path in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
            if path.is_dir():
                _rmdir(path)
        if folder.exists():
            _rmdir(folder)


def leftovers() -> list[Path]:
    return [folder for folder in trees() if folder.exists()]


def _own_cgroup() -> Path:
    """Lines of /proc/self/cgroup are ``id:controllers:path``; v2 has one line without controllers."""
    lines = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
    paths = {controllers: path.lstrip("/") for _, controllers, path in lines}
    return ROOT / paths[""] if IS_V2 else ROOT / V1_TREE / paths[V1_TREE]


def _below(folder: Path, name: str) -> Iterator[Path]:
    if folder.exists():
        yield from folder.rglob(name)


def _read_pids(procs: Path) -> list[int]:
    try:
        return [int(line) for line in procs.read_text().split()]
    except OSError:
        return []  # the cgroup went away between listing and reading


def _signal_all(folder: Path, number: int) -> None:
    for pid in members(folder):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _wait_empty(folder: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while members(folder) and time.monotonic() < deadline:
        time.sleep(0.05)


def _rmdir(path: Path) -> None:
    for _ in range(40):
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)  # the kernel counts a killed process for a moment longer
        else:
            return
    raise CommandError(f"cannot remove cgroup {path}; processes: {members(path)}")
