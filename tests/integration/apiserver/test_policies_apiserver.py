import pytest

from tests.integration.apiserver.test_crds_apiserver import DECISION, MDEP, changed

MERGE = "application/merge-patch+json"
ANN, BOB, OPERATOR = "token-of-ann", "token-of-bob", "token-of-the-operator"
BASE = "/apis/onguard.dev/v1alpha1/namespaces/"


def allow(api, namespace, user, *rules):
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": user, "namespace": namespace},
    }
    api.apply({**role, "rules": [{"apiGroups": [g], "resources": [r], "verbs": v} for g, r, v in rules]})
    api.apply(
        {
            **role,
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
            "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
        }
    )


WRITE = ("onguard.dev", "modeldeployments", ["create", "patch", "get"])
PATCH_TARGET = ("apps", "deployments", ["patch"])
CREATE_JOBS = ("batch", "jobs", ["create"])


@pytest.mark.parametrize(
    ("rights", "mode", "refusal"),
    [
        ([WRITE, PATCH_TARGET, CREATE_JOBS], "Automatic", None),
        ([WRITE, PATCH_TARGET], "Off", None),
        ([WRITE, PATCH_TARGET], "Automatic", '"ann" may not create Jobs in'),
        ([WRITE, CREATE_JOBS], "Automatic", '"ann" may not patch the Deployment "churn"'),
        ([WRITE], "Off", '"ann" may not patch the Deployment "churn"'),
    ],
)
def test_the_writer_must_be_allowed_what_the_operator_will_do(api, namespace, rights, mode, refusal):
    allow(api, namespace, "ann", *rights)
    body = changed(MDEP, "spec.actions.retrain.mode", mode)
    status, read = api.acting_as(ANN).call("POST", f"{BASE}{namespace}/modeldeployments", body)
    assert status == (201 if refusal is None else 403), read
    if refusal is not None:
        assert refusal in read["message"]


def test_a_later_edit_is_checked_too_but_labels_are_free(api, namespace):
    allow(api, namespace, "ann", WRITE)
    api.must("POST", f"{BASE}{namespace}/modeldeployments", MDEP)
    path = f"{BASE}{namespace}/modeldeployments/churn"
    ann = api.acting_as(ANN)
    ann.must("PATCH", path, {"metadata": {"labels": {"team": "a"}}}, content_type=MERGE)
    edit = {"spec": {"targetRef": {"name": "other"}}}
    status, read = ann.call("PATCH", path, edit, content_type=MERGE)
    assert (status, '"ann" may not patch the Deployment "other"' in read["message"]) == (403, True)


def test_the_operator_writes_status_without_the_right_to_act_and_changes_no_spec(api, namespace):
    api.must("POST", f"{BASE}{namespace}/modeldeployments", MDEP)
    path = f"{BASE}{namespace}/modeldeployments/churn"
    operator = api.acting_as(OPERATOR)
    operator.must("PATCH", path + "/status", {"status": {"phase": "Guarding"}}, content_type=MERGE)
    assert operator.call("PATCH", path, {"spec": {"wire": {"workers": 2}}}, content_type=MERGE)[0] == 403


PATCH_DECISIONS = ("onguard.dev", "decisions", ["patch", "get"])
APPROVE = ("onguard.dev", "decisions", ["approve"])


@pytest.mark.parametrize(
    ("rights", "name", "refusal"),
    [
        ([PATCH_DECISIONS, APPROVE], "ann", None),
        ([PATCH_DECISIONS], "ann", '"ann" may not approve decisions (verb "approve" on decisions.onguard.dev)'),
        ([PATCH_DECISIONS, APPROVE], "bob", 'expected onguard.dev/approved-by to be the approver, "ann", got "bob"'),
    ],
)
def test_an_approval_needs_the_verb_and_the_own_name(api, namespace, rights, name, refusal):
    allow(api, namespace, "ann", *rights)
    api.must("POST", f"{BASE}{namespace}/decisions", DECISION)
    approval = {"metadata": {"annotations": {"onguard.dev/approved-by": name}}}
    path = f"{BASE}{namespace}/decisions/churn-1"
    status, read = api.acting_as(ANN).call("PATCH", path, approval, content_type=MERGE)
    assert status == (200 if refusal is None else 403), read
    if refusal is not None:
        assert refusal in read["message"]


def test_nobody_takes_an_approval_away_or_makes_a_decision_that_is_approved_already(api, namespace):
    allow(api, namespace, "ann", PATCH_DECISIONS, APPROVE)
    allow(api, namespace, "bob", ("onguard.dev", "decisions", ["create", "patch", "get"]))
    approved = changed(DECISION, "metadata.annotations", {"onguard.dev/approved-by": "bob"})
    status, _ = api.acting_as(BOB).call("POST", f"{BASE}{namespace}/decisions", approved)
    assert status == 403
    api.must("POST", f"{BASE}{namespace}/decisions", DECISION)
    path = f"{BASE}{namespace}/decisions/churn-1"
    mine = {"metadata": {"annotations": {"onguard.dev/approved-by": "ann"}}}
    api.acting_as(ANN).must("PATCH", path, mine, content_type=MERGE)
    away = {"metadata": {"annotations": {"onguard.dev/approved-by": None}}}
    assert api.acting_as(BOB).call("PATCH", path, away, content_type=MERGE)[0] == 403
    other = {"metadata": {"annotations": {"note": "x"}}}
    api.acting_as(BOB).must("PATCH", path, other, content_type=MERGE)


def config_map(namespace, name, labels):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
    }


def test_the_operator_writes_only_objects_that_carry_its_label(api, namespace):
    ours, theirs = {"onguard.dev/model-deployment": "churn"}, {"app": "x"}
    api.apply(config_map(namespace, "of-the-user", theirs))
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    operator = api.acting_as(OPERATOR)
    operator.must("POST", maps, config_map(namespace, "churn-onguard", ours))
    refused = [
        operator.call("POST", maps, config_map(namespace, "other", theirs)),
        operator.call("PATCH", f"{maps}/of-the-user", {"metadata": {"labels": ours}}, content_type=MERGE),
        operator.call("PATCH", f"{maps}/of-the-user", {"data": {"a": "b"}}, content_type=MERGE),
    ]
    assert [status for status, _ in refused] == [403, 403, 403]
    assert all("OnGuard writes only objects that carry its label" in read["message"] for _, read in refused)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/namespaces/{}/secrets"),
        ("GET", "/api/v1/namespaces/onguard-system/secrets"),
        ("POST", "/api/v1/namespaces/{}/pods"),
        ("PATCH", "/apis/apps/v1/namespaces/{}/deployments/churn"),
        ("POST", "/apis/batch/v1/namespaces/{}/jobs"),
        ("PATCH", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/onguard"),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
    ],
)
def test_neither_program_may_do_more_than_it_needs(api, namespace, method, path):
    for token in (OPERATOR, "token-of-the-gate"):
        body = None if method == "GET" else {}
        status, _ = api.acting_as(token).call(
            method, path.format(namespace), body, content_type=MERGE if method == "PATCH" else "application/json"
        )
        assert status == 403
