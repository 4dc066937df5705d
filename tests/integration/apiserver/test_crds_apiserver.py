import copy

import pytest

MDEP = {
    "apiVersion": "onguard.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "churn"},
    "spec": {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "churn"},
        "traffic": {
            "ports": [{"name": "http", "protocol": "auto"}],
            "match": {"model": "churn", "paths": ["/v1"]},
            "ignore": ["/metrics"],
            "sample": 1.0,
            "redact": [{"field": "email", "how": "Drop"}],
        },
        "inject": {"rollout": "Automatic"},
        "reference": {"configMap": {"name": "churn-profile", "key": "profile.json"}},
        "objectives": {
            "availability": {},
            "errors": {"below": "1%", "statuses": [429]},
            "latency": [{"quantile": 0.99, "below": "250ms"}, {"quantile": 0.5, "below": "50ms"}],
            "drift": {"tolerance": "1%", "retrainAt": "10%"},
            "dataQuality": {"tolerance": "1%"},
            "memory": {"below": "90%", "for": "5m"},
        },
        "falseAlarms": {"atMost": 1, "per": "90d"},
        "release": {
            "watch": "30m",
            "bake": {"for": "1h", "requests": 1000},
            "falseRollback": "1%",
            "minOddsRatio": 1.25,
            "minDifference": "0.5%",
            "baseline": {"mode": "Serve"},
        },
        "actions": {
            "rollback": {"mode": "Automatic"},
            "retrain": {"mode": "Automatic", "from": {"kind": "CronJob", "name": "churn-train"}, "cooldown": "24h"},
            "limits": {"perDay": 3},
        },
        "triggers": [{"alert": "ChurnConversionDrop", "action": "Rollback"}],
        "resources": {"source": "ProcessNamespace"},
        "metrics": {"featureBins": True},
        "wire": {"workers": 1},
    },
}
DECISION = {
    "apiVersion": "onguard.dev/v1alpha1",
    "kind": "Decision",
    "metadata": {"name": "churn-1"},
    "spec": {
        "modelDeployment": {"name": "churn", "uid": "u-1"},
        "cause": "release",
        "action": "Rollback",
        "mode": "Automatic",
        "control": "arm",
        "decidedAt": "2026-11-25T02:00:00Z",
        "evidence": [{"name": "errors", "value": 0.2, "low": 0.1, "high": 0.3, "unit": "ratio"}],
        "alternatives": [{"cause": "population", "why": "the arms differ"}],
        "blockers": [{"reason": "Cooldown", "message": "cooling down"}],
        "trigger": {"alert": "A", "fingerprint": "f", "startsAt": "2026-11-25T02:00:00Z"},
    },
}
REMOVE = object()


def changed(document, path, value):
    result = copy.deepcopy(document)
    place = result
    *parents, last = path.split(".")
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    last = int(last) if isinstance(place, list) else last
    if value is REMOVE:
        del place[last]
    else:
        place[last] = value
    return result


def create(api, namespace, document, *, dry_run=True):
    plural = {"ModelDeployment": "modeldeployments", "Decision": "decisions"}[document["kind"]]
    query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
    return api.call("POST", f"/apis/onguard.dev/v1alpha1/namespaces/{namespace}/{plural}{query}", document)


def test_the_example_of_the_documentation_is_accepted(api, namespace):
    status, read = create(api, namespace, MDEP)
    assert status == 201, read


