"""What the pod tells the analyst by its environment, read once and whole."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from onguard import contract


class SettingsError(ValueError):
    """The environment can't be used; every fault is named."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """
    The analyst's environment.

    Attributes:
        host: address to listen on; None for all, of both families.
        admin_port: where /metrics, /counts and /healthz are.
        cpu_limit_cores: limit of the model's container; None if it has none.
        memory_limit_bytes: likewise.
        proc_shared: the pod shares its process namespace, so that the model's processes can be seen.
    """

    model: str
    revision: str
    arm: str = contract.ARM_CANDIDATE
    shared_dir: Path = Path(contract.DIR_SHARED)
    config_path: Path = Path(contract.DIR_CONFIG) / contract.KEY_SIDECAR_JSON
    profile_path: Path = Path(contract.DIR_PROFILE) / "profile.json"
    host: str | None = None
    admin_port: int = contract.PORT_ADMIN
    cpu_limit_cores: float | None = None
    memory_limit_bytes: float | None = None
    proc_shared: bool = False

    @property
    def ledger_path(self) -> Path:
        """The counters that both containers share."""
        return self.shared_dir / contract.FILE_LEDGER

    @property
    def http2_ledger_path(self) -> Path:
        """The account of HTTP/2, which the analyst keeps."""
        return self.shared_dir / contract.FILE_LEDGER_HTTP2

    @property
    def wire_conf_path(self) -> Path:
        """What the wire is told."""
        return self.config_path.with_name(contract.KEY_WIRE_CONF)

    @property
    def socket_path(self) -> Path:
        """Where the wire hands over."""
        return self.shared_dir / contract.FILE_HANDOVER_SOCKET

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """
        Read the environment.

        Raises:
            SettingsError: numbers that are none.

        >>> Settings.from_env({"ONGUARD_MODEL": "churn", "ONGUARD_MODEL_CPU_LIMIT_MILLICORES": "500"}).cpu_limit_cores
        0.5
        >>> Settings.from_env({"ONGUARD_ADMIN_PORT": "x"})
        Traceback (most recent call last):
        onguard_sidecar.analyst.settings.SettingsError: ONGUARD_ADMIN_PORT: expected a number, got 1 characters
        """
        names = (contract.ENV_ADMIN_PORT, contract.ENV_MODEL_CPU_LIMIT, contract.ENV_MODEL_MEMORY_LIMIT)
        faults = [
            f"{name}: expected a number, got {len(env[name])} characters"
            for name in names
            if env.get(name) and not env[name].isdecimal()
        ]
        if faults:
            raise SettingsError("; ".join(faults))
        millicores = _number(env, contract.ENV_MODEL_CPU_LIMIT)
        return cls(
            model=env.get(contract.ENV_MODEL, ""),
            revision=env.get(contract.ENV_REVISION, ""),
            arm=env.get(contract.ENV_ARM) or contract.ARM_CANDIDATE,
            shared_dir=Path(env.get(contract.ENV_SHARED_DIR) or contract.DIR_SHARED),
            config_path=Path(env.get(contract.ENV_CONFIG_DIR) or contract.DIR_CONFIG) / contract.KEY_SIDECAR_JSON,
            profile_path=Path(env.get(contract.ENV_PROFILE_PATH) or f"{contract.DIR_PROFILE}/profile.json"),
            host=env.get(contract.ENV_LISTEN_HOST) or None,
            admin_port=int(env.get(contract.ENV_ADMIN_PORT) or contract.PORT_ADMIN),
            cpu_limit_cores=None if millicores is None else millicores / 1000,
            memory_limit_bytes=_number(env, contract.ENV_MODEL_MEMORY_LIMIT),
            proc_shared=env.get(contract.ENV_PROC_SHARED, "").lower() in ("1", "true"),
        )


def _number(env: Mapping[str, str], name: str) -> float | None:
    """The value; None where it is absent or 0, by which the downward API says `no limit` here."""
    return float(env.get(name) or 0) or None
