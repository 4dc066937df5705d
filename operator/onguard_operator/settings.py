"""The operator's configuration: read once, whole, from an environment that is passed in; all faults in one error."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

ENV_NAMESPACE: Final = "ONGUARD_OPERATOR_NAMESPACE"
ENV_POD_NAME: Final = "ONGUARD_POD_NAME"
ENV_SIDECAR_IMAGE: Final = "ONGUARD_SIDECAR_IMAGE"
ENV_KEY_FILE: Final = "ONGUARD_COUNTS_KEY_FILE"
ENV_METRICS_PORT: Final = "ONGUARD_METRICS_PORT"
METRICS_PORT: Final = 9090
MIN_KEY_BYTES: Final = 16


class SettingsError(ValueError):
    """The environment is incomplete; the text lists everything that is missing."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """
    What the chart decides.

    Attributes:
        namespace: the operator's own namespace: Lease and evidence live there.
        identity: who holds the Lease; the pod's name.
        sidecar_image: image that the gate injects, for the breaker.
        key_file: file with the master key of the counts tokens.
        metrics_port: where /metrics, /healthz and /readyz are served.
    """

    namespace: str
    identity: str
    sidecar_image: str
    key_file: Path
    metrics_port: int = METRICS_PORT

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """
        Read the environment.

        >>> Settings.from_env({})
        Traceback (most recent call last):
        onguard_operator.settings.SettingsError: not set: ONGUARD_OPERATOR_NAMESPACE, ONGUARD_POD_NAME, ...
        """
        needed = (ENV_NAMESPACE, ENV_POD_NAME, ENV_SIDECAR_IMAGE, ENV_KEY_FILE)
        missing = [name for name in needed if not env.get(name)]
        if missing:
            raise SettingsError(f"not set: {', '.join(missing)}")
        port = env.get(ENV_METRICS_PORT, str(METRICS_PORT))
        if not port.isdigit():
            raise SettingsError(f'{ENV_METRICS_PORT}: expected a port number, got "{port}"')
        namespace, identity, image, key_file = (env[name] for name in needed)
        return cls(namespace, identity, image, Path(key_file), int(port))

    def read_key(self) -> bytes:
        """
        Read the master key anew, so that a rotated Secret is taken up without a restart.

        Raises:
            SettingsError: if the file is absent or too short.
        """
        try:
            key = self.key_file.read_bytes().strip()
        except OSError as error:
            raise SettingsError(f"{ENV_KEY_FILE}: {self.key_file} can't be read: {error.strerror}") from error
        if len(key) < MIN_KEY_BYTES:
            raise SettingsError(f"{ENV_KEY_FILE}: expected at least {MIN_KEY_BYTES} bytes, got {len(key)}")
        return key
