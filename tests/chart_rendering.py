"""The chart as Helm renders it."""

import copy
import subprocess
from functools import cache
from pathlib import Path

import yaml

from tests.toolchain import program

CHART = Path(__file__).parents[1] / "charts" / "onguard"
NAMESPACE = "onguard-system"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class HelmError(AssertionError):
    """Helm refused."""


def render(*options: str):
    """Documents of ``helm template`` for Kubernetes 1.34, the caller's own to change."""
    return copy.deepcopy(_documents(options))


@cache
def _documents(options):
    command = [program("helm"), "template", "onguard", str(CHART), "-n", NAMESPACE]
    versions = () if any(option.startswith("--kube-version") for option in options) else ("--kube-version=1.34.0",)
    done = subprocess.run([*command, *versions, *options], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise HelmError(done.stderr)
    return [document for document in yaml.load_all(done.stdout, Loader=_LOADER) if document]


def of_kind(documents, kind, name=None):
    return [d for d in documents if d["kind"] == kind and name in (None, d["metadata"]["name"])]
