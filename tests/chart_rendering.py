"""The chart as Helm renders it."""

import subprocess
from functools import cache
from pathlib import Path

import yaml

from tests.toolchain import program

CHART = Path(__file__).parents[1] / "charts" / "onguard"
NAMESPACE = "onguard-system"


class HelmError(AssertionError):
    """Helm refused."""


@cache
def render(*options: str):
    """Documents of ``helm template`` for Kubernetes 1.34."""
    command = [program("helm"), "template", "onguard", str(CHART), "-n", NAMESPACE]
    versions = () if any(option.startswith("--kube-version") for option in options) else ("--kube-version=1.34.0",)
    done = subprocess.run([*command, *versions, *options], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise HelmError(done.stderr)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents, kind, name=None):
    return [d for d in documents if d["kind"] == kind and name in (None, d["metadata"]["name"])]
