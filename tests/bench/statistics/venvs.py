"""Each peer in a virtual environment of its own, pinned, outside the tree; telemetry off."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tests.bench.statistics import cache

PINS: Final = {
    "river": ("river==0.26.1",),
    "frouros": ("frouros==0.9.0",),
    "whylogs": (
        "whylogs==1.6.4",
        "numpy==1.26.4",
        "pandas==2.3.3",
        "scipy==1.17.1",
        "ipython==9.4.0",
        "pybars3==0.9.7",
        "requests==2.32.5",
    ),
    "evidently": ("evidently==0.7.23", "pandas<3"),
    "alibi": ("alibi-detect==0.13.0",),
    "nannyml": ("nannyml==0.13.1", "statsmodels==0.15.0"),
    "plots": ("matplotlib==3.10.7",),
}
"""evidently does not import with pandas 3; nannyml and whylogs do not declare all that they need."""

RUNNERS: Final = Path(__file__).parent / "runners"
_QUIET: Final = {
    "DO_NOT_TRACK": "1",
    "NML_DISABLE_USAGE_LOGGING": "1",
    "WHYLOGS_NO_ANALYTICS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "PYTHONWARNINGS": "ignore",
}


def python_of(name: str) -> Path:
    """Interpreter of the environment ``name``, made and filled on first use."""
    pins = PINS[name]
    folder = cache.root().parent / "bench-venvs" / f"{name}-{pins[0].split('==')[1]}"
    marker = folder / "installed.json"
    python = folder / "bin" / "python"
    if marker.exists() and json.loads(marker.read_text()) == list(pins):
        return python
    print(f"installing {' '.join(pins)}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    cache.run([sys.executable, "-m", "venv", str(folder)])
    cache.run([str(python), "-m", "pip", "install", "-q", *pins])
    marker.write_text(json.dumps(list(pins)))
    return python


def call(name: str, runner: str, arrays: Mapping[str, npt.NDArray[Any]], options: dict[str, Any]) -> dict[str, Any]:
    """
    Run ``runners/<runner>.py`` in the environment ``name``.

    Args:
        name: environment.
        runner: script; it gets the paths of an .npz, of a JSON with ``options`` and of the JSON that it writes.
        arrays: written to the .npz.
        options: anything JSON.
    """
    python = python_of(name)
    with tempfile.TemporaryDirectory(prefix="onguard-bench-") as folder:
        data, asked, answer = (Path(folder) / file for file in ("in.npz", "in.json", "out.json"))
        np.savez(data, allow_pickle=False, **dict(arrays))
        asked.write_text(json.dumps(options))
        # No PYTHONPATH, so that a runner sees the peer's environment and nothing of this one.
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | _QUIET | {"HOME": folder}
        command = [str(python), str(RUNNERS / f"{runner}.py"), str(data), str(asked), str(answer)]
        done = subprocess.run(command, env=env, cwd=folder, text=True, capture_output=True, check=False)
        if done.returncode:
            tail = "\n".join(done.stderr.strip().splitlines()[-8:])
            raise RuntimeError(f"{name}'s runner {runner} failed with {done.returncode}:\n{tail}")
        result: dict[str, Any] = json.loads(answer.read_text())
        return result
