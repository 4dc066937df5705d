"""Programs of the cluster's toolchain (helm, kube-apiserver, etcd, ...) for tests that need a real one."""

import os
import shutil
from pathlib import Path

import pytest

_CACHE = Path(
    os.environ.get("ONGUARD_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onguard"
)


def program(name: str) -> str:
    """
    Find a program: in the folder ``ONGUARD_TOOLS``, in the newest built toolchain, on the PATH.

    A test that can't find its program fails: a skip would hide that nothing was tested.
    """
    folders = [Path(os.environ["ONGUARD_TOOLS"])] if os.environ.get("ONGUARD_TOOLS") else []
    built = sorted((_CACHE / "tools").glob("bin-*[0-9a-f]"), key=lambda each: each.stat().st_mtime, reverse=True)
    search = os.pathsep.join([*map(str, [*folders, *built]), os.environ.get("PATH", ""), "/usr/bin", "/usr/sbin"])
    found = shutil.which(name, path=search)
    if found is None:
        pytest.fail(f'{name} not found: build the toolchain with "make cluster", or name its folder in ONGUARD_TOOLS')
    return found
