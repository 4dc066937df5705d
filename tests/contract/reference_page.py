"""Render docs/reference.md from the CRDs: `python tests/contract/reference_page.py` writes it, a test compares it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "reference.md"
CRDS: Final = ("modeldeployments", "decisions")
INTRODUCTION: Final = """# Reference: ModelDeployment and Decision

Every field of both kinds, as the API server validates them (`kubectl explain mdep.spec` says the same).
Rendered from the CRDs of the chart.

Ratios are written as percentages (`1%`), durations with one unit (`250ms`, `30s`, `5m`, `24h`, `90d`).
"""


def render() -> str:
    """The whole page."""
    return INTRODUCTION + "".join(_kind(name) for name in CRDS)


def _kind(name: str) -> str:
    crd = yaml.safe_load((ROOT / "charts/onguard/files/crds" / f"{name}.yaml").read_text())
    names, version = crd["spec"]["names"], crd["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    head = (
        f"\n## {names['kind']}\n\n`{crd['spec']['group']}/{version['name']}`, short name `{names['shortNames'][0]}`. "
    )
    rules = "".join(f"- {rule}\n" for rule in _rules(schema))
    parts = "".join(_part(part, schema["properties"][part]) for part in ("spec", "status"))
    return (
        f"{head}{_line(schema.get('description', ''))}\n{parts}\n### Rules between fields of {names['kind']}\n\n{rules}"
    )


def _part(name: str, schema: dict[str, Any]) -> str:
    rows = "".join(
        f"| `{path}` | {_type(node)} | {_default(node)} | {_line(node.get('description', ''))} |\n"
        for path, node in _fields(schema, name)
    )
    return f"\n### {name}\n\n| field | type | default | meaning |\n|---|---|---|---|\n{rows}"


def _fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, node in schema.get("properties", {}).items():
        yield f"{path}.{key}", node
        if node.get("type") == "array":
            yield from _fields(node["items"], f"{path}.{key}[]")
        else:
            yield from _fields(node, f"{path}.{key}")


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        return " \\| ".join(f"`{value}`" for value in node["enum"])
    if node.get("type") == "array":
        return f"list of {node['items'].get('type', 'any')}"
    return str(node.get("type", "any"))


def _default(node: dict[str, Any]) -> str:
    return f"`{node['default']}`" if "default" in node else ""


def _rules(schema: dict[str, Any]) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", []):
        yield _line(rule.get("message", rule["rule"]))
    for node in (*schema.get("properties", {}).values(), schema.get("items", {})):
        if node:
            yield from _rules(node)


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render())
