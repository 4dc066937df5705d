"""The wire as a program: its sockets, timers and signals."""

import asyncio
import contextlib
import errno
import gc
import logging
import random
import resource
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import uvloop

from onguard import contract
from onguard_sidecar.ledger import Ledger, layout_of
from onguard_sidecar.wire import draining
from onguard_sidecar.wire.accounts import Accounts
from onguard_sidecar.wire.config import ConfigError, Settings, WireConfig, parse_config, settings_of
from onguard_sidecar.wire.heads import Heads
from onguard_sidecar.wire.health import Health
from onguard_sidecar.wire.http2 import Copier
from onguard_sidecar.wire.limits import BUFFER_BYTES
from onguard_sidecar.wire.matching import Matcher
from onguard_sidecar.wire.outbox import BACKLOG_BYTES, Outbox
from onguard_sidecar.wire.proxy import ClientSide, ModelSide
from onguard_sidecar.wire.traffic import Traffic

LOOPBACK: Final = "127.0.0.1"
LOOPBACK_6: Final = "::1"
EVERY_4: Final = "0.0.0.0"  # noqa: S104 - traffic for the pod comes to the pod's address
SWEEP_S: Final = 0.25
"""Longest age of what the ledger shows, and precision of what is judged in flight."""
USAGE_S: Final = 1.0
IDLE_LOOK_S: Final = 60.0
"""Between two looks for connections that are idle too long: 5 ms with 4,096 of them."""
CONFIG_S: Final = 3.0
"""Between two looks at ``wire.conf``; the kubelet itself takes up to a minute."""
SPARE_S: Final = 5.0
"""Of the grace period, left for the end of the process."""
BACKLOG: Final = 1024
_POLL_S: Final = 0.05
_log = logging.getLogger("onguard.wire")


