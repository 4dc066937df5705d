"""Run commands, say what happens and how long it takes."""

import fcntl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class CommandError(Exception):
    """A command ended with an error; the message carries the command and the end of its output."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(*command: str | Path, stdin: str | None = None, timeout: float = 600, cwd: Path | None = None) -> str:
    """Run to the end and return standard output; raise CommandError with the end of both outputs otherwise."""
    done = subprocess.run(
        [str(part) for part in command],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        check=False,
    )
    if done.returncode != 0:
        output = (done.stdout + done.stderr).strip()[-3000:]
        raise CommandError(f"{' '.join(str(part) for part in command)}: exit {done.returncode}\n{output}")
    return done.stdout


def succeeds(*command: str | Path, timeout: float = 60) -> bool:
    """Whether the command exists, ends in time and ends with 0."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print the title when the work begins and its time when it ends."""
    started = time.monotonic()
    say(f"  {title} ...")
    yield
    say(f"  {title}: {time.monotonic() - started:.1f} s")


def wait_until(what: str, is_true: Callable[[], bool], *, timeout_s: float, every_s: float = 0.1) -> None:
    """Poll until true; raise CommandError that names what did not come."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            raise CommandError(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(every_s)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a file lock; the kernel lets go of it when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"  waiting for another run that holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_if_changed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def tail(path: Path, lines: int) -> Sequence[str]:
    return path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []
