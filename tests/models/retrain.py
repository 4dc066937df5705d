"""
The retraining job: reads why it was started, trains, prints both. ``python -m tests.models.retrain``.

OnGuard mounts the evidence and sets ``ONGUARD_*``; run by hand, without them, it trains all the same.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from tests.models.train import trained

EVIDENCE_VARIABLE = "ONGUARD_EVIDENCE"


def evidence(environment: dict[str, str]) -> Any:
    """The evidence file as JSON, or None where the job was started by hand."""
    path = environment.get(EVIDENCE_VARIABLE)
    return json.loads(Path(path).read_text()) if path else None


def main() -> None:
    reason = {key: value for key, value in sorted(os.environ.items()) if key.startswith("ONGUARD_")}
    print(json.dumps({"environment": reason, "evidence": evidence(dict(os.environ))}), flush=True)
    print(json.dumps({"trained": dataclasses.asdict(trained())}), flush=True)


if __name__ == "__main__":
    main()
