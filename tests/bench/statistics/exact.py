"""Exact limits of a rate and the ratio of a rate to what was promised."""

from scipy import stats


def clopper_pearson(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """
    Two-sided exact limits of a binomial probability.

    >>> [round(v, 4) for v in clopper_pearson(0, 60)], [round(v, 4) for v in clopper_pearson(5, 60)]
    ([0.0, 0.0596], [0.0276, 0.1839])
    """
    _check(successes, trials)
    tail = (1.0 - confidence) / 2.0
    lower = 0.0 if successes == 0 else float(stats.beta.ppf(tail, successes, trials - successes + 1))
    upper = 1.0 if successes == trials else float(stats.beta.ppf(1.0 - tail, successes + 1, trials - successes))
    return lower, upper


def upper_limit(successes: int, trials: int, *, confidence: float = 0.95) -> float:
    """
    One-sided exact upper limit of a binomial probability.

    >>> round(upper_limit(0, 59), 4), upper_limit(3, 3)
    (0.0495, 1.0)
    """
    _check(successes, trials)
    return 1.0 if successes == trials else float(stats.beta.ppf(confidence, successes + 1, trials - successes))


def _check(successes: int, trials: int) -> None:
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"expected 0 <= successes <= trials and trials > 0, got {successes} of {trials}")
