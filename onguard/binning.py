"""
From values to bins, atoms and exponent cells of one feature: how a reference is counted.

The sidecar counts live traffic with one search over all features at once; a contract test holds that it puts every
value into the bin that these functions give. A value is missing where it is NaN or None, unparseable where it is
infinite.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from onguard.profile import EXPONENT_LIMIT, SENTINELS, Feature, ProfileError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_ROOT_HALF: Final = math.sqrt(0.5)


def label(value: object) -> str | None:
    """
    A scalar as the name of a category, the same for a file as for JSON; None where it is no scalar.

    >>> label("Bern"), label(True), label(3.0), label(2.5), label([])
    ('Bern', 'true', '3', '2.5', None)
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case float():
            return repr(value)
        case int():
            return str(value)
        case _:
            return None


def bin_numeric(feature: Feature, values: Floats) -> Ints:
    """
    Bins of numbers, in the profile's bin order.

    Args:
        feature: an ordered feature (numeric; datetime in seconds since 1970; text by its length).
        values: float64; NaN missing, infinite unparseable.

    Returns:
        Index within the feature's block for each value.

    >>> from onguard.profile import Kind, Numeric
    >>> age = Feature(name="age", kind=Kind.NUMERIC, edges=(30.0, 50.0), counts=(0,) * 7,
    ...     numeric=Numeric(minimum=18, maximum=90, mean=40, sd=9))
    >>> bins = bin_numeric(age, np.array([18, 30, 31, 90, np.nan, np.inf, 17, 91]))
    >>> [age.bin_names[i] for i in bins]
    ['le=30', 'le=30', 'le=50', 'le=max', 'missing', 'unparseable', 'below', 'above']
    """
    if feature.numeric is None:
        raise ProfileError(f'expected an ordered feature, got {feature.kind} - at "{feature.name}"')
    missing, unparseable, below, above = range(feature.value_bins, feature.size)
    bins = np.searchsorted(np.array(feature.edges, np.float64), values, side="left").astype(np.int64)
    bins[values < feature.numeric.minimum] = below
    bins[values > feature.numeric.maximum] = above
    bins[np.isinf(values)] = unparseable
    bins[np.isnan(values)] = missing
    return bins


def bin_categories(feature: Feature, values: Sequence[str | None]) -> Ints:
    """
    Bins of category names (see :func:`label`); None is missing.

    >>> from onguard.profile import Kind
    >>> town = Feature(name="town", kind=Kind.CATEGORICAL, categories=("Bern", "Chur"), counts=(0,) * 7)
    >>> [town.bin_names[i] for i in bin_categories(town, ["Chur", None, "Thun"])]
    ['Chur', 'missing', 'other']
    """
    codes: dict[str | None, int] = {name: i for i, name in enumerate(feature.categories)}
    codes[None] = feature.value_bins
    other = len(feature.categories)
    return np.fromiter((codes.get(value, other) for value in values), np.int64, len(values))


def exponent_cells(values: Floats) -> Ints:
    """
    Cell of sign x floor(2 log2|x|) of each finite value, clamped; a change of unit shifts the histogram.

    >>> exponent_cells(np.array([-1.0, 0.0, 1.0, 1.5, 2.0])).tolist()
    [79, 160, 241, 242, 243]
    """
    fractions, powers = np.frexp(np.abs(values))
    halves = 2 * (powers.astype(np.int64) - 1) + (fractions >= _ROOT_HALF)
    cells = np.clip(halves, -EXPONENT_LIMIT, EXPONENT_LIMIT - 1) + EXPONENT_LIMIT + 1
    return (np.sign(values).astype(np.int64) * cells + 2 * EXPONENT_LIMIT).astype(np.int64)


def atom_counts(atoms: Sequence[float], values: Floats) -> tuple[int, ...]:
    """
    How many values equal each atom, then each of the sentinels.

    >>> atom_counts((7.0,), np.array([7.0, 7.0, 0.0, -999.0]))
    (2, 1, 0, 0, 1, 0)
    """
    return tuple(int(np.count_nonzero(values == atom)) for atom in (*atoms, *SENTINELS))
