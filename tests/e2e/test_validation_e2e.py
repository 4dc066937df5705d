"""The API server refuses each bad field with a message that says what was expected; a bad profile is said to be bad."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from onguard import contract
from tests.stage import objects
from tests.stage.kube import Kube, StageError, stays
from tests.stage.shop import Shop

SHARE = "over 0% and below 100%"
DURATION = 'expected a duration over 0 such as "250ms"'
PATH = 'expected a path that starts with "/"'
CRON = {"name": "t"}
BAD_FIELDS: list[tuple[str, Any, str]] = [
    ("targetRef.apiVersion", "apps/v2", 'expected "apps/v1": only Deployments'),
    ("targetRef.kind", "StatefulSet", 'expected "Deployment": only Deployments'),
    ("traffic.ports", [{"name": "a"}, {"name": "b"}], "expected exactly one port"),
    ("traffic.ports", [{"name": "8080"}], "expected the name of a container port"),
    ("traffic.ports", [{"name": "og-8080"}], 'expected a name that does not start with "og-"'),
    ("traffic.ports", [{"name": "http", "protocol": "kserve-v3"}], "only these are decoded in this version"),
    (
        "traffic.ports",
        [{"name": "http", "mapping": {"inputs": [{"name": "age", "path": "age"}]}}],
        'expected a JSONPath that starts with "$"',
    ),
    ("traffic.match.paths", ["v1/models"], PATH),
    ("traffic.ignore", ["/a?b"], PATH),
    ("traffic.sample", 0.0, "expected a share over 0 and up to 1"),
    ("traffic.client", "X-Client", "expected no traffic.client"),
    ("reference", {}, "expected either configMap or learn"),
    ("reference.configMap.key", "a/b", "expected a key of a ConfigMap"),
    ("objectives.errors.below", "1", SHARE),
    ("objectives.errors.below", "0%", SHARE),
    ("objectives.errors.statuses", [500], "expected a status from 400 to 499"),
    (
        "objectives.latency",
        [{"quantile": 0.5, "below": "2s"}, {"quantile": 0.99, "below": "1s"}],
        "expected a higher quantile to have the same or a longer bound",
    ),
    (
        "objectives.latency",
        [{"quantile": 0.5, "below": "1s"}, {"quantile": 0.5, "below": "1s"}],
        "expected each quantile once",
    ),
    ("objectives.latency", [{"quantile": 99.0, "below": "1s"}], "expected a quantile between 0 and 1"),
    ("objectives.latency", [{"quantile": 0.9, "below": "250"}], "expected a latency over 0"),
    ("objectives.drift", {"tolerance": "10%", "retrainAt": "5%"}, "expected retrainAt to be at least tolerance"),
    ("objectives.drift", {"tolerance": "one", "retrainAt": "5%"}, SHARE),
    ("objectives.drift", {"retrainAt": "100%"}, SHARE),
    ("objectives.dataQuality.tolerance", "0.0%", SHARE),
    ("objectives.memory.below", "150%", SHARE),
    ("objectives.memory", {"for": "1s"}, "expected a duration of at least one scrape"),
    ("falseAlarms.atMost", 0.0, "expected a number over 0 and up to 1000"),
    ("falseAlarms.per", "5m", "expected a duration of at least 1h"),
    ("release.watch", "5s", "expected a duration of at least two scrapes"),
    ("release.bake", {"for": "soon"}, DURATION),
    ("release.falseRollback", "0%", SHARE),
    ("reference", {"learn": {"for": "0s"}}, DURATION),
    ("release.baseline.mode", "Shadow", 'expected "None" or "Serve": Shadow is not available'),
    ("wire.workers", 2, "expected 1: more than one process"),
    ("release.minOddsRatio", 0.5, "expected a ratio from 1 to 100"),
    ("release.minDifference", "-1%", "expected a percentage from 0% and below 100%"),
    ("actions.retrain", {"mode": "Automatic"}, 'expected "from", the CronJob'),
    ("actions.retrain", {"from": CRON | {"apiVersion": "batch/v2"}}, 'expected "batch/v1"'),
    ("actions.retrain", {"from": CRON | {"kind": "Pod"}}, 'expected "CronJob"'),
    ("actions.retrain", {"from": CRON, "cooldown": "0h"}, DURATION),
    ("triggers", [{"alert": "Drop now"}], "expected the name of an alert"),
    (
        "",
        {"reference": None, "objectives": {"drift": {}}, "actions": {"retrain": {"from": CRON}}},
        "expected a reference",
    ),
]
BAD_DECISIONS: list[tuple[dict[str, str], str]] = [
    ({"cause": "population", "action": "Rollback"}, 'expected cause "release" or "alert" for a rollback'),
    ({"cause": "upstream-data", "action": "Retrain"}, 'expected cause "population", "concept" or "alert"'),
]
LONG_NAME = 'expected a name of at most 52 lower-case letters, digits and "-"'
ATTEMPT = "expected an attempt that is not below the last one"
RECORD = "a Decision is a record: its spec can not be changed"


@pytest.fixture(scope="module")
def space(kube: Kube) -> Iterator[str]:
    name = "e2e-validation"
    kube.apply(objects.namespace(name))
    yield name
    kube.kubectl("delete", "namespace", name, "--wait=false")


def with_field(spec: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the spec with one field replaced by its dotted path; the empty path merges a whole mapping."""
    if not path:
        return {key: entry for key, entry in {**spec, **value}.items() if entry is not None}
    head, _, rest = path.partition(".")
    return {**spec, head: with_field(spec.get(head) or {}, rest, value) if rest else value}


