"""Shared by the runners: read what is asked, slide a window over each run's rows, write what came out."""

import json
import math
import sys
from pathlib import Path

import numpy as np


def main(answer):
    """Call ``answer(arrays, options)`` and write its result as JSON. Arguments: arrays, options, output."""
    data, asked, out = sys.argv[1:4]
    options = json.loads(Path(asked).read_text())
    with np.load(data) as arrays:
        result = answer({name: arrays[name] for name in arrays.files}, options)
    Path(out).write_text(json.dumps(result))


def windows(arrays, options, make):
    """
    Statistic of a sliding window at each step of each run.

    Args:
        arrays: ``reference`` (runs, N), ``stream`` (runs, rows).
        options: ``rows`` of a step, ``window`` in rows, ``stride`` in steps, ``first`` step to look at and
            ``threshold`` (null: none) beyond which the rest of a run is not looked at.
        make: reference -> function of a window that gives the statistic.

    Returns:
        paths by run; null where the window was not looked at.
    """
    rows, window, stride = options["rows"], options["window"], options["stride"]
    threshold = math.inf if options["threshold"] is None else options["threshold"]
    paths = []
    for reference, stream in zip(arrays["reference"], arrays["stream"], strict=True):
        statistic, steps = make(reference), len(stream) // rows
        path = [None] * steps
        for step in range(max(options["first"], window // rows - 1), steps):
            if (step + 1) % stride == 0:
                path[step] = float(statistic(stream[(step + 1) * rows - window : (step + 1) * rows]))
                if path[step] > threshold:
                    break
        paths.append(path)
    return paths
