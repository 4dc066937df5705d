"""Start the cluster's own programs: each once, in its cgroup, with its log."""

import os
import subprocess
from pathlib import Path

import cgroups
from commands import CommandError, tail, wait_until
from network import INSIDE
from places import LOGS


def is_running(name: str) -> bool:
    return bool(cgroups.members(cgroups.tree() / "programs" / name))


def ensure(name: str, command: list[str | Path]) -> bool:
    """
    Start the program inside the namespace unless it runs; tell whether it was started.

    The shell enters the cgroup before it becomes the program, so that there is no moment at which a process of ours
    is outside. A session of its own keeps Ctrl-C in the terminal from reaching it.
    """
    if is_running(name):
        return False
    LOGS.mkdir(parents=True, exist_ok=True)
    procs = cgroups.leaf(name) / "cgroup.procs"
    script = f'echo $$ > "{procs}" && ulimit -n "$(ulimit -H -n)" && exec "$@"'
    arguments = ["sh", "-c", script, "sh", *INSIDE, *(str(part) for part in command)]
    with log(name).open("ab") as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )
    wait_until(
        f"{name} in its cgroup", lambda: is_running(name) or process.poll() is not None, timeout_s=10, every_s=0.01
    )
    return True


def log(name: str) -> Path:
    return LOGS / f"{name}.log"


def require(name: str) -> None:
    """Raise with the end of its log if the program has died."""
    if not is_running(name):
        raise CommandError(f"{name} ended; its last words:\n" + "\n".join(tail(log(name), 15)))


def _environment() -> dict[str, str]:
    """No proxies, no credentials of the caller: the cluster talks to itself only."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": os.environ.get("HOME", "/root"),
    }
