"""Resource use from a /proc that the test made."""

from pathlib import Path

import pytest

from onguard_sidecar import resources
from onguard_sidecar.analyst.usage import Usage

PAGE = 4096


def process(
    root: Path,
    pid: int,
    command: str,
    cgroup: str,
    *,
    ticks: tuple[int, int, int, int] = (100, 50, 0, 0),
    pss_kb: int | None = 2048,
    fds: int | None = 3,
) -> None:
    entry = root / str(pid)
    entry.mkdir(parents=True)
    (entry / "cmdline").write_bytes(command.encode().replace(b" ", b"\0"))
    (entry / "comm").write_text(command.split(" ", maxsplit=1)[0][:15] + "\n")
    (entry / "cgroup").write_text(f"0::{cgroup}\n")
    # A command may hold blanks and brackets.
    before = f"{pid} (a ) b) S 1 1 1 0 -1 4194560 1 1 1 1"
    (entry / "stat").write_text(f"{before} {' '.join(map(str, ticks))} 20 0 4 0 100 1000000 500 18446744073709551615\n")
    (entry / "statm").write_text("2000 1000 100 1 0 300 0\n")
    if pss_kb is not None:
        (entry / "smaps_rollup").write_text(f"00-ff ---p 0 0 [rollup]\nRss: 4096 kB\nPss: {pss_kb} kB\n")
    if fds is not None:
        (entry / "fd").mkdir()
        for number in range(fds):
            (entry / "fd" / str(number)).touch()


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    process(tmp_path, 1, "/pause", "/../pause")
    process(tmp_path, 10, "python -m onguard_sidecar.wire", "/../wire")
    process(tmp_path, 11, "python -m onguard_sidecar.analyst", "/")
    process(tmp_path, 12, "sh -c sleep", "/")
    process(tmp_path, 20, "python serve.py", "/../model")
    process(tmp_path, 21, "worker", "/../model", ticks=(10, 10, 5, 5))
    (tmp_path / "self").mkdir()
    return tmp_path


def test_the_models_processes_are_those_of_no_container_of_ours(pod: Path) -> None:
    assert {p.pid for p in resources.of_model(resources.processes(pod))} == {20, 21}


def test_use_is_summed_over_processes(pod: Path) -> None:
    use = resources.usage(resources.of_model(resources.processes(pod)), pod)
    assert use == resources.Usage(180 / resources._TICKS, 2 * 2048 * 1024, 8, 6)


def test_without_permission_resident_memory_stands_in_and_descriptors_are_unknown(tmp_path: Path) -> None:
    process(tmp_path, 5, "serve", "/../m", pss_kb=None, fds=1)
    process(tmp_path, 6, "serve", "/../m", pss_kb=None, fds=None)
    found = [p for p in resources.processes(tmp_path) if p.pid == 5]
    use = resources.usage(found, tmp_path)
    assert use is not None
    assert use.memory_bytes == 1000 * resources._PAGE


def test_a_process_that_ends_meanwhile_is_left_out(pod: Path) -> None:
    gone = resources.Process(99, b"gone", b"0::/../model")
    assert resources.usage([gone], pod) is None
    assert resources.usage([gone, *resources.of_model(resources.processes(pod))], pod) is not None


def test_where_all_cgroups_look_alike_programs_are_told_by_their_command(tmp_path: Path) -> None:
    for pid, command in ((1, "/pause"), (2, "python -m onguard_sidecar.wire"), (3, "python serve.py")):
        process(tmp_path, pid, command, "/")
    assert [p.pid for p in resources.of_model(resources.processes(tmp_path))] == [3]


def test_without_a_shared_namespace_only_our_own_use_is_known(pod: Path) -> None:
    use = Usage(shared=False, clock=lambda: 0.0, root=pod).read()
    assert use.model is None
    assert set(use.own) == {"onguard-wire", "onguard-analyst"}


def test_use_is_looked_up_at_most_every_few_seconds(pod: Path) -> None:
    now = 0.0
    usage = Usage(shared=True, clock=lambda: now, root=pod)
    first = usage.read()
    assert first.model is not None
    assert (first.model.source, first.model.threads) == ("ProcessNamespace", 8)
    process(pod, 22, "worker", "/../model")
    assert usage.read() is first
    now = 10.0
    later = usage.read()
    assert later.model is not None
    assert later.model.threads == 12


def test_this_process_can_be_read() -> None:
    here = [p for p in resources.processes() if p.pid == __import__("os").getpid()]
    use = resources.usage(here)
    assert use is not None
    assert use.memory_bytes > 1 << 20
    assert use.open_fds
