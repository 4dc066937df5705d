"""Evidently: drift report of the live frame against the reference."""

from costing import frames, least
from evidently import Report
from evidently.presets import DataDriftPreset
from stepping import main


def answer(arrays, options):
    reference, live = frames(arrays)
    return {
        "seconds": least(lambda: Report([DataDriftPreset()]).run(live, reference).dict(), options["repeats"]),
        "rows": len(live),
    }


main(answer)
