"""For all tests."""

import asyncio


def pytest_configure() -> None:
    """
    Leave no event loop behind that nobody closes.

    pytest-asyncio asks for the current loop before it sets its own. Python 3.11 then makes one, which is never closed,
    and whichever test the garbage collector runs in fails for it. Once a loop has been set, even to None, none is made.
    """
    asyncio.set_event_loop(None)
