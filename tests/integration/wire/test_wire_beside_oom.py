"""
The kernel kills an analyst that runs out of memory, for real; the wire, in a group of its own, does not notice.

In a pod the two are containers, and so memory cgroups of their own. Here the analyst's keeper gets a cgroup, of
version 1 or 2, whichever the machine has.
"""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from onguard import contract
from onguard.sidecar_config import SidecarConfig
from tests.integration.wire.peers import Load, Model, Wire, account, echo_model, eventually, free_ports

MIB: Final = 1 << 20
TOO_LITTLE: Final = 36 * MIB
"""Enough for the keeper, too little for an analyst, which needs more before it reads its first request."""
ENOUGH: Final = 512 * MIB
V1: Final = Path("/sys/fs/cgroup/memory")
V2: Final = Path("/sys/fs/cgroup")


class Group:
    """A memory cgroup."""

    def __init__(self, name: str) -> None:
        self.is_v1 = (V1 / "memory.limit_in_bytes").exists()
        self.folder = (V1 if self.is_v1 else V2) / name
        try:
            if not self.is_v1:
                (V2 / "cgroup.subtree_control").write_text("+memory")
            self.folder.mkdir()
        except OSError as error:
            pytest.fail(f"this test makes a memory cgroup, for which it must be root: {error}")

    def limit(self, size: int) -> None:
        """At most so many bytes."""
        (self.folder / ("memory.limit_in_bytes" if self.is_v1 else "memory.max")).write_text(str(size))

    def kills(self) -> int:
        """Processes that the kernel has killed for want of memory."""
        text = (self.folder / ("memory.oom_control" if self.is_v1 else "memory.events")).read_text()
        found = re.search(r"oom_kill (\d+)", text)
        assert found is not None, text
        return int(found.group(1))


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    made = Group(f"onguard-test-{tmp_path.name}")
    yield made
    eventually(lambda: not (made.folder / "cgroup.procs").read_text().strip())
    made.folder.rmdir()


@contextlib.contextmanager
def kept_analyst(wire: Wire, group: Group, log: Path) -> Iterator[None]:
    """The analyst's container: its keeper, in the group from its first instruction on."""
    (admin_port,) = free_ports(1)
    (wire.config / contract.KEY_SIDECAR_JSON).write_bytes(msgspec.json.encode(SidecarConfig(model="m")))
    env = {
        **wire.env,
        contract.ENV_ADMIN_PORT: str(admin_port),
        contract.ENV_PROFILE_PATH: str(wire.config / "none.json"),
        contract.ENV_MODEL: "m",
    }
    enter = f'echo $$ > {group.folder}/cgroup.procs; exec "$@"'
    command = ["sh", "-c", enter, "sh", sys.executable, "-m", "onguard_sidecar.analyst"]
    with log.open("wb") as output:
        keeper = subprocess.Popen(command, env=env, stdout=output, stderr=output)
    try:
        yield
        assert keeper.poll() is None, "the keeper outlives every analyst"
    finally:
        keeper.kill()  # its analyst dies with it
        keeper.wait()


def test_an_analyst_that_the_kernel_kills_costs_copies_and_no_request(wire: Wire, group: Group, tmp_path: Path) -> None:
    group.limit(TOO_LITTLE)
    with Model(wire.model_port, echo_model()), kept_analyst(wire, group, tmp_path / "analyst.log"):
        with Load(wire, clients=4, pause_s=0.01) as load:
            eventually(lambda: group.kills() >= 2)
            group.limit(ENOUGH)
            counted = ("analysed", "undecodable_bad_json", "undecodable_bad_shape", "undecodable_no_decoder")
            eventually(lambda: sum(wire.snapshot().counters[name] for name in counted) > 100)
        assert load.failed == []
        counters = wire.settled(requests=load.answered, in_flight=0, outbox=0)
    assert account(counters) == counters["status_2xx"] == load.answered
    assert counters["dropped_no_analyst"] > 0
    assert wire.process.poll() is None
