"""
What was read a moment ago, for readers that say how old it may be.

Visits of many ModelDeployments ask for the same surroundings at the same time: the first one asks the API server, the
others wait for its answer. An own write of a kind makes its next reads live again. Nothing is kept of what failed.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from onguard_operator.cluster.kinds import Kind

LONGEST_S: Final = 60.0
"""Nothing older is ever kept, so that the memory is bounded by what is asked for in a minute."""


class Question(NamedTuple):
    """What is asked: a verb (``get``, ``list``, ``review``), where, and the rest of it."""

    verb: str
    kind: Kind
    namespace: str | None
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class _Answer:
    at: float
    task: "asyncio.Future[Any]"


class Recent:
    """Answers by question; ``monotonic`` gives seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._answers: dict[Question, _Answer] = {}

    async def ask(self, question: Question, within: float, read: Callable[[], Awaitable[Any]]) -> Any:
        """
        Answer from memory if that is at most ``within`` seconds old, else by ``read``.

        Raises:
            Exception: what ``read`` raises; all who waited get it, and it is not kept.
        """
        if within <= 0.0:
            return await read()
        now = self._monotonic()
        known = self._answers.get(question)
        if known is None or now - known.at >= within:
            self._prune(now)
            known = _Answer(now, asyncio.ensure_future(read()))
            self._answers[question] = known
            known.task.add_done_callback(lambda task: self._settle(question, task))
        # A reader that is cancelled must not take the answer from the others.
        return await asyncio.shield(known.task)

    def forget(self, kind: Kind, namespace: str | None) -> None:
        """Read this kind anew: we have just written to it."""
        stale = [q for q in self._answers if q.kind is kind and q.namespace in (namespace, None)]
        for question in stale:
            del self._answers[question]

    async def close(self) -> None:
        """Cancel what is still being read, and wait for its end."""
        running = [known.task for known in self._answers.values() if not known.task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._answers.clear()

    def _settle(self, question: Question, task: "asyncio.Future[Any]") -> None:
        known = self._answers.get(question)
        if known is not None and known.task is task and (task.cancelled() or task.exception() is not None):
            del self._answers[question]

    def _prune(self, now: float) -> None:
        old = [question for question, known in self._answers.items() if now - known.at >= LONGEST_S]
        for question in old:
            del self._answers[question]
