"""The programs of the benchmark: the model, the proxies, OnGuard's two processes; each pinned to a core."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from onguard import contract, sidecar_config
from onguard.profile import Feature, Group, Kind, Numeric, Profile, encode_profile
from onguard.sidecar_config import SidecarConfig
from tests import peer_venv
from tests.integration.wire.peers import eventually

HERE = Path(__file__).parent
FEATURES = 16
NGINX = """
daemon off; master_process off; pid {here}/{name}.pid; error_log {here}/{name}.err crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 64m; client_body_buffer_size 4m;
  client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3;
  uwsgi_temp_path {here}/t4; scgi_temp_path {here}/t5;
  {body}
}}
"""
MODEL = "server {{ listen 127.0.0.1:{model}; location / {{ return 200 '{{\"predictions\":[0.5]}}'; }} }}"
PROXY = """
upstream model {{ server 127.0.0.1:{model}; keepalive 64; keepalive_requests 1000000000; }}
server {{ listen 127.0.0.1:{proxy}; location / {{
  proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
"""


class Proxy(NamedTuple):
    """Something between client and model."""

    port: int
    pids: tuple[int, ...]
    shared: Path | None = None
    """Where its ledger is."""


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [peer.getsockname()[1] for peer in taken]
    for peer in taken:
        peer.close()
    return ports


@contextlib.contextmanager
def process(command: list[str], core: int, env: dict[str, str] | None = None, port: int = 0) -> Iterator[int]:
    """A pinned process, listening on ``port`` before the block begins; ended after it."""
    pinned = ["taskset", "-c", str(core), *command]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    running = subprocess.Popen(pinned, env=clean | (env or {}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if port:
            eventually(lambda: running.poll() is not None or _listens(port))
        if running.poll() is not None:
            raise SystemExit(f"ended at its start: {' '.join(command)}")
        yield running.pid
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(5)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _nginx(here: Path, name: str, body: str, *, core: int, port: int) -> Iterator[int]:
    conf = here / f"{name}.conf"
    conf.write_text(NGINX.format(here=here, name=name, body=body))
    with process(["nginx", "-e", str(here / f"{name}.err"), "-c", str(conf)], core, port=port) as pid:
        yield pid


@contextlib.contextmanager
def model(here: Path, port: int, core: int) -> Iterator[int]:
    """Answers every request at once with one prediction."""
    with _nginx(here, "model", MODEL.format(model=port), core=core, port=port) as pid:
        yield pid


@contextlib.contextmanager
def streaming_model(port: int, core: int) -> Iterator[int]:
    """Answers every request with server-sent events."""
    with process([sys.executable, str(HERE / "streaming_model.py"), str(port)], core, port=port) as pid:
        yield pid


@contextlib.contextmanager
def nginx(here: Path, model_port: int, core: int) -> Iterator[Proxy]:
    """nginx as a plain proxy with keep-alive to the model."""
    (port,) = free_ports(1)
    body = PROXY.format(model=model_port, proxy=port)
    with _nginx(here, f"proxy-{port}", body, core=core, port=port) as pid:
        yield Proxy(port, (pid,))


@contextlib.contextmanager
def envoy(here: Path, model_port: int, core: int) -> Iterator[Proxy]:
    """Envoy with the router and no other filter."""
    (port,) = free_ports(1)
    conf = here / f"envoy-{port}.json"
    conf.write_text(json.dumps(_envoy_config(port, model_port)))
    program = peer_venv.files_of("bench") / "envoy/_bin/envoy"
    command = [str(program), "-c", str(conf), "--concurrency", "1", "--disable-hot-restart", "-l", "off"]
    with process(command, core, port=port) as pid:
        yield Proxy(port, (pid,))


def _envoy_config(port: int, model_port: int) -> dict[str, object]:
    kind = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "model", "timeout": "0s"}}
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "model",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [router],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    endpoint = {"endpoint": {"address": _address(model_port)}}
    cluster = {
        "name": "model",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "model", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listener = {"name": "all", "address": _address(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextlib.contextmanager
def aiohttp_proxy(here: Path, model_port: int, core: int) -> Iterator[Proxy]:
    """A proxy as one writes it with aiohttp."""
    (port,) = free_ports(1)
    command = [sys.executable, str(HERE / "aiohttp_proxy.py"), str(port), str(model_port)]
    with process(command, core, port=port) as pid:
        yield Proxy(port, (pid,))


@contextlib.contextmanager
def wire(here: Path, model_port: int, core: int) -> Iterator[Proxy]:
    """The wire alone: framing, account, epochs."""
    with _wire(here, model_port, core, sample=0.0) as running:
        yield running


@contextlib.contextmanager
def tee(here: Path, model_port: int, core: int) -> Iterator[Proxy]:
    """Wire and analyst: every exchange handed over, decoded and counted in 16 features."""
    with _wire(here, model_port, core, sample=1.0) as running:
        shared = running.shared
        assert shared is not None
        (port,) = free_ports(1)
        env = _environment(shared) | {contract.ENV_ADMIN_PORT: str(port)}
        command = [sys.executable, "-m", "onguard_sidecar.analyst", "serve"]
        with process(command, core, env, port) as pid:
            eventually((shared / contract.FILE_HANDOVER_SOCKET).exists)
            yield running._replace(pids=(*running.pids, pid))


@contextlib.contextmanager
def _wire(here: Path, model_port: int, core: int, *, sample: float) -> Iterator[Proxy]:
    port, health = free_ports(2)
    shared = here / f"shared-{port}"
    shared.mkdir()
    told = SidecarConfig(model="churn", latency_bounds_s=(0.25,), sample=sample)
    for name, text in sidecar_config.render(told).items():
        (shared / name).write_text(text)
    (shared / "profile.json").write_bytes(encode_profile(reference()))
    env = _environment(shared) | {
        contract.ENV_UPSTREAM_PORT: str(model_port),
        contract.ENV_WIRE_PORT: str(port),
        contract.ENV_HEALTH_PORT: str(health),
    }
    with process([sys.executable, "-m", "onguard_sidecar.wire"], core, env, port) as pid:
        yield Proxy(port, (pid,), shared)


def _environment(shared: Path) -> dict[str, str]:
    return {
        contract.ENV_MODEL: "churn",
        contract.ENV_REVISION: "1",
        contract.ENV_POD_IP: "127.0.0.1",
        contract.ENV_LISTEN_HOST: "127.0.0.1",
        contract.ENV_SHARED_DIR: str(shared),
        contract.ENV_CONFIG_DIR: str(shared),
        contract.ENV_PROFILE_PATH: str(shared / "profile.json"),
    }


def reference() -> Profile:
    """Sixteen numeric features and one output, each in 20 bins."""
    names = [f"f{number}" for number in range(FEATURES)]
    features = [_numeric(name, Group.INPUT, 10.0) for name in names] + [_numeric("score", Group.OUTPUT, 1.0)]
    return Profile(rows=10_000, features=tuple(features), moments=None)


def _numeric(name: str, group: Group, top: float) -> Feature:
    edges = tuple(top * step / 20 for step in range(1, 20))
    spread = Numeric(minimum=0.0, maximum=top, mean=top / 2, sd=top / 4)
    return Feature(
        name=name, kind=Kind.NUMERIC, group=group, edges=edges, counts=(500,) * 20 + (0,) * 4, numeric=spread
    )
