"""
What the operator tells the sidecar, by a ConfigMap that the kubelet mounts and refreshes.

``sidecar.json`` is the whole of it, for the analyst; ``wire.conf`` repeats what the wire needs as ``key=value`` lines,
since the wire has no JSON parser. Both are written by :func:`render` only.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from onguard import contract
from onguard.spec import PayloadMapping, Redact, Spec

FORMAT: Final = 1


class ConfigError(ValueError):
    """A config can't be used; the last good one stays in force."""


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """Look at the rows of so many requests, and propose bins for them; another attempt begins anew."""

    attempt: int
    requests: int


class SidecarConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that both containers of a sidecar need to know about their ModelDeployment."""

    version: int = FORMAT
    model: str
    protocol: str = "auto"
    mapping: PayloadMapping | None = None
    match_model: str | None = None
    match_paths: tuple[str, ...] = ()
    ignore_paths: tuple[str, ...] = ()
    sample: float = 1.0
    client_header: str | None = None
    redact: tuple[Redact, ...] = ()
    latency_bounds_s: tuple[float, ...] = ()
    error_statuses: tuple[int, ...] = ()
    feature_bins: bool = False
    survey: Survey | None = None
    counts_token_sha256: str = ""
    """Hex SHA-256 of the bearer token of /counts. The token itself is only with the operator."""

    @property
    def objectives_hash(self) -> str:
        """Epochs cut under different bounds or statuses never merge."""
        text = repr((self.latency_bounds_s, self.error_statuses))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def of_spec(model: str, spec: Spec, counts_token_sha256: str, *, survey: Survey | None = None) -> SidecarConfig:
    """Derive a sidecar's configuration from a ModelDeployment; ``survey`` while a reference has no bins yet."""
    errors = spec.objectives.errors
    return SidecarConfig(
        model=model,
        protocol=spec.traffic.ports[0].protocol,
        mapping=spec.traffic.ports[0].mapping,
        match_model=spec.traffic.match.model,
        match_paths=spec.traffic.match.paths,
        ignore_paths=spec.traffic.ignore,
        sample=spec.traffic.sample,
        client_header=spec.traffic.client,
        redact=spec.traffic.redact,
        latency_bounds_s=tuple(float(x.below) for x in spec.objectives.latency[: contract.LATENCY_SLOTS]),
        error_statuses=errors.statuses if errors else (),
        feature_bins=spec.metrics.feature_bins,
        survey=survey,
        counts_token_sha256=counts_token_sha256,
    )


def render(config: SidecarConfig) -> Mapping[str, str]:
    """
    Data of the ConfigMap.

    >>> print(render(SidecarConfig(model="churn", latency_bounds_s=(0.25,)))["wire.conf"], end="")
    version=1
    match_paths=
    ignore_paths=
    sample=1.0
    latency_bounds_s=0.25
    error_statuses=
    objectives_hash=...
    """
    lines = {
        "version": str(config.version),
        "match_paths": ",".join(config.match_paths),
        "ignore_paths": ",".join(config.ignore_paths),
        "sample": str(config.sample),
        "latency_bounds_s": ",".join(map(str, config.latency_bounds_s)),
        "error_statuses": ",".join(map(str, config.error_statuses)),
        "objectives_hash": config.objectives_hash,
    }
    return {
        contract.KEY_SIDECAR_JSON: msgspec.json.encode(config).decode(),
        contract.KEY_WIRE_CONF: "".join(f"{key}={value}\n" for key, value in lines.items()),
    }


def decode_config(data: bytes) -> SidecarConfig:
    """
    Read ``sidecar.json``.

    Raises:
        ConfigError: with the JSON path of the fault.
    """
    try:
        return msgspec.json.decode(data, type=SidecarConfig)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(error).replace("`$", "`sidecar")) from None
