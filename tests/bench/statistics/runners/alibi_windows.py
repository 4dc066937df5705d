"""Alibi Detect: Cramer-von Mises (numbers) or chi-squared (categories) statistic of a window against the reference."""

from alibi_detect.cd import ChiSquareDrift, CVMDrift
from stepping import main, windows


def make_with(categorical):
    def make(reference):
        if categorical:
            detector = ChiSquareDrift(reference[:, None].astype(int), p_val=0.05)
            return lambda window: detector.predict(window[:, None].astype(int))["data"]["distance"][0]
        detector = CVMDrift(reference[:, None], p_val=0.05)
        return lambda window: detector.predict(window[:, None])["data"]["distance"][0]

    return make


main(lambda arrays, options: windows(arrays, options, make_with(options["categorical"])))
