"""Right after a roll-out no pod serves long enough to say how many can be read: that is waited for, not decided."""

from dataclasses import replace

import pytest

from onguard.cause import Arms, Signal
from onguard.decide import Phase
from onguard_operator import deciding
from onguard_operator.assess import Comparison, Surroundings
from onguard_operator.evaluate import Evaluation
from onguard_operator.evidence import Evidence
from onguard_operator.release import History, Revision, Standing
from tests.unit.operator.worlds import pod, world

NOW = 1_000_000.0
HISTORY = History(current="b", previous="a", revisions=(Revision(id="a", standing=Standing.GOOD), Revision(id="b")))
WORSE = Surroundings(comparison=Comparison(verdict=Arms.WORSE))
UNREADY = Surroundings(availability=Signal.ALARM)


def decided(around: Surroundings, coverage: float | None, *, ready: bool) -> Phase | None:
    seen = replace(world({"objectives": {"availability": {}, "errors": {"below": "1%"}}}), pods=[pod("a", ready=ready)])
    evaluation = Evaluation(
        evidence=Evidence(history=HISTORY),
        findings={},
        present={},
        around=around,
        coverage=coverage,
        is_memory_broken=False,
    )
    verdict = deciding.decide_on(seen, evaluation, now=NOW).verdict
    return verdict.phase if verdict else None


@pytest.mark.parametrize(
    ("around", "coverage", "ready", "says"),
    [
        (WORSE, None, True, False),
        (WORSE, 0.5, True, True),
        (WORSE, 1.0, True, True),
        (WORSE, None, False, True),
        (UNREADY, None, True, True),
    ],
)
def test_a_decision_waits_for_pods_that_are_old_enough(
    around: Surroundings, coverage: float | None, ready: bool, says: bool
) -> None:
    assert (decided(around, coverage, ready=ready) is not None) is says
