"""
Profile: what the reference looked like, in bins, counts and moments. No raw row is in it.

The bins of a feature lie in one block of a flat vector, in this order:

* numeric and datetime: ``len(edges) + 1`` quantile bins, bin i holds ``edges[i-1] < x <= edges[i]`` inside
  ``[minimum, maximum]``;
* categorical and boolean: one bin a category, then ``other``;
* always last: ``missing``, ``unparseable``, ``below`` (x < minimum), ``above`` (x > maximum).

:class:`Layout` gives the offsets. Counts of live traffic (``onguard.counts``) are vectors of the same layout, so
that every distance and e-value is a function of two vectors.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from typing import Final

import msgspec

SCHEMA: Final = "onguard.dev/profile"
FORMAT: Final = 1
SPECIALS: Final = ("missing", "unparseable", "below", "above")
SENTINELS: Final = (0.0, -1.0, 999.0, -999.0, 9999.0)
EXPONENT_LIMIT: Final = 80
"""Exponent cells per sign: floor(2 log2|x|) is clamped to [-80, 79], that is |x| from 2^-40 to 2^40."""
EXPONENT_CELLS: Final = 4 * EXPONENT_LIMIT + 1
"""Negative exponents, zero, positive exponents."""
MAX_ATOMS: Final = 8
MAX_MOMENTS: Final = 32
CLIP_SD: Final = 8.0
"""Standardised values are clipped to [-8, 8] before they enter a sum."""


class ProfileError(ValueError):
    """The profile can't be used; the text says what was expected, what came and where."""


class Kind(StrEnum):
    """How a value is binned."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    TEXT = "text"


class Role(StrEnum):
    """What a feature means, which decides the events that are judged (statistics A.21 in the docs)."""

    FEATURE = "feature"
    ID = "id"
    TIME = "time"
    VECTOR = "vector"
    TEXT = "text"
    IMAGE = "image"
    LLM = "llm"


class Group(StrEnum):
    """Inputs judge drift and data quality; outputs only what the model does with them."""

    INPUT = "input"
    OUTPUT = "output"


class Numeric(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a numeric feature beyond its bins; all of it from the 10 % that chose the edges."""

    minimum: float
    maximum: float
    mean: float
    sd: float
    atoms: tuple[float, ...] = ()
    """Up to 8 values that the reference repeats often."""
    atom_counts: tuple[int, ...] = ()
    """Rows of the counted 90 % that equal each atom, then each of SENTINELS."""
    exponents: tuple[tuple[int, int], ...] = ()
    """Sparse exponent histogram of the counted rows: (cell, rows)."""
    repeats: int = 0
    """Rows equal to the row before."""
    clipped_sum: float = 0.0
    clipped_squares: float = 0.0


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One column of the reference."""

    name: str
    kind: Kind
    role: Role = Role.FEATURE
    group: Group = Group.INPUT
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...]
    """Reference rows per bin, in the module's bin order; each row has weight 1.

    Of an output, those rows that have one, and a held-out one."""
    numeric: Numeric | None = None
    design_effect: float | None = None
    """Variance of this feature between days over the binomial variance; None: unknown, the profile's holds."""

    @property
    def is_ordered(self) -> bool:
        """Whether the value bins have an order (``X <= edge`` is an event)."""
        return self.kind in (Kind.NUMERIC, Kind.DATETIME, Kind.TEXT)

    @property
    def value_bins(self) -> int:
        """Bins before the specials."""
        return (len(self.edges) if self.is_ordered else len(self.categories)) + 1

    @property
    def size(self) -> int:
        """All bins of this feature."""
        return self.value_bins + len(SPECIALS)

    @property
    def bin_names(self) -> tuple[str, ...]:
        """Names as shown to people and in the label ``bin``."""
        if self.is_ordered:
            values = (*(f"le={edge:g}" for edge in self.edges), "le=max")
        else:
            values = (*self.categories, "other")
        return (*values, *SPECIALS)


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """Second moments of at most 32 numeric inputs, standardised by the reference's mean and sd and clipped."""

    features: tuple[str, ...]
    means: tuple[float, ...]
    products: tuple[tuple[float, ...], ...]
    """Mean of z_i z_j over the counted rows."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """
    Score bins x label of held-out rows.

    The score is the first numeric output; a row is wrong if its label is not ``score >= threshold``.
    """

    edges: tuple[float, ...]
    rows: tuple[int, ...]
    positives: tuple[int, ...]
    score_sums: tuple[float, ...]
    threshold: float = 0.5
    wrong: tuple[int, ...] = ()
    """Empty: made by a version that did not count them."""
    design_effect: float | None = None
    """Variance of errors between days, at equal scores, over the binomial variance; None: no time stamps."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A frozen reference. ``rows`` counts the 90 % that were binned; ``edge_rows`` chose the edges."""

    schema: str = SCHEMA
    version: int = FORMAT
    min_reader: int = FORMAT
    source: str = ""
    created: str | None = None
    learned: bool = False
    rows: int
    edge_rows: int = 0
    design_effect: float | None = None
    """
    Variance between days over the binomial variance, of a feature that varies more than nine in ten do; None: no time
    stamps, `i.i.d. assumed`.
    """
    features: tuple[Feature, ...]
    moments: Moments | None = None
    calibration: Calibration | None = None
    seed: int = 0
    extensions: dict[str, msgspec.Raw] = {}

    @property
    def inputs(self) -> tuple[Feature, ...]:
        """Features that the client sends."""
        return tuple(f for f in self.features if f.group is Group.INPUT)

    @property
    def outputs(self) -> tuple[Feature, ...]:
        """Features that the model answers; empty: `outputs: none`."""
        return tuple(f for f in self.features if f.group is Group.OUTPUT)

    @property
    def is_counted(self) -> bool:
        """Whether there is anything to compare with; else these are bins that a reference is being learnt in."""
        return self.rows > 0

    @property
    def effective_rows(self) -> float:
        """N_eff = N / deff."""
        return self.rows / max(self.design_effect or 1.0, 1.0)

    @cached_property
    def layout(self) -> "Layout":
        """Offsets of the flat count vectors."""
        return Layout.of(self.features)

    @cached_property
    def hash(self) -> str:
        """Identity of the reference: 16 hex digits of SHA-256 over its canonical JSON."""
        return _digest(self)

    @cached_property
    def input_hash(self) -> str:
        """Identity of the inputs' bins and counts alone."""
        return _digest(self.inputs)

    @cached_property
    def output_hash(self) -> str:
        """Identity of the outputs' bins and counts alone."""
        return _digest(self.outputs)