def test_the_smallest_model_deployment_is_accepted(api, namespace):
    status, read = create(api, namespace, {**MDEP, "spec": {"targetRef": {"name": "churn"}}})
    assert status == 201, read
    assert read["spec"]["targetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "churn"}


PERCENT = 'expected a percentage over 0% and below 100% such as "1%"'
DURATION = 'expected a duration over 0 such as "250ms", "30s", "5m", "24h" or "90d"'
RULES = [
    ("metadata.name", "x" * 53, "expected a name of at most 52"),
    ("metadata.name", "a.b", "expected a name of at most 52"),
    ("spec.targetRef", REMOVE, "spec.targetRef: Required value"),
    ("spec.targetRef.name", "", "spec.targetRef.name"),
    ("spec.targetRef.kind", "StatefulSet", 'expected "Deployment": only Deployments are guarded'),
    ("spec.targetRef.apiVersion", "v1", 'expected "apps/v1": only Deployments are guarded'),
    ("spec.targetRef.namespace", "other", "unknown field"),
    ("spec.traffic.ports", [], "expected exactly one port"),
    ("spec.traffic.ports", [{"name": "a"}, {"name": "b"}], "expected exactly one port"),
    ("spec.traffic.ports", [{"name": "a"}, {"name": "a"}], "Duplicate value"),
    ("spec.traffic.ports.0.name", "8080", 'expected the name of a container port such as "http"'),
    ("spec.traffic.ports.0.name", "x" * 16, "Too long"),
    ("spec.traffic.ports.0.name", "og-8080", 'expected a name that does not start with "og-"'),
    ("spec.traffic.ports.0.protocol", "HTTP 2", "only these are decoded in this version"),
    ("spec.traffic.ports.0.protocol", "grpc", "only these are decoded in this version"),
    ("spec.traffic.ports.0.mapping", {"rows": "$.rows[*]"}, "inputs: Required value"),
    ("spec.traffic.ports.0.mapping", {"inputs": []}, "should have at least 1 items"),
    (
        "spec.traffic.ports.0.mapping",
        {"inputs": [{"name": "age", "path": "age"}]},
        'expected a JSONPath that starts with "$"',
    ),
    ("spec.traffic.ports.0.mapping", {"inputs": [{"name": "age", "path": "$..a..b"}]}, 'with at most one ".."'),
    (
        "spec.traffic.ports.0.mapping",
        {"inputs": [{"name": "a", "path": "$[?match(@.a, 'x')]"}]},
        "neither match() nor search()",
    ),
    ("spec.traffic.ports.0.mapping", {"inputs": [{"name": "a", "path": "$.a"}], "outputRows": "x"}, 'starts with "$"'),
    ("spec.traffic.takeover", "iptables", "Unsupported value"),
    ("spec.traffic.match.paths", ["v1"], 'expected a path that starts with "/"'),
    ("spec.traffic.match.paths", ["/a,b"], 'expected a path that starts with "/"'),
    ("spec.traffic.ignore", ["/ü"], 'expected a path that starts with "/"'),
    ("spec.traffic.sample", 0, "expected a share over 0 and up to 1"),
    ("spec.traffic.sample", 1.1, "expected a share over 0 and up to 1"),
    ("spec.traffic.sample", "0.5", "must be of type number"),
    ("spec.traffic.client", "X-Client-Id", "expected no traffic.client"),
    ("spec.traffic.redact.0.how", "Mask", "Unsupported value"),
    ("spec.inject.rollout", "Never", "Unsupported value"),
    ("spec.reference.learn", {"requests": 1000}, "expected either configMap or learn"),
    ("spec.reference", {}, "expected either configMap or learn"),
    ("spec.reference.configMap.key", "a/b", "expected a key of a ConfigMap"),
    ("spec.reference", {"learn": {"for": "0d"}}, DURATION),
    ("spec.reference", {"learn": {"for": "a week"}}, DURATION),
    ("spec.reference", {"learn": {"attempt": 0}}, "should be greater than or equal to 1"),
    ("spec.reference", {"learn": {"requests": 10}}, "should be greater than or equal to 1000"),
    ("spec.reference", REMOVE, "expected a reference: retraining on drift needs something to compare"),
    ("spec.objectives.errors.below", "0%", PERCENT),
    ("spec.objectives.errors.below", "100%", PERCENT),
    ("spec.objectives.errors.below", "1", PERCENT),
    ("spec.objectives.errors.below", 0.01, "must be of type string"),
    ("spec.objectives.errors.statuses", [500], "expected a status from 400 to 499"),
    ("spec.objectives.latency.0.quantile", 1, "expected a quantile between 0 and 1"),
    ("spec.objectives.latency.0.quantile", 0, "expected a quantile between 0 and 1"),
    ("spec.objectives.latency.0.below", "0ms", "expected a latency over 0"),
    ("spec.objectives.latency.0.below", "5 m", "expected a latency over 0"),
    ("spec.objectives.latency.0.below", "20ms", "expected a higher quantile to have the same or a longer bound"),
    ("spec.objectives.latency.0.quantile", 0.5, "expected each quantile once"),
    (
        "spec.objectives.latency",
        [{"quantile": q / 10, "below": "1s"} for q in range(1, 6)],
        "must have at most 4 items",
    ),
    ("spec.objectives.drift.tolerance", "0%", PERCENT),
    ("spec.objectives.drift.retrainAt", "x", PERCENT),
    ("spec.objectives.drift.retrainAt", "0.5%", "expected retrainAt to be at least tolerance"),
    ("spec.objectives.dataQuality.tolerance", "-1%", PERCENT),
    ("spec.objectives.memory.below", "101%", PERCENT),
    ("spec.objectives.memory.for", "14s", "expected a duration of at least one scrape (15s)"),
    ("spec.falseAlarms.atMost", 0, "expected a number over 0 and up to 1000"),
    ("spec.falseAlarms.per", "59m", "expected a duration of at least 1h"),
    ("spec.falseAlarms.per", "P1D", "expected a duration of at least 1h"),
    ("spec.release.watch", "29s", "expected a duration of at least two scrapes (30s)"),
    ("spec.release.watch", "-1s", "expected a duration of at least two scrapes (30s)"),
    ("spec.release.bake.for", "0s", DURATION),
    ("spec.release.bake.requests", -1, "should be greater than or equal to 0"),
    ("spec.release.falseRollback", "0%", PERCENT),
    ("spec.release.minOddsRatio", 0.9, "expected a ratio from 1 to 100"),
    ("spec.release.minDifference", "200%", "expected a percentage from 0% and below 100%"),
    ("spec.release.baseline.mode", "Mirror", "Unsupported value"),
    ("spec.actions.rollback.mode", "Sometimes", "Unsupported value"),
    ("spec.actions.retrain.from", REMOVE, 'expected "from", the CronJob whose template'),
    ("spec.actions.retrain.from.kind", "Workflow", 'expected "CronJob": a Job is made from a CronJob'),
    ("spec.actions.retrain.from.apiVersion", "v1", 'expected "batch/v1": a Job is made from a CronJob'),
    ("spec.actions.retrain.from.namespace", "other", "unknown field"),
    ("spec.actions.retrain.cooldown", "0h", DURATION),
    ("spec.actions.retrain.template", {"spec": {}}, "unknown field"),
    ("spec.actions.limits.perDay", -1, "should be greater than or equal to 0"),
    ("spec.triggers.0.alert", 'a"b', "expected the name of an alert"),
    ("spec.triggers.0.action", "Delete", "Unsupported value"),
    ("spec.triggers", [{"alert": "A"}, {"alert": "A"}], "Duplicate value"),
    ("spec.resources.source", "cAdvisor", "Unsupported value"),
    ("spec.metrics.featureBins", "yes", "must be of type boolean"),
    ("spec.release.baseline.mode", "Shadow", "Shadow is not available in this version"),
    ("spec.wire.workers", 2, "more than one process is not available in this version"),
    ("spec.wire.workers", 0, "should be greater than or equal to 1"),
]


@pytest.mark.parametrize(("path", "value", "message"), RULES, ids=[f"{r[0]}={str(r[1])[:20]}" for r in RULES])
def test_a_bad_field_is_refused_with_the_reason(api, namespace, path, value, message):
    status, read = create(api, namespace, changed(MDEP, path, value))
    assert status in {400, 422}, read
    assert message in read["message"]
    if path.startswith("spec") and value is not REMOVE and "learn" not in path:
        assert path.split(".")[1] in read["message"]


def test_a_reference_may_be_learnt_and_an_attempt_never_goes_back(api, namespace):
    status, read = create(api, namespace, changed(MDEP, "spec.reference", {"learn": {"attempt": 2}}), dry_run=False)
    assert status == 201, read
    assert read["spec"]["reference"]["learn"] == {"requests": 10_000, "for": "7d", "attempt": 2}
    path = f"/apis/onguard.dev/v1alpha1/namespaces/{namespace}/modeldeployments/{read['metadata']['name']}"
    read["spec"]["reference"]["learn"]["attempt"] = 1
    status, refused = api.call("PUT", path, read)
    api.call("DELETE", path)
    assert status == 422, refused
    assert "expected an attempt that is not below the last one" in refused["message"]


@pytest.mark.parametrize("mode", ["Off", None])
def test_a_retraining_that_is_off_needs_no_source(api, namespace, mode):
    retrain = {"retrain": {"mode": mode}} if mode else {}
    status, read = create(api, namespace, changed(MDEP, "spec.actions", retrain))
    assert status == 201, read


def test_defaults_are_filled_in_by_the_server(api, namespace):
    spec = {
        "targetRef": {"name": "churn"},
        "reference": {"configMap": {"name": "p"}},
        "objectives": {"drift": {}, "errors": {}},
    }
    read = create(api, namespace, {**MDEP, "spec": spec})[1]
    assert read["spec"]["objectives"] == {"drift": {"tolerance": "1%", "retrainAt": "10%"}, "errors": {"below": "1%"}}
    assert read["spec"]["reference"]["configMap"]["key"] == "profile.json"


def test_status_is_a_subresource_whose_whole_schema_is_known(api, namespace):
    create(api, namespace, MDEP, dry_run=False)
    stamp = "2026-11-25T02:00:00Z"
    status = {
        "observedGeneration": 1,
        "phase": "Guarding",
        "revision": "abc",
        "goodRevision": "abc",
        "alarms": ["errors"],
        "pods": {"guarded": 2, "unguarded": 0, "unreadable": 1},
        "suspendedImages": ["onguard/sidecar:1"],
        "revisions": [{"revision": "abc", "state": "Good", "firstSeen": stamp, "images": ["a@sha256:1"]}],
        "evidence": [{"objective": "errors", "value": 0.1, "logE": 3.2, "logThreshold": 9.0}],
        "detectable": [{"objective": "errors", "effect": 0.02, "within": "1h"}],
        "lastDecision": {"name": "churn-1", "at": stamp},
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": stamp}
        ],
    }
    path = f"/apis/onguard.dev/v1alpha1/namespaces/{namespace}/modeldeployments/churn/status"
    query = "?fieldValidation=Strict"
    read = api.must("PATCH", path + query, {"status": status}, content_type="application/merge-patch+json")
    assert read["status"] == status


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def test_columns_show_the_state_at_a_glance(api, namespace):
    create(api, namespace, MDEP, dry_run=False)
    create(api, namespace, DECISION, dry_run=False)
    base = f"/apis/onguard.dev/v1alpha1/namespaces/{namespace}"
    status = {"phase": "Guarding", "revision": "abc", "alarms": ["errors", "drift"]}
    api.must(
        "PATCH",
        f"{base}/modeldeployments/churn/status",
        {"status": status},
        content_type="application/merge-patch+json",
    )
    table = api.must("GET", f"{base}/modeldeployments", accept=TABLE)
    row = dict(zip([c["name"] for c in table["columnDefinitions"]], table["rows"][0]["cells"], strict=True))
    assert {key: row[key] for key in ("Name", "Target", "Phase", "Revision", "Alarm")} == {
        "Name": "churn",
        "Target": "churn",
        "Phase": "Guarding",
        "Revision": "abc",
        "Alarm": '["errors","drift"]',
    }
    table = api.must("GET", f"{base}/decisions", accept=TABLE)
    row = dict(zip([c["name"] for c in table["columnDefinitions"]], table["rows"][0]["cells"], strict=True))
    assert (row["Model"], row["Cause"], row["Action"]) == ("churn", "release", "Rollback")


