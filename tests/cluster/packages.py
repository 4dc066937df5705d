"""
Debian packages that the cluster and its tests need.

Installed as root where something is missing; everybody else gets the one line to run. No service is started:
the packages of etcd, containerd, nginx and Prometheus would otherwise open ports of their own.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from commands import CommandError, run, step

PROGRAMS: Final = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "buildah": "buildah",
    "strip": "binutils",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "wrk": "wrk",
    "nginx": "nginx-light",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
"""What must be there, and the package that brings it."""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POLICY: Final = Path("/usr/sbin/policy-rc.d")


def missing() -> list[str]:
    return sorted({package for program, package in PROGRAMS.items() if not _is_there(program)})


def ensure() -> None:
    """Install what is missing, or say what to install."""
    absent = missing()
    if not absent:
        return
    command = f"apt-get install --no-install-recommends {' '.join(absent)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise CommandError(f"missing packages; run as root: {command}")
    with step(f"apt: {' '.join(absent)}"), _services_stay_down():
        run("apt-get", "update", "-q")
        run(
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "install",
            "-y",
            "-q",
            "--no-install-recommends",
            *absent,
        )
    if missing():
        raise CommandError(f"still missing after the installation: {' '.join(missing())}")


def _is_there(program: str) -> bool:
    return Path(program).exists() if program.startswith("/") else shutil.which(program, path=PATH) is not None


@contextmanager
def _services_stay_down() -> Iterator[None]:
    """101 tells invoke-rc.d that starting is forbidden; a policy of the machine's own stays in charge."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
