"""
Follows the HTTP/2 connections that the wire copies: chunks in, exchanges out, one account with the rest.

What an unfinished call costs, and how many connections are followed, is bounded; a connection that can't be followed is
counted as opaque and left alone until it is over.
"""

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Final

from onguard_sidecar import chunks as wires
from onguard_sidecar.analyst.calls import Desk
from onguard_sidecar.analyst.http2_account import Http2Account, Take
from onguard_sidecar.analyst.http2_connection import CLIENT, SERVER, Connection
from onguard_sidecar.chunks import Chunk
from onguard_sidecar.decoding.http2 import Http2Error, Http2LimitError
from onguard_sidecar.exchange import CLIENT_ABORTED, UPSTREAM_RESET
from onguard_sidecar.ledger import LedgerError, Snapshot
from onguard_sidecar.wire.accounts import ConnectionAccount
from onguard_sidecar.wire.config import ConfigError, WireConfig, parse_config
from onguard_sidecar.wire.limits import Budget
from onguard_sidecar.wire.matching import Matcher

log: Final = logging.getLogger(__name__)

CONNECTIONS: Final = 1024
"""Connections that are followed. Each costs about 12 KiB, and up to twice BLOCK_BYTES while a header is incomplete;
clients of gRPC hold one or a few. One more is opaque from its start."""
COPY_BYTES: Final = 16 << 20
"""Bytes of calls under way, on all connections together: eight pairs of bodies at their caps. The analyst's container
has room for them beside its rows; beyond it bodies are truncated."""
CONF_NS: Final = 3_000_000_000
"""Between two looks at the configuration, as often as the wire looks."""
Key = tuple[Hashable, int]


class Http2:
    """
    All connections of all wires that hand over.

    Args:
        ledger: where the account lies.
        conf: the wire's configuration file.
        take: what exchanges are handed to.
        note: told of unexpected errors of ours.
    """

    def __init__(self, ledger: Path, conf: Path, take: Take, note: Callable[[Exception], None]) -> None:
        self._ledger, self._conf, self._take, self._note = ledger, conf, take, note
        self._account: Http2Account | None = None
        self._budget = Budget(COPY_BYTES)
        self._config = WireConfig()
        self._conf_seen = b""
        self._polled = 0
        self._matcher = Matcher((), ())
        self._connections: dict[Key, tuple[Connection, ConnectionAccount] | None] = {}
        """None: it can't be followed."""

    def open(self, wire_boot: str, boot: int) -> None:
        """Begin, or go on with, the account of this boot of the wire."""
        number = int(wire_boot, 16)
        if self._account is not None and self._account.wire_boot == number:
            return
        self.close()
        self.poll()
        wall_ns = time.time_ns() - time.monotonic_ns()
        try:
            self._account = Http2Account(self._ledger, (number, boot), self._config, self._take, wall_ns=wall_ns)
        except LedgerError as error:
            log.warning("HTTP/2 is not read: %s", error)

    def close(self) -> None:
        """What is under way is lost; the counters stay in the file."""
        if self._account is not None:
            for key in list(self._connections):
                self._drop(key)
            self._account.publish(time.monotonic_ns())
            self._account.close()
            self._account = None
        self._connections.clear()

    def poll(self) -> None:
        """Judge by the wire's configuration; the last good one stays in force while a new one is bad."""
        try:
            seen = self._conf.read_bytes()
            if seen == self._conf_seen:
                return
            self._conf_seen = seen
            self._config = parse_config(seen.decode())
        except (OSError, ConfigError, UnicodeDecodeError):
            return  # the wire reads the same file, and shows what is wrong with it
        self._matcher = Matcher(self._config.match_paths, self._config.ignore_paths)
        if self._account is not None:
            self._account.accounts.configure(self._config)

    def feed(self, source: Hashable, chunks: Sequence[Chunk]) -> None:
        """Take what one wire handed over."""
        if self._account is None:
            return
        for chunk in chunks:
            self._feed(self._account, (source, chunk.connection), chunk)
        self._account.publish_outcomes()

    def end(self, source: Hashable) -> None:
        """A wire hands over nothing more: what is under way is out of sight."""
        for key in [key for key in self._connections if key[0] == source]:
            self._drop(key)
        self.sweep(time.monotonic_ns())

    def sweep(self, now: int) -> None:
        """Judge what is overdue, show what is in use."""
        if self._account is None:
            return
        if now - self._polled >= CONF_NS:
            self._polled = now
            self.poll()
        accounts = self._account.accounts
        for followed in self._connections.values():
            if followed is not None:
                accounts.overdue(followed[0].under_way(), followed[1], now)
        accounts.show("connections_open", sum(followed is not None for followed in self._connections.values()))
        accounts.show("limit_connections", CONNECTIONS)
        accounts.show("copy_bytes", self._budget.size - self._budget.left)
        accounts.show("limit_copy_bytes", self._budget.size)
        accounts.show("copies_shed", self._budget.shed)
        self._account.publish(now)

    def own(self) -> Snapshot | None:
        """The account of HTTP/2 alone, as of now."""
        self.sweep(time.monotonic_ns())
        return None if self._account is None else self._account.snapshot()

    def _feed(self, account: Http2Account, key: Key, chunk: Chunk) -> None:
        followed = self._connections.get(key)
        if chunk.kind == wires.LOST:
            self._drop(key)
        elif chunk.kind == wires.CLIENT_END:
            self._connections.pop(key, None)
            _end(followed, CLIENT_ABORTED, chunk.now)
        elif chunk.kind in (wires.SERVER_END, wires.SERVER_RESET):
            _end(followed, UPSTREAM_RESET, chunk.now)
        elif key not in self._connections or followed is not None:
            self._read(account, key, chunk)

    def _read(self, account: Http2Account, key: Key, chunk: Chunk) -> None:
        followed = self._connections.get(key) or self._begun(account, key)
        if followed is None:
            return
        connection, shed = followed[0], followed[0].shed
        try:
            side = CLIENT if chunk.kind == wires.CLIENT else SERVER
            connection.feed(side, chunk.offset, chunk.data, chunk.now)
        except Exception as error:  # noqa: BLE001  # whatever bytes provoke costs their connection only
            if not isinstance(error, Http2Error):
                self._note(error)
            account.accounts.count("framing_limits", isinstance(error, Http2LimitError))
            self._give_up(account, key)
            connection.lose()
        account.accounts.count("framing_limits", connection.shed - shed)

    def _begun(self, account: Http2Account, key: Key) -> tuple[Connection, ConnectionAccount] | None:
        if sum(followed is not None for followed in self._connections.values()) >= CONNECTIONS:
            account.accounts.count("connections_refused")
            self._give_up(account, key)
            return None
        counted = ConnectionAccount(account.accounts, key[1])
        desk = Desk(counted, self._budget, lose=account.lose, shed=account.accounts.lose)
        followed = Connection(desk, self._is_inference), counted
        self._connections[key] = followed
        return followed

    def _is_inference(self, method: bytes, target: bytes) -> bool:
        """By the configuration of now: connections outlive it."""
        return self._matcher.is_inference(method, target)

    def _give_up(self, account: Http2Account, key: Key) -> None:
        self._connections[key] = None
        account.accounts.count("connections_opaque")
        account.accounts.count("connections_http2_lost")

    def _drop(self, key: Key) -> None:
        """Out of sight; the wire has counted it."""
        followed = self._connections.pop(key, None)
        if followed is not None:
            followed[0].lose()


def _end(followed: tuple[Connection, ConnectionAccount] | None, flag: int, now: int) -> None:
    if followed is not None:
        followed[0].end(flag, now)
