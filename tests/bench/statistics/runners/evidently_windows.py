"""Evidently: its default drift score of a column (Wasserstein for numbers, Jensen-Shannon for categories)."""

import pandas as pd
from evidently.legacy.calculations.stattests import jensenshannon_stat_test, wasserstein_stat_test
from evidently.legacy.core import ColumnType
from stepping import main, windows


def make_with(categorical):
    kind = ColumnType.Categorical if categorical else ColumnType.Numerical
    test = jensenshannon_stat_test if categorical else wasserstein_stat_test

    def make(reference):
        before = pd.Series(reference)
        return lambda window: test.func(before, pd.Series(window), kind, 0.1)[0]

    return make


main(lambda arrays, options: windows(arrays, options, make_with(options["categorical"])))