def refusal(kube: Kube, item: dict[str, Any]) -> str:
    try:
        kube.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(item))
    except StageError as error:
        return str(error)
    return "accepted"


def model_deployment(space: str, path: str, value: Any) -> dict[str, Any]:
    item = objects.model_deployment(space)
    item["spec"] = with_field(item["spec"], path, value)
    return item


def decision(space: str, **spec: str) -> dict[str, Any]:
    about = {"modelDeployment": {"name": "churn", "uid": "u"}, "mode": "DryRun", "decidedAt": "2026-01-01T00:00:00Z"}
    metadata = {"name": "churn-0123456789", "namespace": space}
    return {"apiVersion": contract.API_VERSION, "kind": "Decision", "metadata": metadata, "spec": about | spec}


@pytest.mark.parametrize(("path", "value", "message"), BAD_FIELDS)
def test_a_bad_field_is_refused_with_its_message(kube: Kube, space: str, path: str, value: Any, message: str) -> None:
    assert message in refusal(kube, model_deployment(space, path, value))


def test_a_name_that_is_too_long_is_refused(kube: Kube, space: str) -> None:
    item = objects.model_deployment(space)
    item["metadata"]["name"] = "x" * 53
    assert LONG_NAME in refusal(kube, item)


def test_an_attempt_to_learn_never_goes_back(kube: Kube, space: str) -> None:
    second, first = (model_deployment(space, "reference", {"learn": {"attempt": attempt}}) for attempt in (2, 1))
    for item in (second, first):
        item["metadata"]["name"] = "learner"
    kube.apply(second)
    with pytest.raises(StageError, match=ATTEMPT):
        kube.apply(first)


@pytest.mark.parametrize(("spec", "message"), BAD_DECISIONS)
def test_a_decision_whose_action_does_not_follow_from_its_cause_is_refused(
    kube: Kube, space: str, spec: dict[str, str], message: str
) -> None:
    assert message in refusal(kube, decision(space, **spec))


def test_the_record_of_a_decision_cannot_be_rewritten(kube: Kube, space: str) -> None:
    kube.apply(decision(space, cause="unknown", action="Hold"))
    with pytest.raises(StageError, match=RECORD):
        kube.apply(decision(space, cause="capacity", action="Hold"))


def test_the_sample_itself_is_accepted(kube: Kube, space: str) -> None:
    assert refusal(kube, objects.model_deployment(space)) == "accepted"


BAD_PROFILES = {
    "not JSON": lambda text: text[: len(text) // 2],
    "counts that do not fit": lambda text: json.dumps(json.loads(text) | {"rows": 3}),
    "a newer format": lambda text: json.dumps(json.loads(text) | {"min_reader": 99}),
}


def test_a_bad_profile_gives_a_condition_and_no_drift_verdict(
    shop: Shop, profile: str, make_shop: Callable[[str], Shop]
) -> None:
    shop.stand(replicas=1)
    with shop.load(rate=20) as load:
        for bad in BAD_PROFILES.values():
            shop.kube.apply(objects.profile_map(shop.space, bad(profile)))
            shop.wait_condition(contract.CONDITION_REFERENCE_VALID, "False", reason="ReferenceInvalid", timeout_s=60)
        stays("no drift verdict", lambda: not shop.decisions() and drift_state(shop) != "Alarm", seconds=30)
        shop.kube.apply(objects.profile_map(shop.space, profile))
        shop.wait_condition(contract.CONDITION_REFERENCE_VALID, "True", timeout_s=60)
    assert load.tally.failed == 0


def drift_state(shop: Shop) -> str:
    evidence = shop.model_deployment()["status"].get("evidence", ())
    return next((entry.get("state", "") for entry in evidence if entry["objective"] == "drift"), "")
