"""A process that holds clients' data leaves no image of its memory behind when it crashes."""

import contextlib
import resource
from typing import Final

_NO_PIPE_EITHER: Final = 1
"""
A limit of 0 stops files alone: a ``core_pattern`` that pipes to a collector ignores it. Linux takes a limit of 1 byte
for a crashing collector and skips the pipe; a file of 1 byte is below the smallest dump and is not written.
"""


def forbid_core_dumps() -> None:
    """For this process and its children, for good."""
    with contextlib.suppress(ValueError):  # the limit is 0 for good already
        resource.setrlimit(resource.RLIMIT_CORE, (_NO_PIPE_EITHER, _NO_PIPE_EITHER))
