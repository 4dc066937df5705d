"""
Kill the start of a cluster with SIGKILL at many moments; ``down`` must leave nothing behind each time.

Left behind would be: a process, a mount, a network namespace, a link, a cgroup, a route, a shim's socket, the state
folder. ``make cluster-check`` runs it on a second cluster, beside the one that may be up.
Prints a line for each moment.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

os.environ["ONGUARD_CLUSTER"] = "check"

import netns_cluster
import teardown
from commands import say
from places import CACHE, NAME, STATE

SCRIPT: Final = Path(__file__).with_name("cluster.py")
MOMENTS_S: Final = (0.4, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 13.0)
"""After the start of `up`; a whole one takes some 20 s."""


def main() -> int:
    run("down")
    before = surroundings()
    bad = [problem for moment in MOMENTS_S for problem in killed_up(moment, before)]
    bad += killed_down(before)
    bad += twice_down(before)
    say("\n".join(bad) if bad else "nothing was left behind at any moment")
    return 1 if bad else 0


def killed_up(moment_s: float, before: dict[str, list[str]]) -> list[str]:
    process = subprocess.Popen([sys.executable, str(SCRIPT), "up"], stderr=subprocess.DEVNULL)
    time.sleep(moment_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    programs = [name for name in netns_cluster.ALL_PROGRAMS if netns_cluster.programs.is_running(name)]
    return took_down(f"up killed after {moment_s} s ({', '.join(programs) or 'nothing'} running)", before)


def killed_down(before: dict[str, list[str]]) -> list[str]:
    """A `down` that dies half-way is finished by the next one."""
    run("up")
    process = subprocess.Popen([sys.executable, str(SCRIPT), "down"], stderr=subprocess.DEVNULL)
    time.sleep(1.0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return took_down("down killed after 1 s", before)


def twice_down(before: dict[str, list[str]]) -> list[str]:
    return took_down("down of nothing", before)


def took_down(what: str, before: dict[str, list[str]]) -> list[str]:
    started = time.monotonic()
    problems = [] if run("down") == 0 else ["down failed"]
    took_s = time.monotonic() - started
    problems += teardown.leftovers()
    after = surroundings()
    problems += [
        f"{kind}: {sorted(set(after[kind]) ^ set(before[kind]))}" for kind in before if after[kind] != before[kind]
    ]
    say(f"  {what}: down in {took_s:.1f} s, {'; '.join(problems) or 'nothing left'}")
    return [f"{what}: {problem}" for problem in problems]


def surroundings() -> dict[str, list[str]]:
    """What of the machine a cluster could change, seen without the cluster's own bookkeeping."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    other = CACHE / "cluster"
    bundles = (other / "containerd" / "state").glob("io.containerd.runtime.v2.task/*/*/address")
    sockets = {address.read_text().removeprefix("unix://") for address in bundles}
    return {
        "mounts": sorted(mount for mount in mounts if other not in Path(mount).parents),
        "links": names_in(Path("/sys/class/net")),
        "namespaces": names_in(Path("/run/netns")),
        "routes": sorted(
            subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout.splitlines()
        ),
        "cgroups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{NAME}*")),
        "nftables": subprocess.run(
            ["nft", "list", "tables"], capture_output=True, text=True, check=True
        ).stdout.splitlines(),
        "shim sockets": sorted({str(path) for path in Path("/run/containerd/s").glob("*")} - sockets),
        "programs": sorted(running()),
    }


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def running() -> list[str]:
    """Processes that have to do with this cluster and not the other: by cgroup or by a path on the command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            belongs = f"/{NAME}/" in (process / "cgroup").read_text() or str(STATE) in (process / "cmdline").read_text()
            name = (process / "comm").read_text().strip()
        except OSError:
            continue
        if belongs:
            found.append(f"{name} {process.name}")
    return found


def run(command: str) -> int:
    return subprocess.run([sys.executable, str(SCRIPT), command], stderr=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    sys.exit(main())
