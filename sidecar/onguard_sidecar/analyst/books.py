"""The analyst's side of the ledger: opened when the wire has made it, opened again when the wire or we start anew."""

import logging
from pathlib import Path
from typing import Final

from onguard_sidecar.ledger import Ledger, LedgerError, LedgerMissingError

log: Final = logging.getLogger(__name__)


class Books:
    """Access to the ledger of the current boots."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ledger: Ledger | None = None
        self._boot: int | None = None

    def current(self, boot: int) -> Ledger | None:
        """The ledger, under this boot id of the analyst; None while there is none that can be read."""
        if self._ledger is not None and (self._boot != boot or self._ledger.superseded):
            self.close()
        if self._ledger is None:
            self._open(boot)
        return self._ledger

    def close(self) -> None:
        """Let go of it."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _open(self, boot: int) -> None:
        try:
            self._ledger, self._boot = Ledger.open_analyst(self._path, boot), boot
        except LedgerMissingError:
            pass  # the wire starts; whoever asks will ask again
        except (LedgerError, OSError) as error:
            log.warning("no ledger: %s", error)
