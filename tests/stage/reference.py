"""The sample model's reference, made by the program that users call."""

import subprocess
import sys
from pathlib import Path

from tests.models.train import trained, write_reference
from tests.stage.kube import ROOT, StageError


def profile(folder: Path) -> str:
    """
    Draw the reference rows, run ``onguard profile`` on them, return the profile's JSON.

    Raises:
        StageError: with the program's own words.
    """
    rows, out = folder / "reference.csv", folder / "profile.json"
    write_reference(rows, trained())
    program = Path(sys.executable).with_name("onguard")
    command = [program, "profile", str(rows), "-o", str(out), "--output-column", "prediction", "--outputs-held-out"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise StageError(f"onguard profile: {(done.stderr or done.stdout).strip()[-500:]}")
    return out.read_text()
