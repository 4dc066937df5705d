"""Wires for tests, ended whatever happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.wire.peers import Wire, finish, start_wire


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """A wire of its own for one test."""
    running = start_wire(tmp_path)
    yield running
    finish(running)


@pytest.fixture(scope="module")
def shared_wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """One wire for the tests of a module that only look at bytes."""
    running = start_wire(tmp_path_factory.mktemp("wire"))
    yield running
    finish(running)