class Layout(msgspec.Struct, frozen=True):
    """Where each feature's block starts in a flat count vector."""

    names: tuple[str, ...]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    total: int

    @classmethod
    def of(cls, features: Sequence[Feature]) -> "Layout":
        """
        Lay out the features one after another.

        >>> f = Feature(name="age", kind=Kind.NUMERIC, edges=(30.0, 50.0), counts=(1,) * 7)
        >>> Layout.of([f, f])
        Layout(names=('age', 'age'), offsets=(0, 7), sizes=(7, 7), total=14)
        """
        sizes = tuple(f.size for f in features)
        offsets = tuple(sum(sizes[:i]) for i in range(len(sizes)))
        return cls(tuple(f.name for f in features), offsets, sizes, sum(sizes))

    def block(self, index: int) -> slice:
        """Slice of the flat vector that belongs to feature ``index``."""
        return slice(self.offsets[index], self.offsets[index] + self.sizes[index])


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:16]


def decode_profile(data: bytes) -> Profile:
    """
    Read a profile's JSON and check that it is whole.

    Raises:
        ProfileError: with the JSON path; also for a newer format than this reader's, and for blocks of counts
            that do not fit their bins.

    >>> decode_profile(b"{}")
    Traceback (most recent call last):
    onguard.profile.ProfileError: Object missing required field `rows` - at `profile`
    """
    try:
        profile = msgspec.json.decode(data, type=Profile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = str(error)
        raise ProfileError(text.replace("`$", "`profile") if "`$" in text else f"{text} - at `profile`") from None
    _check(profile)
    return profile


def _check(profile: Profile) -> None:
    if profile.schema != SCHEMA or profile.min_reader > FORMAT:
        raise ProfileError(
            f"expected schema {SCHEMA} readable by format {FORMAT}, got {profile.schema} for readers from "
            f"{profile.min_reader} on - at `profile.min_reader`"
        )
    if not profile.features:
        raise ProfileError("expected at least one feature, got none - at `profile.features`")
    names = [f.name for f in profile.features]
    for i, feature in enumerate(profile.features):
        where = f"at `profile.features[{i}]`"
        if names.index(feature.name) != i:
            raise ProfileError(f'expected unique names, got "{feature.name}" twice - {where}')
        _check_feature(feature, profile.rows, where)
    if profile.calibration is not None:
        _check_calibration(profile.calibration)


def _check_feature(feature: Feature, rows: int, where: str) -> None:
    if len(feature.counts) != feature.size:
        raise ProfileError(f"expected {feature.size} counts, got {len(feature.counts)} - {where}.counts")
    total, is_part = sum(feature.counts), feature.group is Group.OUTPUT  # some rows have no answer, or no held-out one
    if min(feature.counts) < 0 or total > rows or (total < rows and not is_part):
        raise ProfileError(f"expected counts >= 0 that sum to {rows} rows, got {total} - {where}.counts")
    if any(not low < high for low, high in zip(feature.edges, feature.edges[1:], strict=False)):
        raise ProfileError(f"expected strictly increasing edges - {where}.edges")
    if feature.is_ordered and feature.numeric is None:
        raise ProfileError(f"expected `numeric` for a {feature.kind} feature, got none - {where}.numeric")


def _check_calibration(found: Calibration) -> None:
    where, bins = "at `profile.calibration`", len(found.edges) + 1
    if any(not low < high for low, high in zip(found.edges, found.edges[1:], strict=False)):
        raise ProfileError(f"expected strictly increasing edges - {where}.edges")
    for name, counts in (("rows", found.rows), ("positives", found.positives), ("wrong", found.wrong or found.rows)):
        if len(counts) != bins or any(not 0 <= c <= n for c, n in zip(counts, found.rows, strict=False)):
            raise ProfileError(f"expected {bins} counts from 0 to the bin's rows - {where}.{name}")


def encode_profile(profile: Profile) -> bytes:
    """JSON with stable key order, a line a field and a feature; ``decode_profile`` is its inverse."""
    fields = {name: msgspec.json.encode(getattr(profile, name)) for name in profile.__struct_fields__}
    fields["features"] = b"[\n  " + b",\n  ".join(msgspec.json.encode(f) for f in profile.features) + b"\n ]"
    return b"{\n" + b",\n".join(b' "%s": %s' % (name.encode(), value) for name, value in fields.items()) + b"\n}\n"
