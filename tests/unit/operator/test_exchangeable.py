"""Arms are compared only where each new connection may reach either of them alike."""

from typing import Any

import pytest

from onguard.cause import Arms
from onguard_operator import compare, exchangeable
from onguard_operator.evidence import Evidence
from tests.unit.operator.test_judging import HISTORY, JUDGES, SPEC, joined
from tests.unit.operator.worlds import service, world

MODE = "service.kubernetes.io/topology-mode"


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"sessionAffinity": "ClientIP"}, "sessionAffinity: None"),
        ({"trafficDistribution": "PreferClose"}, "trafficDistribution"),
        ({"clusterIP": "None"}, "headless"),
        ({"internalTrafficPolicy": "Local"}, "internalTrafficPolicy: Cluster"),
        ({"metadata": {"annotations": {MODE: "Auto"}}}, MODE),
        ({"sessionAffinity": "None", "internalTrafficPolicy": "Cluster"}, ""),
        ({"metadata": {"annotations": {MODE: "Disabled"}}}, ""),
        ({"selector": {"app": "other"}, "sessionAffinity": "ClientIP"}, ""),
    ],
)
def test_a_service_that_ties_clients_to_pods_is_named_with_its_cure(more: dict[str, Any], named: str) -> None:
    seen = world(services=[service(**more)])
    text = exchangeable.obstacle(seen)
    assert named in text
    assert bool(text) is bool(named)
    condition = exchangeable.arms_exchangeable(seen)
    assert (condition.status, condition.reason) == (("False", "ArmsNotExchangeable") if named else ("True", "Random"))


def test_arms_that_clients_choose_are_not_compared_however_bad_the_new_one_looks() -> None:
    paired = [joined(n, 0.5, 0.0) for n in range(30)]
    evidence = Evidence(history=HISTORY, arms_to=30)
    after, found = compare.compare(evidence, paired, SPEC, JUDGES, obstacle="Service churn is headless")
    assert found.verdict is Arms.NOT_COMPARABLE
    assert not found.log_e
    assert after.arms == {}, "epochs of that time are no evidence later either"
    assert [figure.detail for figure in found.figures] == ["ArmsNotExchangeable: Service churn is headless"]
