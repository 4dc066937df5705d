"""The cluster in a network namespace: every step brings one part to where it should be, so `up` twice is as once."""

import hashlib
from pathlib import Path
from typing import Final

import addons
import builder
import certificates
import cgroups
import control_plane
import gotools
import network
import node
import packages
import programs
import teardown
from commands import CommandError, say, step
from places import KUBECONFIG, STATE

STAMP: Final = STATE / "made-by"
LOADED: Final = STATE / "loaded"
COMMANDS: Final = "commands"
"""The leaf of what `up` itself runs."""
ALL_PROGRAMS: Final = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
)


def up() -> None:
    packages.ensure()
    tools = gotools.ensure()
    _start_over_if_made_by_other_code(tools)
    with step("images of the cluster"):
        images = addons.build_images(tools)
    cgroups.ensure()
    with cgroups.inside(COMMANDS):
        _up(tools, images)


def _up(tools: Path, images: list[str]) -> None:
    with step("network namespace and certificates"):
        network.ensure()
        STATE.mkdir(parents=True, exist_ok=True)
        STAMP.write_text(_stamp(tools))
        certificates.ensure()
    with step("containerd and images"):
        node.ensure_containerd()
        for image in images:
            load(image)
    with step("control plane"):
        control_plane.ensure(tools)
    with step("node"):
        node.ensure_kubelet(tools)
        node.wait_ready()
    with step("DNS and metrics"):
        addons.apply_all()
        addons.wait_ready()


def down() -> None:
    teardown.down()


def load(image: str) -> None:
    """Bring the built image to the node under its name; nothing to do if the node has this very image."""
    stamp = LOADED / image.replace("/", "_")
    identity = builder.image_id(image)
    if stamp.exists() and stamp.read_text() == identity:
        return
    programs.require("containerd")
    archive = builder.archive(image)
    with cgroups.inside(COMMANDS):
        node.import_image(archive)
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(identity)


def status() -> list[str]:
    """One line for each part."""
    lines = [f"{name}: {'running' if programs.is_running(name) else 'not running'}" for name in ALL_PROGRAMS]
    lines.append(f"network: {'up' if network.is_up() else 'absent'}")
    lines.append(f"API server: {'ready' if control_plane.is_ready() else 'not ready'}")
    return lines


def is_up() -> bool:
    return network.is_up() and all(programs.is_running(name) for name in ALL_PROGRAMS) and control_plane.is_ready()


def kubeconfig() -> Path:
    if not KUBECONFIG.exists():
        raise CommandError("no cluster of ours is up; start one with `make cluster`")
    return KUBECONFIG


def _stamp(tools: Path) -> str:
    """Changes with the programs and with what they are told: a cluster that runs otherwise is not reused."""
    told = (
        control_plane.configuration(tools),
        node.configuration(),
        *certificates.CLIENTS,
        *certificates.API_SERVER_NAMES,
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _start_over_if_made_by_other_code(tools: Path) -> None:
    if STATE.exists() and (not STAMP.exists() or STAMP.read_text() != _stamp(tools)):
        say("  the cluster was made by other code or left half-made: starting over")
        teardown.down()
