"""PromQL of the shipped dashboard and rules: which there are, and which metrics they name."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

FILES: Final = Path(__file__).resolve().parents[2] / "charts" / "onguard" / "files"
_METRIC: Final = re.compile(r"onguard_[a-z0-9_]+")
_HISTOGRAM: Final = re.compile(r"_(bucket|count|sum)\Z")


def dashboard() -> Any:
    """The dashboard as Grafana reads it."""
    return json.loads((FILES / "dashboard.json").read_text())


def rules() -> list[Mapping[str, Any]]:
    """Every rule of the shipped alerts."""
    groups = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> Iterator[tuple[str, str]]:
    """(title, query) of every query of every panel."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def metrics(query: str) -> set[str]:
    """
    Metric names in a query, a histogram's by its own name.

    >>> metrics('sum(rate(onguard_x_seconds_bucket{model="$model"}[5m])) / onguard_y_total') == {
    ...     "onguard_x_seconds", "onguard_y_total"}
    True
    """
    return {_HISTOGRAM.sub("", name) for name in _METRIC.findall(query)}


def filled(query: str, *, namespace: str, model: str, window: str = "1m") -> str:
    """Put values where Grafana would put its variables."""
    values = {"$__rate_interval": window, "$__range": window, "$namespace": namespace, "$model": model}
    for variable, value in values.items():
        query = query.replace(variable, value)
    return query
