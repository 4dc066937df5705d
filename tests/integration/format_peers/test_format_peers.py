"""Real clients, real servers, wire and analyst between them: answered as without, and every row is counted."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onguard.counts import from_wire
from tests.integration.format_peers.conftest import Guarded, guarded, served
from tests.integration.wire.peers import eventually, free_ports
from tests.unit.analyst.references import CHURN

HERE = Path(__file__).parent
EXPECTED = {"age": [0, 1, 0, 1, 0, 0, 0, 0], "city": [0, 1, 1, 0, 0, 0, 0], "score": [0, 1, 0, 1, 0, 0, 0, 0]}


def ask(peers: str, client: str, url: str) -> list[object]:
    done = subprocess.run(
        [peers, str(HERE / "clients.py"), client, url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("ANSWERED "))
    answered: list[object] = json.loads(line.removeprefix("ANSWERED "))
    return answered


def counted(running: Guarded) -> dict[str, list[int]]:
    report = running.counts()
    assert report.counts is not None
    counts = from_wire(report.counts, CHURN)
    names = [feature.name for feature in CHURN.features]
    return {name: counts.bins[CHURN.layout.block(names.index(name))].tolist() for name in EXPECTED}


@pytest.mark.parametrize("client", ["triton-binary", "kserve-v1", "kserve-v2"])
def test_a_kserve_server_and_its_clients(client: str, tmp_path: Path, peers: str) -> None:
    with guarded(tmp_path, CHURN) as running:
        port = running.wire.model_port
        command = [peers, str(HERE / "kserve_model.py"), str(port)]
        with served(command, f"http://127.0.0.1:{port}/v2/health/ready", tmp_path):
            assert ask(peers, client, running.url) == [31.0, 12.0]
            assert running.accounted(1) == {"analysed": 1}
            assert counted(running) == EXPECTED


@pytest.mark.parametrize("client", ["triton-json", "kserve-v2"])
def test_mlserver_and_its_clients(client: str, tmp_path: Path, peers: str, mlserver: str) -> None:
    model, server = tmp_path / "model", {"host": "127.0.0.1", "parallel_workers": 0, "metrics_endpoint": None}
    model.mkdir()
    shutil.copy(HERE / "mlserver_model.py", model)
    told = {"name": "churn", "implementation": "mlserver_model.Churn"}
    (model / "model-settings.json").write_text(json.dumps(told))
    with guarded(tmp_path, CHURN) as running:
        port = running.wire.model_port
        ports = {"http_port": port, "grpc_port": free_ports(1)[0]}
        (model / "settings.json").write_text(json.dumps(server | ports))
        with served([mlserver, "start", str(model)], f"http://127.0.0.1:{port}/v2/models/churn/ready", model):
            assert ask(peers, client, running.url) == [31.0, 12.0]
            assert running.accounted(1) == {"analysed": 1}
            assert counted(running) == EXPECTED


def test_the_openai_client_whole_and_streamed(tmp_path: Path, peers: str) -> None:
    with guarded(tmp_path, None) as running:
        port = running.wire.model_port
        command = [sys.executable, str(HERE / "chat_server.py"), str(port)]
        with served(command, f"http://127.0.0.1:{port}/", tmp_path):
            assert ask(peers, "openai", running.url) == ["Hello ☃", "Hello ☃", '{"upon": "a time"}']
            assert running.accounted(3) == {"analysed": 3}
            page = eventually(lambda: running.get("/metrics")).decode()
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in page.splitlines() if line[0] != "#"}
    labels = 'arm="candidate",model="churn",revision=""'
    assert values['onguard_llm_tokens_total{arm="candidate",kind="completion",model="churn",revision=""}'] == 9
    assert values[f"onguard_llm_time_to_first_token_seconds_count{{{labels}}}"] == 1
    assert 0.05 < values[f"onguard_llm_time_to_first_token_seconds_sum{{{labels}}}"] < 2
    assert 0.05 < values[f"onguard_llm_longest_gap_seconds_sum{{{labels}}}"] < 2
    assert values[f"onguard_llm_token_gap_seconds_count{{{labels}}}"] == 1
    assert "hello" not in (page + running.log.read_text()).lower()
