"""Where the benchmark keeps what it fetches: outside the tree, by version, nothing of it vendored."""

import os
import subprocess
import sys
from pathlib import Path


class FetchError(RuntimeError):
    """A registry refused or a command failed; the text says which command, so that a person can try it."""


def root(env: dict[str, str] | None = None) -> Path:
    """
    Cache folder: ``ONGUARD_CACHE``, else ``XDG_CACHE_HOME``/onguard, else ~/.cache/onguard.

    >>> root({"ONGUARD_CACHE": "/tmp/c"}).as_posix(), root({"XDG_CACHE_HOME": "/x", "HOME": "/h"}).as_posix()
    ('/tmp/c/bench-data', '/x/onguard/bench-data')
    """
    env = dict(os.environ) if env is None else env
    home = Path(env.get("HOME", "~")).expanduser()
    base = env.get("ONGUARD_CACHE") or str(Path(env.get("XDG_CACHE_HOME") or home / ".cache") / "onguard")
    return Path(base) / "bench-data"


def run(command: list[str], *, env: dict[str, str] | None = None, quiet: bool = True) -> None:
    """
    Run a command to its end.

    Raises:
        FetchError: with the command and the last lines that it wrote.
    """
    done = subprocess.run(command, env=env, text=True, capture_output=quiet, check=False)
    if done.returncode:
        tail = "\n".join(((done.stdout or "") + (done.stderr or "")).strip().splitlines()[-5:])
        raise FetchError(f"this command failed with {done.returncode}: {' '.join(command)}\n{tail}")


def pip_download(requirement: str, *options: str) -> Path:
    """
    Fetch one distribution by pip's own configuration of indexes, once.

    Returns:
        the file, in the cache.
    """
    folder = root() / "downloads" / requirement.replace("==", "-")
    if not (files := sorted(folder.glob("*.*"))):
        print(f"fetching {requirement}", file=sys.stderr, flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), *options, requirement])
        files = sorted(folder.glob("*.*"))
    return files[0]
