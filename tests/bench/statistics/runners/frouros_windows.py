"""Frouros: Kolmogorov-Smirnov statistic of a window against the reference."""

from frouros.detectors.data_drift import KSTest
from stepping import main, windows


def make(reference):
    detector = KSTest()
    detector.fit(X=reference)
    # Only the statistic is used; the exact p-value, which is the default, would be four times slower.
    return lambda window: detector.compare(X=window, method="asymp")[0].statistic


main(lambda arrays, options: windows(arrays, options, make))
