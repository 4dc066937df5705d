"""whylogs: profile of a window, and its KS statistic against the reference's profile (both are KLL sketches)."""

import pandas as pd
import whylogs as why
from stepping import main, windows
from whylogs.viz.drift.column_drift_algorithms import KS


def column(values):
    return why.log(pd.DataFrame({"x": values})).view().get_column("x")


def make(reference):
    before, test = column(reference), KS()
    return lambda window: test.calculate(target_column_view=column(window), reference_column_view=before).statistic


main(lambda arrays, options: windows(arrays, options, make))
