"""Shared by the runners of the cost study: frames from the arrays, and the least of several timings."""

import time

import pandas as pd


def frames(arrays):
    """Reference and live frame; text columns come as fixed-width unicode arrays."""

    def frame(prefix):
        columns = {n.split(":", 1)[1]: v for n, v in arrays.items() if n.startswith(prefix + ":")}
        return pd.DataFrame({n: (v.astype(object) if v.dtype.kind == "U" else v) for n, v in columns.items()})

    return frame("reference"), frame("live")


def least(work, repeats):
    """Processor seconds of the fastest of ``repeats`` calls, after one that is not timed."""
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best
