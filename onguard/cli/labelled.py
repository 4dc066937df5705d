"""How often the model is wrong in a batch: by its labels, and by its scores alone. Pure but for the rich types."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from onguard import concept, performance
from onguard.calibrating import score_of
from onguard.cause import Labels
from onguard.cli.cells import Batch
from onguard.concept import Judged
from onguard.performance import Baseline, Errors, Estimate, Interval
from onguard.profile import Profile, ProfileError

Floats = npt.NDArray[np.float64]
_NO_SCORE: Final = "no numeric output is in both the reference and the file"
_NO_LABELS: Final = (
    "the reference has no labels (onguard profile --label, 0 or 1); the error of a regression is not estimated"
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Performance:
    """
    What is known of a batch's errors.

    Attributes:
        baseline: errors of the reference.
        estimate: what scores alone let expect; None: there is no score.
        scored: (B,) rows by score bin.
        errors: rows with a label; None: the file has none, or no rows with one.
        judged: what the labels say.
        why_not: why nothing is estimated.
    """

    baseline: Baseline | None = None
    estimate: Estimate | None = None
    scored: Floats = dataclasses.field(default_factory=lambda: np.zeros(0))
    errors: Errors | None = None
    judged: Judged | None = None
    why_not: str = ""

    @property
    def labels(self) -> Labels:
        """What the cause table is told."""
        return self.judged.labels if self.judged is not None else Labels.UNKNOWN

    @property
    def is_worse(self) -> bool:
        """Whether labels show a worse error."""
        return self.labels in (Labels.WORSE, Labels.CONCEPT)


def performance_of(
    profile: Profile, batch: Batch, labels: Floats | None, *, alpha: float, tolerance: float
) -> Performance:
    """
    Estimate, and judge if there are labels.

    Args:
        profile: the reference.
        batch: rows.
        labels: (rows,) 0, 1 or NaN; None: the file has none.
        alpha: probability of calling the error worse where it is not.
        tolerance: widest rise of the error that does not matter.

    Raises:
        ProfileError: for labels where the reference has none, or where there is no score.
    """
    score, baseline = score_of(profile.features), performance.baseline_of(profile)
    has_score = score is not None and score.name not in batch.absent
    if score is None or not has_score or baseline is None:
        why_not = _NO_LABELS if has_score else _NO_SCORE
        if labels is not None:
            raise ProfileError(f"expected what labels can be compared with, but {why_not}")
        return Performance(why_not=why_not if profile.outputs else "")
    scores = batch.cells[:, profile.features.index(score)]
    known = scores[np.isfinite(scores)]
    rows = baseline.counted(known, np.zeros(known.size)).rows
    if not known.size:
        return Performance(baseline=baseline, why_not="no row of the file has a score")
    outside = float(np.mean(_is_outside(profile, known)))
    found = Performance(baseline=baseline, scored=rows, estimate=performance.estimate(baseline, rows, outside=outside))
    return found if labels is None else _judged(found, baseline, scores, labels, alpha=alpha, tolerance=tolerance)


def _is_outside(profile: Profile, scores: Floats) -> npt.NDArray[np.bool_]:
    score = score_of(profile.features)
    if score is None or score.numeric is None:
        return np.zeros(scores.size, np.bool_)
    return (scores < score.numeric.minimum) | (scores > score.numeric.maximum)


def _judged(
    found: Performance, baseline: Baseline, scores: Floats, labels: Floats, *, alpha: float, tolerance: float
) -> Performance:
    errors = baseline.counted(scores, labels)
    if not errors.total:
        return found
    judged = concept.judge(
        baseline, errors, coverage=errors.total / float(found.scored.sum()), alpha=alpha, tolerance=tolerance
    )
    return dataclasses.replace(found, errors=errors, judged=judged)


def sentences(found: Performance) -> Iterator[str]:
    """What a person should know of it."""
    if found.judged is not None:
        yield from _of_labels(found.judged)
    if found.estimate is not None:
        yield from _of_scores(found.estimate)
    elif found.why_not:
        yield f"The error is not estimated: {found.why_not}."


def _of_labels(judged: Judged) -> Iterator[str]:
    c = judged.change
    yield (
        f"Wrong by their labels: {_share(c.now)} of {c.rows:,.0f} rows, in the reference {c.before.value:.1%}. Another "
        f"mix of scores makes {_points(c.by_mix)}, other answers at equal scores {_points(c.at_equal_scores)}."
    )
    if judged.is_pending:
        yield (
            f"Labels are pending: {judged.coverage:.1%} of the rows have one, and late labels are not those of random "
            f"rows. Nothing is judged by them below {concept.COVERAGE:.0%}."
        )


def _of_scores(estimate: Estimate) -> Iterator[str]:
    yield (
        f"Wrong by their scores alone: {_share(estimate.error)} of {estimate.rows:,.0f} rows, if scores mean what they "
        f"meant (in the reference {estimate.before.value:.1%}). Whether they do, only labels tell."
    )
    if estimate.outside > 0.01:
        yield f"{estimate.outside:.1%} of the scores lie beyond the reference's: their error is a guess."


def _share(interval: Interval) -> str:
    return f"{interval.value:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def _points(interval: Interval) -> str:
    """
    A change for people.

    >>> _points(Interval(0.021, -0.001, 0.043))
    '+2.1 points (-0.1 to +4.3)'
    """
    return f"{100 * interval.value:+.1f} points ({100 * interval.low:+.1f} to {100 * interval.high:+.1f})"


def document(found: Performance) -> dict[str, Any]:
    """The same as JSON; what is not known is null."""
    estimate, judged = found.estimate, found.judged
    return {
        "threshold": found.baseline.threshold if found.baseline else None,
        "reference": round(found.baseline.errors.rate, 6) if found.baseline else None,
        "estimated": {
            "error": estimate.error._asdict(),
            "change": estimate.by_mix._asdict(),
            "rows": round(estimate.rows),
            "outside": round(estimate.outside, 6),
        }
        if estimate
        else None,
        "labelled": {
            "error": judged.change.now._asdict(),
            "byMix": judged.change.by_mix._asdict(),
            "atEqualScores": judged.change.at_equal_scores._asdict(),
            "rows": round(judged.change.rows),
            "coverage": round(judged.coverage, 6),
            "verdict": judged.labels.value,
        }
        if judged
        else None,
        "whyNot": found.why_not or None,
    }
