"""
Other people's programs, in environments of their own: hash-pinned, outside the tree, made once.

Standard library only: a benchmark and the tests use it alike.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def cache() -> Path:
    """``ONGUARD_CACHE``, else ``XDG_CACHE_HOME``/onguard, else ~/.cache/onguard."""
    told = os.environ.get("ONGUARD_CACHE")
    return Path(told) if told else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onguard"


def python_of(name: str) -> Path:
    """Interpreter of the environment of ``requirements/<name>.txt``, made on first use; several may ask at once."""
    wanted = ROOT / "requirements" / f"{name}.txt"
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]
    folder = cache() / "peers" / f"{name}-{sys.version_info.major}.{sys.version_info.minor}-{digest}"
    python, marker = folder / "bin" / "python", folder / "installed"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.exists():
            print(f"installing {wanted.relative_to(ROOT)} into {folder}", file=sys.stderr, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            pip = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]
            subprocess.run([*pip, "--requirement", str(wanted)], check=True)
            marker.touch()
    return python


def files_of(name: str) -> Path:
    """Where the packages of that environment lie."""
    return next(python_of(name).parents[1].glob("lib/python*/site-packages"))
