"""What one model can't know: how many others alarm at the same time. Five together are a fault of the measuring."""

from collections.abc import Sequence
from typing import Final

TOGETHER: Final = 5
WITHIN_S: Final = 120.0


class Fleet:
    """Alarms of all models; a model that alarmed in a crowd stays suspect until its alarms are over."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._suspects: set[str] = set()

    def note(self, uid: str, alarms: Sequence[str], now: float) -> None:
        """Note what a model alarms about now."""
        if not alarms:
            self.forget(uid)
            return
        self._began.setdefault(uid, now)
        crowd = {other for other, began in self._began.items() if now - began <= WITHIN_S}
        if len(crowd) >= TOGETHER:
            self._suspects |= crowd

    def is_suspect(self, uid: str) -> bool:
        """Whether the model's alarms came together with many others."""
        return uid in self._suspects

    def forget(self, uid: str) -> None:
        """Drop a model whose alarms are over, or that is gone."""
        self._began.pop(uid, None)
        self._suspects.discard(uid)
