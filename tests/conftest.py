"""For all tests."""

import asyncio
import os

from hypothesis import settings


def pytest_configure() -> None:
    """
    Leave no event loop behind that nobody closes.

    pytest-asyncio asks for the current loop before it sets its own. Python 3.11 then makes one, which is never closed,
    and whichever test the garbage collector runs in fails for it. Once a loop has been set, even to None, none is made.
    """
    asyncio.set_event_loop(None)
    # No deadline: how long an example takes on a busy machine says nothing about what is right. The usual run draws the
    # same examples every time, so that the same commit gives the same answer; `make fuzz` looks for new ones.
    settings.register_profile("usual", deadline=None, derandomize=True)
    settings.register_profile("fuzz", max_examples=examples(100), deadline=None)
    settings.load_profile(os.environ.get("ONGUARD_HYPOTHESIS_PROFILE", "usual"))


def examples(usual: int) -> int:
    """Cases of a property test: fifty times as many under ``make fuzz``."""
    return usual * (50 if os.environ.get("ONGUARD_HYPOTHESIS_PROFILE") == "fuzz" else 1)
