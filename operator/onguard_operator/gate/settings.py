"""The gate's configuration: read once, whole, from an environment that is passed in; all faults in one error."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ENV_SIDECAR_IMAGE: Final = "ONGUARD_SIDECAR_IMAGE"
ENV_PULL_POLICY: Final = "ONGUARD_SIDECAR_PULL_POLICY"
ENV_PULL_SECRETS: Final = "ONGUARD_SIDECAR_PULL_SECRETS"
ENV_RESOURCES: Final = "ONGUARD_SIDECAR_RESOURCES"
ENV_DRAIN_SLEEP: Final = "ONGUARD_DRAIN_SLEEP_SECONDS"
ENV_SCRAPE_ANNOTATIONS: Final = "ONGUARD_SCRAPE_ANNOTATIONS"
ENV_CERTIFICATE_DIR: Final = "ONGUARD_GATE_CERTIFICATE_DIR"
ENV_TOKENS_FILE: Final = "ONGUARD_GATE_TOKENS_FILE"
ENV_POD_NAME: Final = "ONGUARD_POD_NAME"
ENV_LISTEN_HOST: Final = "ONGUARD_LISTEN_HOST"
ENV_API_HOST: Final = "KUBERNETES_SERVICE_HOST"
ENV_API_PORT: Final = "KUBERNETES_SERVICE_PORT"

PORT_WEBHOOK: Final = 8443
PORT_ALERTS: Final = 9094
PORT_METRICS: Final = 9090
DIR_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_ADDRESS_V6: Final = re.compile(r"[0-9a-fA-F:]*:[0-9a-fA-F:.]*\Z")


class ConfigError(ValueError):
    """The environment can't be used; the text lists everything that is wrong."""


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """
    What the chart tells the gate.

    Attributes:
        api_server: URL of the API server.
        account_dir: folder with the service account's ``token`` and ``ca.crt``.
        certificate_dir: folder with ``tls.crt`` and ``tls.key`` of the webhook.
        tokens_file: bearer tokens of the alert receiver, one a line (``tokens.py``).
        sidecar: what injection needs (image, pull policy, pull secrets, resources).
        ports: webhook, alerts, metrics; 0 lets the kernel choose.
    """

    api_server: str
    account_dir: Path = DIR_SERVICE_ACCOUNT
    certificate_dir: Path
    tokens_file: Path
    pod_name: str
    sidecar_image: str
    pull_policy: str | None
    pull_secrets: tuple[str, ...]
    wire_resources: Mapping[str, Any]
    analyst_resources: Mapping[str, Any]
    drain_sleep_s: int
    scrape_annotations: bool
    listen_host: str
    ports: tuple[int, int, int] = (PORT_WEBHOOK, PORT_ALERTS, PORT_METRICS)


def from_env(env: Mapping[str, str]) -> GateSettings:
    """
    Read the environment.

    Raises:
        ConfigError: with every fault, not the first one only.
    """
    required = (ENV_SIDECAR_IMAGE, ENV_CERTIFICATE_DIR, ENV_TOKENS_FILE, ENV_API_HOST, ENV_API_PORT)
    faults = [f"{name}: expected a value, got none" for name in required if not env.get(name)]
    resources = _resources(env.get(ENV_RESOURCES, ""), faults)
    sleep_s = _seconds(env.get(ENV_DRAIN_SLEEP, "5"), faults)
    if faults:
        raise ConfigError("; ".join(faults))
    return GateSettings(
        api_server=_url(env[ENV_API_HOST], env[ENV_API_PORT]),
        certificate_dir=Path(env[ENV_CERTIFICATE_DIR]),
        tokens_file=Path(env[ENV_TOKENS_FILE]),
        pod_name=env.get(ENV_POD_NAME, "onguard-gate"),
        sidecar_image=env[ENV_SIDECAR_IMAGE],
        pull_policy=env.get(ENV_PULL_POLICY) or None,
        pull_secrets=tuple(name for name in env.get(ENV_PULL_SECRETS, "").split(",") if name),
        wire_resources=resources["wire"],
        analyst_resources=resources["analyst"],
        drain_sleep_s=sleep_s,
        scrape_annotations=env.get(ENV_SCRAPE_ANNOTATIONS) == "true",
        listen_host=env.get(ENV_LISTEN_HOST) or "0.0.0.0",  # noqa: S104 - a pod serves on all its addresses
    )


def _resources(text: str, faults: list[str]) -> Mapping[str, Mapping[str, Any]]:
    expected = f'{ENV_RESOURCES}: expected JSON with the resources of "wire" and "analyst"'
    try:
        read = json.loads(text)
    except json.JSONDecodeError:
        faults.append(f"{expected}, got text that is not JSON")
        return {}
    if not isinstance(read, dict) or not all(isinstance(read.get(key), dict) for key in ("wire", "analyst")):
        faults.append(f"{expected}, got something else")
        return {}
    return read


def _seconds(text: str, faults: list[str]) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text):
        faults.append(f'{ENV_DRAIN_SLEEP}: expected whole seconds up to 999, got "{text}"')
        return 0
    return int(text)


def _url(host: str, port: str) -> str:
    """
    Address of the API server as the kubelet tells it.

    >>> _url("fd00::1", "443")
    'https://[fd00::1]:443'
    """
    return f"https://[{host}]:{port}" if _ADDRESS_V6.match(host) else f"https://{host}:{port}"
