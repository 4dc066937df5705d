"""
What is shown of language models beside their features: tokens, how answers end, and the pace of streams.

Times are those of the exchange at the wire. A stream's first byte is taken for its first token: a server that sends the
head of its answer before it has a token is shown as quicker to begin than it is, and its longest gap tells.
"""

import bisect
import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from onguard_sidecar.decoding.batch import Batch
from onguard_sidecar.exchange import Exchange
from onguard_sidecar.ledger import Histogram

FIRST_TOKEN_NS: Final = tuple(
    int(ms * 1e6) for ms in (10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000)
)
GAP_NS: Final = tuple(int(ms * 1e6) for ms in (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 30_000))
FINISH_REASONS: Final = ("stop", "length", "tool_calls", "content_filter", "function_call", "none", "other")
"""A closed set, since it is a label: any other word of a server is ``other``."""


class Times:
    """A histogram that is added to."""

    def __init__(self, bounds_ns: Sequence[int]) -> None:
        self._bounds = bounds_ns
        self._buckets = [0] * (len(bounds_ns) + 1)
        self._sum = 0

    def add(self, ns: int) -> None:
        """Count one time."""
        self._buckets[bisect.bisect_left(self._bounds, ns)] += 1
        self._sum += ns

    @property
    def histogram(self) -> Histogram:
        """As the page takes it."""
        return Histogram(tuple(self._buckets), self._sum)


@dataclasses.dataclass(slots=True)
class Speech:
    """Totals of one analysis."""

    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    refusals: int = 0
    finish: Counter[str] = dataclasses.field(default_factory=Counter)
    first_token: Times = dataclasses.field(default_factory=lambda: Times(FIRST_TOKEN_NS))
    gap: Times = dataclasses.field(default_factory=lambda: Times(GAP_NS))
    longest_gap: Times = dataclasses.field(default_factory=lambda: Times(GAP_NS))

    def note(self, answer: Batch, exchange: Exchange, *, streamed: bool) -> None:
        """
        Count an answer as :mod:`onguard_sidecar.decoding.openai` read it.

        Args:
            answer: one row a choice.
            exchange: for its times.
            streamed: it came as events; the times of a whole answer say nothing of its tokens.
        """
        column = {name: list(answer.column(i)) for i, name in enumerate(answer.names or ())}
        self.answers += 1
        self.completion_tokens += round(_sum(column["completion_tokens"]))
        self.prompt_tokens += round(_sum(column["prompt_tokens"][:1]))  # each choice repeats it
        self.refusals += sum(map(bool, column["refusal"]))
        self.finish.update(_reason(value) for value in column["finish_reason"])
        if streamed and exchange.ttfb_ns >= 0:
            self._note_pace(exchange)

    def _note_pace(self, exchange: Exchange) -> None:
        self.first_token.add(exchange.ttfb_ns)
        if exchange.chunks > 1:
            self.gap.add((exchange.duration_ns - exchange.ttfb_ns) // (exchange.chunks - 1))
            self.longest_gap.add(exchange.gap_ns)


def _sum(values: Sequence[object]) -> float:
    return float(np.nansum([value for value in values if isinstance(value, int | float)]))


def _reason(value: object) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) and value in FINISH_REASONS else "other"
