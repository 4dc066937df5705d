"""Debian's Prometheus and Alertmanager as processes on loopback: the real programs, for one test session."""

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

SCRAPE_S: Final = 5
START_S: Final = 20.0


class ServerError(RuntimeError):
    """A server is missing, does not come up, or answers with an error."""


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def prometheus_config(targets: Path, rules: Sequence[Path], alertmanagers: Sequence[int]) -> Mapping[str, Any]:
    """
    What the README tells people without the Prometheus operator to write.

    ``honor_labels``: the operator's series say ``namespace`` and ``model`` of the model they are about.
    """
    peers = [{"targets": [f"127.0.0.1:{port}" for port in alertmanagers]}]
    return {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
        "rule_files": [str(path) for path in rules],
        "alerting": {"alertmanagers": [{"static_configs": peers}]},
        "scrape_configs": [
            {"job_name": "onguard", "honor_labels": True, "file_sd_configs": [{"files": [str(targets)]}]},
        ],
    }


def alertmanager_config(url: str, *, token_file: Path) -> Mapping[str, Any]:
    """One route to OnGuard's gate, impatient so that a test sees repeated deliveries."""
    bearer = {"type": "Bearer", "credentials_file": str(token_file)}
    webhook = {"url": url, "send_resolved": True, "http_config": {"authorization": bearer}}
    return {
        "route": {
            "receiver": "onguard",
            "group_by": ["alertname", "namespace", "model"],
            "group_wait": "1s",
            "group_interval": "5s",
            "repeat_interval": "10s",
        },
        "receivers": [{"name": "onguard", "webhook_configs": [webhook]}],
    }


@contextmanager
def prometheus(folder: Path, config: Mapping[str, Any]) -> Iterator["Prometheus"]:
    """Run a Prometheus server until the block ends."""
    port, file = free_port(), folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-lifecycle",
        # An alert that fires before Alertmanager is discovered would otherwise be sent a minute later.
        "--rules.alert.resend-delay=5s",
    ]
    with _running("prometheus", command, folder, f"http://127.0.0.1:{port}/-/ready"):
        yield Prometheus(f"http://127.0.0.1:{port}")


@contextmanager
def alertmanager(folder: Path, config: Mapping[str, Any], name: str) -> Iterator[int]:
    """Run an Alertmanager without peers until the block ends; yields its port."""
    port, file = free_port(), folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [
        f"--config.file={file}",
        f"--storage.path={folder / name}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with _running("prometheus-alertmanager", command, folder, f"http://127.0.0.1:{port}/-/ready", log=name):
        yield port


class Prometheus:
    """Queries of one server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def range(self, query: str, *, since: float, step_s: int = SCRAPE_S) -> list[Any]:
        """Series of a range query from ``since`` (Unix time) to now."""
        asked = {"query": query, "start": since, "end": time.time(), "step": step_s}
        result: list[Any] = self._get("/api/v1/query_range", asked)["result"]
        return result

    def alerts(self, namespace: str) -> list[Any]:
        """Alerts about this namespace that are pending or firing; the operator tells of all namespaces."""
        found = self._get("/api/v1/alerts", {})["alerts"]
        return [alert for alert in found if alert["labels"].get("namespace") == namespace]

    def unhealthy_targets(self) -> list[str]:
        """Scrape errors of targets that are down."""
        targets = self._get("/api/v1/targets", {"state": "active"})["activeTargets"]
        return [f"{t['scrapeUrl']}: {t['lastError']}" for t in targets if t["health"] == "down"]

    def _get(self, path: str, query: Mapping[str, Any]) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=15) as response:
            answer = json.load(response)
        if answer["status"] != "success":
            raise ServerError(answer.get("error", "unknown error"))
        return answer["data"]


def reload(server: Prometheus) -> None:
    """Let it read its rules anew."""
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}/-/reload", method="POST"), timeout=10):
        pass


@contextmanager
def _running(program: str, arguments: Sequence[str], folder: Path, ready: str, *, log: str = "") -> Iterator[None]:
    path = shutil.which(program)
    if path is None:
        raise ServerError(f"{program} is missing: apt-get install --no-install-recommends {program}")
    with (folder / f"{log or program}.log").open("wb") as output:
        process = subprocess.Popen([path, *arguments], stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    try:
        _wait_ready(process, ready, program, folder)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(process: "subprocess.Popen[bytes]", url: str, program: str, folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"{program} ended with {process.returncode}, see its log in {folder}")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise ServerError(f"{program} is not ready after {START_S:.0f} s, see its log in {folder}")
