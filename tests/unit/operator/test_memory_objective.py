"""A memory objective: a threshold with a duration, that makes one Decision which holds, and says what it is not."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from onguard.cause import Cause
from onguard.decide import Action, Phase
from onguard_operator import assess, deciding, evaluate
from onguard_operator.evaluate import Evaluation, Inputs
from onguard_operator.evidence import Evidence
from onguard_operator.release import History, Revision, Standing
from onguard_operator.resources import Usage
from tests.unit.operator.worlds import world

NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC).timestamp()
HISTORY = History(current="a", revisions=(Revision(id="a", standing=Standing.ASSUMED_GOOD),))
SEEN = world({"objectives": {"memory": {"below": "90%", "for": "5m"}}})


def usage(memory: float) -> Usage:
    return Usage(pod="a", cpu_cores=0.1, memory_bytes=memory, cpu_limit=None, memory_limit=100.0)


def look(evidence: Evidence, memory: float, now: float) -> Evaluation:
    inputs = Inputs(
        seen=SEEN, readings={}, usages=[usage(memory)], profile=None, objectives_hash="", measurement=False, now=now
    )
    return evaluate.evaluate(evidence, inputs)


def after(memory: float, *, for_s: float) -> Evaluation:
    first = look(Evidence(history=HISTORY), memory, NOW)
    return look(first.evidence, memory, NOW + for_s)


@pytest.mark.parametrize(
    ("memory", "for_s", "broken"), [(95.0, 300.0, True), (95.0, 299.0, False), (89.0, 999.0, False)]
)
def test_memory_over_its_bound_for_long_enough_holds_as_capacity(memory: float, for_s: float, broken: bool) -> None:
    evaluation = after(memory, for_s=for_s)
    verdict = deciding.decide_on(SEEN, evaluation, now=NOW + for_s).verdict
    assert (verdict is not None) is broken
    if verdict is not None:
        assert (verdict.cause, verdict.action, verdict.phase) == (Cause.CAPACITY, Action.HOLD, Phase.HELD)
        assert "outside the guarantee of falseAlarms" in verdict.message
        assert assess.leading_objective(evaluation.present, evaluation.around) == "memory"
        (figure,) = assess.figures_of(evaluation.present, evaluation.around)
        assert (figure.name, figure.value) == ("memory", 0.95)
        assert "outside the guarantee" in figure.detail


def test_one_breach_is_one_decision_and_the_next_one_after_it_was_over_is_another() -> None:
    evaluation = after(95.0, for_s=300.0)
    first = deciding.decide_on(SEEN, evaluation, now=NOW + 300)
    remembered = with_memory(evaluation.evidence, first)
    again = deciding.decide_on(SEEN, look(remembered, 95.0, NOW + 315), now=NOW + 315)
    assert again.verdict is None
    over = look(with_memory(remembered, again), 50.0, NOW + 330)
    closed = deciding.decide_on(SEEN, over, now=NOW + 330)
    assert (closed.verdict, closed.memory.open) == (None, False)
    back = look(with_memory(over.evidence, closed), 95.0, NOW + 345)
    later = look(back.evidence, 95.0, NOW + 645)
    second = deciding.decide_on(SEEN, later, now=NOW + 645).verdict
    assert first.verdict is not None
    assert second is not None
    assert second.name_hash != first.verdict.name_hash


def with_memory(evidence: Evidence, outcome: deciding.Outcome) -> Evidence:
    return replace(evidence, memory=outcome.memory)
