"""The cluster of the user's kubeconfig, for the commands that speak to one."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import typer

from onguard.cli.faults import fail
from onguard_operator.cluster import Cluster, ClusterError, open_cluster

T = TypeVar("T")

NAMESPACE_OPTION: Any = typer.Option("--namespace", "-n", help="By default that of the kubeconfig's context.")


def with_cluster(work: Callable[[Cluster], Awaitable[T]]) -> T:
    """
    Run ``work`` against the cluster that kubectl would use.

    Raises:
        typer.Exit: with one line that says what the API server, or the kubeconfig, is missing.
    """
    from kubernetes.aio.config import ConfigException

    _check_kubeconfig()

    async def run() -> T:
        async with open_cluster() as cluster:
            return await work(cluster)

    try:
        return asyncio.run(run())
    except (ClusterError, OSError) as error:
        fail(str(error))
    except ConfigException as error:
        fail(f"expected a usable kubeconfig (KUBECONFIG or ~/.kube/config), got: {error}")


def _check_kubeconfig() -> None:
    """The client prints when a file is not there; we say what was looked for."""
    if "KUBERNETES_SERVICE_HOST" in os.environ and not os.environ.get("KUBECONFIG"):
        return
    paths = [Path(p) for p in os.environ.get("KUBECONFIG", "").split(os.pathsep) if p] or [Path.home() / ".kube/config"]
    if not any(path.is_file() for path in paths):
        fail(f"expected a kubeconfig (KUBECONFIG or ~/.kube/config), got no file {', '.join(map(str, paths))}")


def namespace_or_default(namespace: str | None) -> str:
    """The namespace that kubectl would use."""
    if namespace:
        return namespace
    from kubernetes.aio.config import ConfigException, list_kube_config_contexts

    _check_kubeconfig()

    try:
        contexts: Callable[..., Any] = list_kube_config_contexts
        _, active = contexts(os.environ.get("KUBECONFIG"))
    except (ConfigException, OSError):
        return "default"
    return str((active.get("context") or {}).get("namespace") or "default")
