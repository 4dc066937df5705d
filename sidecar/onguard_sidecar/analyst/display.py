"""Distances for dashboards: a feature's window against its reference, with what sampling alone explains. Pure."""

import math
from typing import Final, NamedTuple

from onguard.counts import Ints
from onguard.distances import distances
from onguard.profile import SPECIALS, Feature, Profile

MAX_SHOWN: Final = 64
"""Features that distances are computed of: more would not fit below the cap on series, and each costs half a ms."""


class Shown(NamedTuple):
    """One feature; None is no series."""

    feature: str
    missing: float | None
    out_of_range: float | None
    psi: float | None = None
    psi_critical: float | None = None
    ks: float | None = None
    ks_critical: float | None = None


def shown(profile: Profile, bins: Ints) -> tuple[Shown, ...]:
    """
    The first ``MAX_SHOWN`` features, those that the window has rows of.

    Args:
        profile: the reference.
        bins: rows per bin within the window, in the profile's layout.

    >>> import numpy as np
    >>> from onguard.profile import Kind
    >>> town = Feature(name="town", kind=Kind.CATEGORICAL, categories=("a", "b"), counts=(500, 500, 0, 0, 0, 0, 0))
    >>> found = shown(Profile(rows=1000, features=(town,)), np.array([60, 20, 0, 20, 0, 0, 0]))[0]
    >>> found.missing, found.out_of_range, found.psi > found.psi_critical, found.ks
    (0.2, None, True, None)
    """
    blocks = ((feature, bins[profile.layout.block(i)]) for i, feature in enumerate(profile.features[:MAX_SHOWN]))
    return tuple(_shown(feature, live) for feature, live in blocks if live.sum() > 0)


def _shown(feature: Feature, live: Ints) -> Shown:
    rows = int(live.sum())
    missing, _, below, above = live[-len(SPECIALS) :].tolist()
    found = distances(feature, live)
    psi, ks = (found.psi, found.ks) if found else (None, None)
    return Shown(
        feature.name,
        missing=missing / rows,
        out_of_range=(below + above) / rows if feature.is_ordered else None,
        psi=_finite(psi and psi.value),
        psi_critical=_finite(psi and psi.critical),
        ks=_finite(ks and ks.value),
        ks_critical=_finite(ks and ks.critical),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
