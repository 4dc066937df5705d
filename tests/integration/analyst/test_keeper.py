"""The analyst may die as often as it likes: its container does not, so that the pod stays Ready."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from onguard_sidecar.analyst import keeper

KEEP = """
import sys
from pathlib import Path
from onguard_sidecar.analyst import keeper
sys.exit(keeper.keep([sys.executable, "-c", sys.argv[1]], memory_root=Path(sys.argv[2])))
"""
CRASHES = "import os, sys; print(os.getpid(), flush=True); sys.exit(3)"
SLEEPS = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
FINISHES = """
import os, signal, sys, time
def last(*_):
    time.sleep(0.3); print("finished", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, last); print(os.getpid(), flush=True); time.sleep(60)
"""

GREEDY = """
try:
    taken = bytearray(200 << 20)
    print("took it", flush=True)
except MemoryError:
    print("refused", flush=True)
"""


@contextlib.contextmanager
def kept(program, root):
    process = subprocess.Popen([sys.executable, "-c", KEEP, program, str(root)], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_crashed_analyst_is_started_again_in_the_same_container(tmp_path):
    with kept(CRASHES, tmp_path) as process:
        pids = {int(process.stdout.readline()) for _ in range(2)}
        assert len(pids) == 2
        assert process.poll() is None


def test_a_killed_analyst_is_started_again(tmp_path):
    with kept(SLEEPS, tmp_path) as process:
        first = int(process.stdout.readline())
        os.kill(first, signal.SIGKILL)
        assert int(process.stdout.readline()) != first
        process.terminate()
        assert process.wait(5) == 0


def test_the_analyst_finishes_before_the_container_ends(tmp_path):
    with kept(FINISHES, tmp_path) as process:
        process.stdout.readline()
        process.terminate()
        assert process.stdout.readline() == "finished\n"
        assert process.wait(5) == 0


def test_a_stop_during_the_pause_is_heard_at_once(tmp_path):
    with kept(CRASHES, tmp_path) as process:
        process.stdout.readline()
        process.stdout.readline()  # the next pause is two seconds
        time.sleep(0.3)
        process.terminate()
        began = time.monotonic()
        assert process.wait(5) == 0
        assert time.monotonic() - began < 1


def test_too_much_memory_is_an_error_in_the_analyst_not_the_end_of_the_container(tmp_path):
    (tmp_path / "memory.max").write_text(f"{128 << 20}\n")
    with kept(GREEDY, tmp_path) as process:
        assert process.stdout.readline() == "refused\n"
        assert process.poll() is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "402653184\n"}, 402653184),
        ({"memory.max": "max\n"}, None),
        ({"memory/memory.limit_in_bytes": "134217728\n"}, 134217728),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({}, None),
    ],
)
def test_the_limit_is_read_from_either_version_of_cgroups(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert keeper.memory_limit(tmp_path) == expected


def test_the_keeper_is_light():
    modules = (
        "import sys; import onguard_sidecar.analyst.keeper; print('numpy' in sys.modules, 'asyncio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", modules], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
