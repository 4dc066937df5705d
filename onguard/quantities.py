"""Ratios and durations as people write them: ``1%``, ``250ms``, ``90d``."""

import re
from typing import Final, Self

_RATIO: Final = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%\Z")
_DURATION: Final = re.compile(r"(\d{1,9})(ms|s|m|h|d)\Z")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Ratio(float):
    """
    A share in [0, 1], written as per cent.

    >>> Ratio.parse("1%")
    0.01
    >>> Ratio.parse("150%")
    Traceback (most recent call last):
    ValueError: expected a percentage from 0% to 100% such as "1%", got "150%"
    """

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the written form; ValueError says what was expected."""
        match = _RATIO.match(text)
        if match is None or float(match[1]) > 100:
            raise ValueError(f'expected a percentage from 0% to 100% such as "1%", got "{text}"')
        return cls(float(match[1]) / 100)


class Duration(float):
    """
    A length of time in seconds, written with one unit.

    >>> Duration.parse("250ms"), Duration.parse("90d")
    (0.25, 7776000.0)
    >>> Duration.parse("5 m")
    Traceback (most recent call last):
    ValueError: expected a duration such as "250ms", "30s", "5m", "24h" or "90d", got "5 m"
    """

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the written form; ValueError says what was expected."""
        match = _DURATION.match(text)
        if match is None:
            raise ValueError(f'expected a duration such as "250ms", "30s", "5m", "24h" or "90d", got "{text}"')
        return cls(int(match[1]) * _SECONDS[match[2]])
