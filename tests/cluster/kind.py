"""The same cluster by kind, where a Docker engine answers. CoreDNS is kind's own; metrics-server is ours."""

import os
from pathlib import Path

import addons
import builder
import gotools
from commands import CommandError, run, step, succeeds
from places import KIND_NAME, KUBECONFIG, TREE


def up() -> None:
    _require_kind()
    tools = gotools.ensure()
    if KIND_NAME not in run("kind", "get", "clusters").split():
        with step("kind create cluster"):
            config = TREE / "kind-config.yaml"
            run(
                "kind",
                "create",
                "cluster",
                "--name",
                KIND_NAME,
                "--config",
                config,
                "--wait",
                "120s",
                "--kubeconfig",
                os.devnull,
            )
    KUBECONFIG.parent.mkdir(parents=True, exist_ok=True)
    KUBECONFIG.write_text(run("kind", "get", "kubeconfig", "--name", KIND_NAME))
    KUBECONFIG.chmod(0o600)
    with step("metrics"):
        for image in addons.build_images(tools):
            load(image)
        addons.apply_metrics_server()


def down() -> None:
    _require_kind()
    run("kind", "delete", "cluster", "--name", KIND_NAME, "--kubeconfig", os.devnull)
    KUBECONFIG.unlink(missing_ok=True)


def load(image: str) -> None:
    run("kind", "load", "image-archive", builder.archive(image), "--name", KIND_NAME)


def status() -> list[str]:
    return [f"kind cluster {KIND_NAME}: {'up' if is_up() else 'absent'}"]


def is_up() -> bool:
    return KUBECONFIG.exists() and KIND_NAME in run("kind", "get", "clusters").split()


def kubeconfig() -> Path:
    if not KUBECONFIG.exists():
        raise CommandError("no cluster of ours is up; start one with `make cluster`")
    return KUBECONFIG


def _require_kind() -> None:
    if not succeeds("kind", "version"):
        raise CommandError("a Docker engine answers, but kind is not installed: go install sigs.k8s.io/kind@v0.30.0")
