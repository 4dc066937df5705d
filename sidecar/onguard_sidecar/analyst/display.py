"""Distances for dashboards: a feature's window against its reference, with what sampling alone explains. Pure."""

from typing import NamedTuple

from onguard.counts import Ints
from onguard.profile import SPECIALS, Feature, Profile


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
    Every feature that the window has rows of.

    Args:
        profile: the reference.
        bins: rows per bin within the window, in the profile's layout.
    """
    blocks = ((feature, bins[profile.layout.block(i)]) for i, feature in enumerate(profile.features))
    return tuple(_shown(feature, live, profile) for feature, live in blocks if live.sum() > 0)


def _shown(feature: Feature, live: Ints, profile: Profile) -> Shown:
    rows = int(live.sum())
    missing, _, below, above = live[-len(SPECIALS) :].tolist()
    return Shown(feature.name, missing / rows, (below + above) / rows if feature.is_ordered else None)
