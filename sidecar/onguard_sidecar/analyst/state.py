"""
What the analyst knows at a moment: configuration, reference, and the analysis under both.

The last good configuration and the last good reference stay in force while a new one is bad; the error is shown.
"""

import logging
import secrets
from typing import Final

from onguard.profile import Profile, ProfileError, decode_profile
from onguard.sidecar_config import ConfigError, SidecarConfig, decode_config
from onguard.spec import PayloadMapping
from onguard_sidecar.analyst import redaction
from onguard_sidecar.analyst.analysis import Analysis
from onguard_sidecar.analyst.settings import Settings
from onguard_sidecar.analyst.survey import Survey
from onguard_sidecar.analyst.watched import Content, Watched
from onguard_sidecar.analyst.windows import Window
from onguard_sidecar.decoding import formats
from onguard_sidecar.decoding.mapped import MappingError

log: Final = logging.getLogger(__name__)

POLL_S: Final = 5.0
CONFIG_BYTES: Final = 1 << 20
"""A ConfigMap's own limit."""
PROFILE_BYTES: Final = 8 << 20


def new_boot() -> int:
    """A boot id: 63 random bits, so that it is positive in the ledger."""
    return secrets.randbits(63)


class State:
    """
    The analyst's state, changed by one event loop only.

    Attributes:
        config: None until a good one was read.
        key: of the keyed hashes of the present analysis.
        survey: rows that bins are chosen by; None while nobody asks for bins.
        boot: changes with the analysis, so that the operator's differences never span two references.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.config: SidecarConfig | None = None
        self.profile: Profile | None = None
        self.config_error = ""
        self.profile_error = ""
        self.boot = new_boot()
        self.key = secrets.token_bytes(32)
        self._config_file = Watched(settings.config_path, CONFIG_BYTES)
        self._profile_file = Watched(settings.profile_path, PROFILE_BYTES)
        self.analysis = Analysis(SidecarConfig(model=settings.model), None, self.key)
        self.window = Window()
        self.survey: Survey | None = None

    def poll(self) -> None:
        """Look at both files; start a new analysis if what is read or compared has changed."""
        config, profile = self._new_config(), self._new_profile()
        if config is None and profile is None:
            return
        before = self.analysis
        self.config = config or self.config
        self.profile = profile or self.profile
        current = self.config or before.config
        self._ask(current)
        same_profile = (before.profile and before.profile.hash) == (self.profile and self.profile.hash)
        if same_profile and _read(current) == _read(before.config):
            return
        self._restart(current)

    def _ask(self, config: SidecarConfig) -> None:
        """Begin, go on with or end the survey that the configuration asks for."""
        wanted = config.survey
        if wanted is None:
            self.survey = None
        elif self.survey is None or self.survey.said.attempt != wanted.attempt:
            self.survey = Survey(wanted, config.redact)
        self.analysis.survey = self.survey

    def _restart(self, config: SidecarConfig) -> None:
        self.key = redaction.key_of(config.counts_token_sha256) or self.key
        self.analysis = Analysis(config, self.profile, self.key)
        self.analysis.survey = self.survey
        self.window = Window()
        self.boot = new_boot()
        log.info(
            "counting anew: reference %s, protocol %s", self.profile.hash if self.profile else "none", config.protocol
        )

    def _new_config(self) -> SidecarConfig | None:
        content = self._config_file.changed()
        if content is None:
            return None
        try:
            config = decode_config(_data(content, ConfigError))
            formats.of_mapping(config.mapping or PayloadMapping())
        except (ConfigError, MappingError) as error:
            self.config_error = str(error)
            log.warning("keeping the last good configuration: %s", error)
            return None
        self.config_error = ""
        return config

    def _new_profile(self) -> Profile | None:
        content = self._profile_file.changed()
        if content is None or (content.fault and self.profile is None and not self._profile_expected()):
            return None
        try:
            profile = decode_profile(_data(content, ProfileError))
        except ProfileError as error:
            self.profile_error = str(error)
            log.warning("keeping the last good reference: %s", error)
            return None
        self.profile_error = ""
        return profile

    def _profile_expected(self) -> bool:
        """Without any file there is simply no reference; a file that is too large or unreadable is a fault."""
        return self.settings.profile_path.exists()


def _data(content: Content, error: type[ConfigError] | type[ProfileError]) -> bytes:
    if content.fault:
        raise error(content.fault)
    return content.data


def _read(config: SidecarConfig) -> tuple[object, ...]:
    """What decides how exchanges are read: a change of anything else keeps the counts."""
    return (config.protocol, config.mapping, config.match_model, config.redact, config.client_header)
