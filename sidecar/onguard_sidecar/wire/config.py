"""
What the wire is told: its environment at the start, and ``wire.conf`` whenever it changes.

``wire.conf`` is rendered by ``onguard.sidecar_config``: one ``key=value`` a line, lists separated by commas. Unknown
keys are ignored, so that an older wire reads a newer file.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from onguard import contract
from onguard_sidecar.wire.limits import CONNECTIONS, IDLE_S, WAITING_BYTES, Limits

FORMAT: Final = "1"
_Item = TypeVar("_Item")


class ConfigError(ValueError):
    """The environment or ``wire.conf`` can't be used."""


class Settings(NamedTuple):
    """The environment of one wire container."""

    upstream_port: int
    pod_ip: str = ""
    """Address that the model is dialled at; loopback where it is empty."""
    listen_host: str | None = None
    """None: every address of both families."""
    wire_port: int = contract.PORT_WIRE
    health_port: int = contract.PORT_HEALTH
    shared_dir: Path = Path(contract.DIR_SHARED)
    config_dir: Path = Path(contract.DIR_CONFIG)
    grace_s: float = 30.0
    """The pod's ``terminationGracePeriodSeconds``."""
    limits: Limits = Limits()


class WireConfig(NamedTuple):
    """Contents of ``wire.conf``."""

    match_paths: tuple[str, ...] = ()
    ignore_paths: tuple[str, ...] = ()
    sample: float = 1.0
    """Share of inference requests that is handed over, in [0, 1]."""
    latency_bounds_s: tuple[float, ...] = ()
    error_statuses: tuple[int, ...] = ()
    objectives_hash: str = ""
    """16 hex digits, or empty."""


def settings_of(env: Mapping[str, str]) -> Settings:
    """
    Read the environment.

    Raises:
        ConfigError: with every fault, not only the first.
    """
    faults: list[str] = []

    def number(name: str, default: float | None, high: float) -> float:
        text = env.get(name) or ("" if default is None else str(default))
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 1 <= value <= high:
            faults.append(f"expected a number from 1 to {high:g}, got {text!r} - at `{name}`")
            return 1.0
        return value

    settings = Settings(
        upstream_port=int(number(contract.ENV_UPSTREAM_PORT, None, 65535)),
        pod_ip=env.get(contract.ENV_POD_IP, ""),
        listen_host=env.get(contract.ENV_LISTEN_HOST) or None,
        wire_port=int(number(contract.ENV_WIRE_PORT, contract.PORT_WIRE, 65535)),
        health_port=int(number(contract.ENV_HEALTH_PORT, contract.PORT_HEALTH, 65535)),
        shared_dir=Path(env.get(contract.ENV_SHARED_DIR) or contract.DIR_SHARED),
        config_dir=Path(env.get(contract.ENV_CONFIG_DIR) or contract.DIR_CONFIG),
        grace_s=number(contract.ENV_GRACE_PERIOD, 30, 1e6),
        limits=Limits(
            connections=int(number(contract.ENV_WIRE_CONNECTIONS, CONNECTIONS, 1e6)),
            idle_s=number(contract.ENV_WIRE_IDLE, IDLE_S, 1e9),
            waiting=int(number(contract.ENV_WIRE_WAITING, WAITING_BYTES, 1e12)),
        ),
    )
    if faults:
        raise ConfigError("; ".join(faults))
    return settings


def parse_config(text: str) -> WireConfig:
    r"""
    Read ``wire.conf``.

    Raises:
        ConfigError: with the line at fault.

    >>> parse_config("version=1\nsample=0.5\nlatency_bounds_s=0.1,0.25\n").latency_bounds_s
    (0.1, 0.25)
    """
    lines = _lines(text)
    if lines.get("version") != FORMAT:
        raise ConfigError(f"expected {FORMAT}, got {lines.get('version', 'nothing')} - at `version`")
    config = WireConfig(
        match_paths=_listed(lines, "match_paths", str, _is_path),
        ignore_paths=_listed(lines, "ignore_paths", str, _is_path),
        sample=(*_listed(lines, "sample", float, lambda x: 0 <= x <= 1), 1.0)[0],
        latency_bounds_s=_listed(lines, "latency_bounds_s", float, lambda x: 0 < x < 1e6),
        error_statuses=_listed(lines, "error_statuses", int, lambda x: 100 <= x <= 999),
        objectives_hash=(*_listed(lines, "objectives_hash", str, _is_hash), "")[0],
    )
    if len(config.latency_bounds_s) > contract.LATENCY_SLOTS:
        found = len(config.latency_bounds_s)
        raise ConfigError(f"expected at most {contract.LATENCY_SLOTS} bounds, got {found} - at `latency_bounds_s`")
    return config


def _lines(text: str) -> dict[str, str]:
    lines: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        key, separator, value = line.partition("=")
        if line.strip() and not separator:
            raise ConfigError(f"expected key=value - at line {number}")
        lines[key.strip()] = value.strip()
    return lines


def _listed(
    lines: Mapping[str, str], key: str, convert: Callable[[Any], _Item], is_valid: Callable[[_Item], bool]
) -> tuple[_Item, ...]:
    items: list[_Item] = []
    for text in lines.get(key, "").split(","):
        if not text.strip():
            continue
        try:
            item = convert(text.strip())
        except ValueError:
            raise ConfigError(f"expected {convert.__name__}, got {text[:80]!r} - at `{key}`") from None
        if not is_valid(item):
            raise ConfigError(f"expected a valid value, got {text[:80]!r} - at `{key}`")
        items.append(item)
    return tuple(items)


def _is_path(text: str) -> bool:
    return text.startswith(("/", "*"))


def _is_hash(text: str) -> bool:
    return len(text) == 16 and all(digit in "0123456789abcdef" for digit in text)
