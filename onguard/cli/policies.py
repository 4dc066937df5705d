"""A ModelDeployment's manifest as the API server would have taken it: defaults are the spec's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onguard import contract
from onguard.cli.stagehand import NAMESPACE, Model
from onguard.spec import SpecError, parse_spec


class PolicyError(Exception):
    """The manifest can't be used; the text says where."""


def read_policy(path: Path) -> Model:
    """
    Read the ModelDeployment of a YAML file that may hold other objects too.

    Raises:
        PolicyError: if there is none, or more than one, or its spec is wrong.
        OSError: if the file can't be read.
    """
    import yaml

    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: expected YAML, got {error}") from None
    found = [d for d in documents if isinstance(d, Mapping) and d.get("kind") == contract.MODEL_DEPLOYMENT]
    if len(found) != 1:
        raise PolicyError(f"{path}: expected one {contract.MODEL_DEPLOYMENT}, got {len(found)}")
    return model_of(dict(found[0]), str(path))


def model_of(document: dict[str, Any], where: str) -> Model:
    """
    A model out of its manifest.

    Raises:
        PolicyError: with the JSON path of the fault.
    """
    try:
        spec = parse_spec(document.get("spec") or {})
    except SpecError as error:
        raise PolicyError(f"{where}: {error}") from None
    name = str((document.get("metadata") or {}).get("name", "model"))
    meta = {"name": name, "namespace": NAMESPACE, "uid": f"replay-{name}", "generation": 1}
    mdep = {"apiVersion": contract.API_VERSION, "kind": contract.MODEL_DEPLOYMENT, "metadata": meta}
    return Model(mdep={**mdep, "spec": document["spec"]}, spec=spec)