class Wire:
    """One wire: started once, stopped once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        shared = settings.shared_dir
        self._ledger = Ledger.open_wire(shared / contract.FILE_LEDGER, layout_of("", ()), secrets.randbits(63))
        self._outbox = Outbox(shared / contract.FILE_HANDOVER_SOCKET, self._ledger, self._loop)
        self.accounts = Accounts(self._ledger, self._outbox, random.random, wall_ns=_wall_ns())
        self.accounts.count("started_ns", time.time_ns())
        self.accounts.copier = self._copier = Copier(self._outbox, self.accounts, self._loop)
        self._outbox.on_end = self._copier.lose_all
        self._heads = Heads(Matcher((), ()).is_inference)
        self.traffic = Traffic(self.accounts, self._heads, self, settings.limits)
        self._show_limits()
        self._conf = settings.config_dir / contract.KEY_WIRE_CONF
        self._conf_seen: bytes | None = b""
        self._servers: list[asyncio.Server] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._sharing: asyncio.Task[None] | None = None
        self._deadline: float | None = None

    async def start(self) -> None:
        """Listen; from here on traffic passes."""
        settings = self._settings
        self._read_config()
        health = await self._listen(lambda: Health(self._is_lame), settings.health_port)
        data = await self._listen(lambda: ClientSide(self.traffic), settings.wire_port)
        self._servers = [data, health]
        await self._share()
        self._every(SWEEP_S, self._sweep)
        self._every(USAGE_S, self._show_usage)
        self._every(min(IDLE_LOOK_S, settings.limits.idle_s / 4), self.traffic.close_idle)
        self._every(CONFIG_S, self._read_config)
        _log.info("event=listening port=%d upstream_port=%d", settings.wire_port, settings.upstream_port)

    async def _share(self) -> None:
        """Take what the shared volume must give; traffic passes without it, and a full volume is asked again."""
        shared = self._settings.shared_dir
        try:
            if len(self._servers) == 2:
                self._servers.append(await draining.serve(shared / contract.FILE_DRAIN_SOCKET, self.drain))
            is_shared = self._ledger.settle(shared / contract.FILE_LEDGER)
        except OSError:
            is_shared = False
        if is_shared:
            self._outbox.connect()
        elif not self.traffic.lame:
            _log.warning("event=no_room path=%s", shared)
            self._later(CONFIG_S, self._share_again)

    def _share_again(self) -> None:
        self._sharing = self._loop.create_task(self._share())

    async def _listen(self, protocol: Callable[[], asyncio.Protocol], port: int) -> asyncio.Server:
        """On the configured host, or on every address; of IPv4 alone where IPv6 is switched off."""
        host = self._settings.listen_host
        try:
            return await self._loop.create_server(protocol, host, port, backlog=BACKLOG)
        except OSError as error:
            if host is not None or error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            return await self._loop.create_server(protocol, EVERY_4, port, backlog=BACKLOG)

    async def dial(self, model_side: ModelSide) -> None:
        """
        Connect to the model at the pod's address; at loopback only if it is refused there.

        Raises:
            OSError: the model can't be reached.
        """
        port, pod_ip = self._settings.upstream_port, self._settings.pod_ip
        loopback = LOOPBACK_6 if ":" in pod_ip else LOOPBACK
        if pod_ip and pod_ip != loopback:
            with contextlib.suppress(ConnectionRefusedError):
                await self._loop.create_connection(lambda: model_side, pod_ip, port)
                return
        await self._loop.create_connection(lambda: model_side, loopback, port)

    async def drain(self) -> None:
        """Lame duck; returns when nothing is in flight or at the grace period less ``SPARE_S``."""
        if self._deadline is None:
            self._deadline = self._loop.time() + max(self._settings.grace_s - SPARE_S, 0)
            self.traffic.begin_lame()
            self.accounts.count("draining")
            _log.info("event=lame_duck connections=%d", len(self.traffic.clients))
        # Busy is a property of all connections together, and this runs only while draining: asking is simplest.
        while self.traffic.is_busy() and self._loop.time() < self._deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        """Accept nothing more, finish what is in flight up to the deadline, close."""
        self._servers[0].close()
        await self.drain()
        cut = sum(client.is_busy() for client in self.traffic.clients)
        for client in tuple(self.traffic.clients):
            client.finish()
        await asyncio.sleep(_POLL_S)  # for the last half-closes to leave
        for timer in self._timers:
            timer.cancel()
        for server in self._servers[1:]:
            server.close()
        self.accounts.publish(time.monotonic_ns())
        self._copier.close()
        self._outbox.close()
        _log.info("event=stopped cut=%d", cut)

    def _is_lame(self) -> bool:
        return self.traffic.lame

    def _every(self, seconds: float, act: Callable[[], None]) -> None:
        """Call again and again until :meth:`stop`."""

        def again() -> None:
            act()
            self._later(seconds, again)

        self._later(seconds, again)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call once, unless :meth:`stop` comes before."""

        def on_time() -> None:
            self._timers.discard(handle)
            act()

        handle = self._loop.call_later(seconds, on_time)
        self._timers.add(handle)

    def _sweep(self) -> None:
        now = time.monotonic_ns()
        self.accounts.wall_ns = _wall_ns()
        self.traffic.sweep(now)
        self.accounts.publish(now)

    def _show_limits(self) -> None:
        """In the ledger, so that a page can show use beside limit."""
        limits, show = self._settings.limits, self.accounts.show
        show("limit_connections", limits.connections)
        show("limit_idle_s", round(limits.idle_s))
        show("limit_copy_bytes", self.traffic.budget.size)
        show("limit_buffer_bytes", BUFFER_BYTES)
        show("limit_waiting_bytes", limits.waiting)
        show("limit_outbox_bytes", BACKLOG_BYTES)

    def _show_usage(self) -> None:
        budget, show = self.traffic.budget, self.accounts.show
        show("copy_bytes", budget.size - budget.left)
        show("copies_shed", budget.shed)
        show("buffered_bytes", self.traffic.buffered())

    def _read_config(self) -> None:
        """Take ``wire.conf`` if it changed; the last good one stays in force when the new one is bad."""
        seen = _content(self._conf)
        if seen == self._conf_seen:
            return
        self._conf_seen = seen
        try:
            self._configure(parse_config((seen or b"").decode()))
        except (ConfigError, UnicodeDecodeError) as error:
            self._set("config_error", 1)
            _log.warning("event=config_refused reason=%r", str(error))

    def _configure(self, config: WireConfig) -> None:
        self._heads.configure(Matcher(config.match_paths, config.ignore_paths).is_inference)
        self.accounts.configure(config)
        self.accounts.count("config_reloads")
        self._set("config_error", 0)
        _log.info("event=config_taken objectives=%s sample=%g", config.objectives_hash or "none", config.sample)

    def _set(self, gauge: str, value: int) -> None:
        self.accounts.count(gauge, value - self.accounts.read(gauge))


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the wire, or with ``drain`` ask a running one to drain; the exit code."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="ts=%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"
    )
    try:
        settings = settings_of(env)
    except ConfigError as error:
        _log.error("event=settings_refused reason=%r", str(error))
        return 2
    if list(arguments) == ["drain"]:
        outcome = draining.request(settings.shared_dir / contract.FILE_DRAIN_SOCKET, settings.grace_s)
        _log.info("event=drain outcome=%s", outcome)
        return 0
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two descriptors a connection: the soft limit is low
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_run(settings))
    return 0


async def _run(settings: Settings) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    wire = Wire(settings)
    await wire.start()
    # What lives until the end is kept out of every collection: it only costs time on the data path.
    gc.collect()
    gc.freeze()
    await ended.wait()
    await wire.stop()


def _content(path: Path) -> bytes | None:
    """Bytes of a small file; None where it can't be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _wall_ns() -> int:
    """Wall-clock time less monotonic time."""
    return time.time_ns() - time.monotonic_ns()
