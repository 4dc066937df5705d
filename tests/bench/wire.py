"""
CPU per request of the wire against nginx as a proxy, in one run: ``python tests/bench/wire.py [rounds] [seconds]``.

The wire is measured alone (framing, account, epochs; ``sample: 0``) and with every exchange handed over. A model that
answers at once (nginx, ``return 200``), wrk with 32 keep-alive connections, proxies pinned to the first core and
everything else to the last. Rounds alternate between the candidates and the smallest CPU time a request of each is
kept: on a shared machine noise only adds. Needs nginx and wrk (Debian: ``nginx-light``, ``wrk``).
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from onguard import contract, sidecar_config
from onguard.sidecar_config import SidecarConfig
from onguard_sidecar.ledger import Ledger

LUA = """
wrk.method = "POST"
wrk.body = '{"instances":[[5.1,3.5,1.4,0.2,5.1,3.5,1.4,0.2,5.1,3.5,1.4,0.2,5.1,3.5,1.4,0.2]]}'
wrk.headers["Content-Type"] = "application/json"
"""
NGINX = """
daemon off; master_process off; pid {here}/{name}.pid; error_log {here}/{name}.err crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3;
  uwsgi_temp_path {here}/t4; scgi_temp_path {here}/t5;
  {body}
}}
"""
MODEL = "server {{ listen 127.0.0.1:{model}; location / {{ return 200 '{{\"predictions\":[1.0]}}'; }} }}"
PROXY = """
upstream model {{ server 127.0.0.1:{model}; keepalive 64; keepalive_requests 1000000000; }}
server {{ listen 127.0.0.1:{proxy}; location / {{
  proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
"""
PATH = "/v1/models/churn:predict"
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")


class Round(NamedTuple):
    """One run of wrk against one candidate."""

    requests: int
    cpu_us: float
    p50_us: float
    p99_us: float


def main(rounds: int = 5, seconds: int = 4) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        here, ports = Path(name), _free_ports(6)
        (here / "post.lua").write_text(LUA)
        first, last = 0, (os.cpu_count() or 1) - 1
        stack.enter_context(_nginx(here, "model", MODEL.format(model=ports[0]), last))
        nginx = stack.enter_context(_nginx(here, "proxy", PROXY.format(model=ports[0], proxy=ports[1]), first))
        stack.enter_context(_receiver(here))
        wire = stack.enter_context(_wire(here, ports[:1] + ports[2:4], first, sample=1.0))
        alone = stack.enter_context(_wire(here / "alone", ports[:1] + ports[4:6], first, sample=0.0))
        time.sleep(2)
        candidates = {"direct": (0, ports[0]), "nginx": (nginx, ports[1])}
        candidates |= {"wire": (alone, ports[4]), "wire with hand-over": (wire, ports[2])}
        kept: dict[str, list[Round]] = {key: [] for key in candidates}
        for _ in range(rounds):
            for key, (pid, port) in candidates.items():
                kept[key].append(_measure(here, pid, port, seconds, core=last))
        _report(kept, Ledger.open_reader(here / contract.FILE_LEDGER).snapshot().counters, _resident_mib(wire))


def _report(kept: dict[str, list[Round]], counters: dict[str, int], resident_mib: float) -> None:
    best = {key: min(r.cpu_us / r.requests for r in rounds) for key, rounds in kept.items()}
    p50 = {key: min(r.p50_us for r in rounds) for key, rounds in kept.items()}
    p99 = {key: min(r.p99_us for r in rounds) for key, rounds in kept.items()}
    for key in kept:
        print(f"{key}: {best[key]:.2f} us CPU a request, p50 {p50[key]:.0f} us, p99 {p99[key]:.0f} us")
    dropped = {key: n for key, n in counters.items() if key.startswith("dropped_") and n}
    print(f"handed over {counters['handed_over']} of {counters['requests']} requests, dropped {dropped}")
    print(f"wire_rss_mib={resident_mib:.1f}")
    print(f"wire_cpu_vs_nginx={best['wire'] / best['nginx']:.3f}")
    print(f"wire_with_handover_cpu_vs_nginx={best['wire with hand-over'] / best['nginx']:.3f}")


def _measure(here: Path, pid: int, port: int, seconds: int, *, core: int) -> Round:
    before = _cpu_us(pid)
    command = ["taskset", "-c", str(core), "wrk", "-t1", "-c32", f"-d{seconds}", "--latency"]
    command += ["-s", str(here / "post.lua"), f"http://127.0.0.1:{port}{PATH}"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cpu_us = _cpu_us(pid) - before
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"requests failed:\n{out}")
    found = re.search(r"(\d+) requests in", out)
    requests = int(found[1]) if found else 0
    return Round(requests, cpu_us, _quantile_us(out, "50%"), _quantile_us(out, "99%"))


def _quantile_us(out: str, name: str) -> float:
    found = re.search(rf"{name}\s+([\d.]+)(us|ms|s)", out)
    return float(found[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[found[2]] if found else float("nan")


def _cpu_us(pid: int) -> float:
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_US


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


@contextlib.contextmanager
def _nginx(here: Path, name: str, body: str, core: int) -> Iterator[int]:
    conf = here / f"{name}.conf"
    conf.write_text(NGINX.format(here=here, name=name, body=body))
    with _process(["taskset", "-c", str(core), "nginx", "-c", str(conf)], dict(os.environ)) as pid:
        yield pid


@contextlib.contextmanager
def _wire(here: Path, ports: list[int], core: int, *, sample: float) -> Iterator[int]:
    """A wire on ports (model, data, health)."""
    here.mkdir(exist_ok=True)
    told = SidecarConfig(model="churn", latency_bounds_s=(0.25,), sample=sample)
    (here / contract.KEY_WIRE_CONF).write_text(sidecar_config.render(told)[contract.KEY_WIRE_CONF])
    env = {
        **os.environ,
        contract.ENV_UPSTREAM_PORT: str(ports[0]),
        contract.ENV_POD_IP: "127.0.0.1",
        contract.ENV_LISTEN_HOST: "127.0.0.1",
        contract.ENV_WIRE_PORT: str(ports[1]),
        contract.ENV_HEALTH_PORT: str(ports[2]),
        contract.ENV_SHARED_DIR: str(here),
        contract.ENV_CONFIG_DIR: str(here),
    }
    with _process(["taskset", "-c", str(core), sys.executable, "-m", "onguard_sidecar.wire"], env) as pid:
        yield pid


@contextlib.contextmanager
def _process(command: list[str], env: dict[str, str]) -> Iterator[int]:
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@contextlib.contextmanager
def _receiver(here: Path) -> Iterator[None]:
    """Takes what is handed over and does nothing with it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(here / contract.FILE_HANDOVER_SOCKET))
    listener.listen()

    def take() -> None:
        peer, _ = listener.accept()
        with peer:
            while peer.recv(65536):
                pass

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    yield
    listener.close()


def _free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [peer.getsockname()[1] for peer in taken]
    for peer in taken:
        peer.close()
    return ports


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
