"""
Take everything down, from whatever state it is in.

No list of ours is needed: processes are found by cgroup, mounts by folder, the network by name. So it works after
a crash of `up`, of `down` or of any program, and twice is the same as once.
"""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

import cgroups
import network
from commands import CommandError, say, step, succeeds
from places import CNI_CACHE, LINK, NAME, NETNS, STATE

CLIENTS: Final = ("kubelet", "kube-proxy", "kube-controller-manager", "kube-scheduler")
"""Stopped first: they would start again what is being stopped."""
SERVERS: Final = ("kube-apiserver", "etcd")
CONTAINER_LOG_LINKS: Final = Path("/var/log/containers")
"""The kubelet keeps links to its logs here, wherever the logs are."""


def down() -> None:
    with step("stop the programs"):
        cgroups.stop(_programs() / "commands", grace_s=0)
        for name in CLIENTS:
            cgroups.stop(_programs() / name, grace_s=2)
        cgroups.stop(cgroups.tree() / "kubepods", grace_s=0)
        sockets = _shim_sockets()
        for name in (*SERVERS, "containerd"):
            cgroups.stop(_programs() / name, grace_s=2)
        cgroups.stop(cgroups.tree(), grace_s=0)
    with step("remove mounts, network, cgroups and state"):
        _unmount_all()
        network.remove()
        cgroups.remove()
        _remove_files(sockets)
    left = leftovers()
    if left:
        raise CommandError("left behind:\n" + "\n".join(f"  {one}" for one in left))


def leftovers() -> list[str]:
    """Whatever of the cluster is still there, one line each; empty after a good ``down``."""
    found = [f"process {pid} in {cgroups.tree()}" for pid in cgroups.members(cgroups.tree())]
    found += [f"mount {mount}" for mount in _mounts()]
    found += [f"cgroup {folder}" for folder in cgroups.leftovers()]
    found += [f"network namespace {NETNS}"] if NETNS.exists() else []
    found += [f"link {LINK}"] if succeeds("ip", "link", "show", "dev", LINK) else []
    found += [f"folder {STATE}"] if STATE.exists() else []
    return found


def _programs() -> Path:
    return cgroups.tree() / "programs"


def _mounts() -> list[Path]:
    """Mounts at or below the state folder, deepest first."""
    points = [line.split()[1].replace("\\040", " ") for line in Path("/proc/self/mounts").read_text().splitlines()]
    ours = [Path(point) for point in points if Path(point) == STATE or STATE in Path(point).parents]
    return sorted(ours, key=lambda path: len(path.parts), reverse=True)


def _unmount_all() -> None:
    for _ in range(20):
        mounts = _mounts()
        if not mounts:
            return
        for mount in mounts:
            subprocess.run(["umount", "--lazy", str(mount)], capture_output=True, check=False)
        time.sleep(0.05)
    raise CommandError(f"cannot unmount: {', '.join(str(mount) for mount in _mounts())}")


def _shim_sockets() -> list[Path]:
    """containerd's shims listen in a fixed folder of the machine; each bundle names its own socket."""
    bundles = (STATE / "containerd" / "state").glob("io.containerd.runtime.v2.task/*/*/address")
    return [Path(address.read_text().removeprefix("unix://")) for address in bundles]


def _remove_files(sockets: list[Path]) -> None:
    for socket in sockets:
        socket.unlink(missing_ok=True)
    for result in CNI_CACHE.glob(f"{NAME}-*"):
        result.unlink(missing_ok=True)
    for link in CONTAINER_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and STATE in link.readlink().parents:
            link.unlink()
    if _mounts():
        raise CommandError(f"will not delete {STATE} while something is mounted below it")
    _remove_tree()


def _remove_tree() -> None:
    for attempt in range(5):
        shutil.rmtree(STATE, ignore_errors=attempt < 4)
        if not STATE.exists():
            return
        time.sleep(0.2)
    say(f"  could not delete {STATE}")