def test_short_names_and_categories_are_served(api):
    served = api.must("GET", "/apis/onguard.dev/v1alpha1")["resources"]
    found = {r["name"]: (r.get("shortNames"), r.get("categories")) for r in served if "/" not in r["name"]}
    assert found == {"modeldeployments": (["mdep"], ["all", "onguard"]), "decisions": (["dec"], ["onguard"])}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec.cause", "weather", "Unsupported value"),
        ("spec.action", "Delete", "Unsupported value"),
        ("spec.cause", "population", 'expected cause "release" or "alert" for a rollback'),
        ("spec.cause", "unknown", 'expected cause "release" or "alert" for a rollback'),
        ("spec.control", "magic", "Unsupported value"),
        ("spec.decidedAt", "yesterday", "date-time"),
        ("spec.modelDeployment.uid", REMOVE, "Required value"),
        ("spec.message", "x" * 1025, "Too long"),
        ("spec.payload", "x", "unknown field"),
    ],
)
def test_a_bad_decision_is_refused_with_the_reason(api, namespace, path, value, message):
    status, read = create(api, namespace, changed(DECISION, path, value))
    assert status in {400, 422}, read
    assert message in read["message"]


def test_a_retraining_needs_a_cause_that_retraining_can_mend(api, namespace):
    bad = changed(changed(DECISION, "spec.action", "Retrain"), "spec.cause", "upstream-data")
    status, read = create(api, namespace, bad)
    assert status == 422
    assert 'expected cause "population", "concept" or "alert" for a retraining' in read["message"]


def test_a_decision_is_a_record_that_nobody_can_change(api, namespace):
    create(api, namespace, DECISION, dry_run=False)
    path = f"/apis/onguard.dev/v1alpha1/namespaces/{namespace}/decisions/churn-1"
    status, read = api.call("PATCH", path, {"spec": {"cause": "alert"}}, content_type="application/merge-patch+json")
    assert status == 422
    assert "a Decision is a record: its spec can not be changed" in read["message"]
    done = {"status": {"phase": "Succeeded", "approver": "ann", "outcome": "Recovered"}}
    api.must("PATCH", path + "/status", done, content_type="application/merge-patch+json")
    annotated = {"metadata": {"annotations": {"note": "x"}}}
    api.must("PATCH", path, annotated, content_type="application/merge-patch+json")
