"""
The WebSocket conformance suite (Autobahn's cases, run by kosoku), direct and through the wire: the same, case by case.

Left out for time: 9.* (large messages), 12.* and 13.* (compression); bytes of a tunnel are forwarded whatever they say.
``make fuzz`` runs all 517 cases.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import peer_venv
from tests.integration.wire.peers import Wire
from tests.integration.wire_peers.origins import HERE, served

IS_WHOLE = os.environ.get("ONGUARD_WEBSOCKET_CASES") == "all"
LEFT_OUT = () if IS_WHOLE else ("9.*", "12.*", "13.*")
LEAST = 517 if IS_WHOLE else 240
VERDICT = ("behavior", "behaviorClose", "remoteCloseCode")


def verdicts(port: int, where: Path) -> dict[str, tuple[object, ...]]:
    """Verdict of each case on the server at ``port``."""
    kosoku = peer_venv.python_of("peers").with_name("kosoku")
    options = [option for case in LEFT_OUT for option in ("-x", case)]
    command = [str(kosoku), *options, "-p", "4", "-o", str(where), f"ws://127.0.0.1:{port}"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=sys.stderr, check=False)  # fails where a case does
    (cases,) = json.loads((where / "index.json").read_text()).values()
    return {case: tuple(found[key] for key in VERDICT) for case, found in cases.items()}


@pytest.mark.parametrize("server", ["aiohttp", "tornado"])
def test_every_case_ends_as_it_does_without_the_wire(server: str, wire: Wire, tmp_path: Path) -> None:
    command = [str(peer_venv.python_of("peers")), str(HERE / "websocket_apps.py"), server, str(wire.model_port)]
    with served(command, wire.model_port, tmp_path / "server.log"):
        direct = verdicts(wire.model_port, tmp_path / "direct")
        through = verdicts(wire.port, tmp_path / "through")
        counters = wire.settled(connections_open=0)
    assert len(direct) >= LEAST
    assert {case: (direct[case], through[case]) for case in direct if direct[case] != through[case]} == {}
    # Each conversation was one request to the tee, then opaque bytes; the suite's own look at the server is one more.
    assert counters["connections_opaque"] >= len(direct)
    assert counters["framing_failures"] == 0
