"""The core of OnGuard: values and pure functions, without I/O, clocks or randomness of their own."""

__version__ = "0.1.0"
