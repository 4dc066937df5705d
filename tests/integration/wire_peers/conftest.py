"""A wire of its own for a test; the environment of the peers is made before any test's time runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import peer_venv
from tests.integration.wire.peers import Wire, finish, start_wire


def pytest_collection_finish() -> None:
    """Not in a fixture: a fresh machine needs longer for it than a test may take."""
    peer_venv.python_of("peers")


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    running = start_wire(tmp_path)
    yield running
    finish(running)
