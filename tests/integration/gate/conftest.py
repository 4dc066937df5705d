import pytest

from tests.integration.gate import rig


@pytest.fixture
async def gate(tmp_path):
    """A gate that is ready, with a fake API server behind it."""
    async with rig.running(tmp_path) as found:
        yield found
