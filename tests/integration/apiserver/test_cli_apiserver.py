"""`onguard status` and `onguard approve` against a real API server, with the chart's rights and policies."""

import re

import pytest
from typer.testing import CliRunner

from onguard.cli.main import app
from tests.integration.apiserver.control_plane import kubeconfig
from tests.integration.apiserver.test_crds_apiserver import DECISION, MDEP, changed
from tests.integration.apiserver.test_policies_apiserver import ANN, APPROVE, BASE, MERGE, PATCH_DECISIONS, WRITE, allow

AWAITING = changed(DECISION, "spec.blockers", [])
STATUS = {
    "phase": "Alarmed",
    "revision": "4bd29e30ae",
    "alarms": ["errors"],
    "lastDecision": {"name": "churn-1", "phase": "AwaitingApproval"},
    "evidence": [
        {"objective": "errors", "state": "Alarm", "logE": 20.1, "logThreshold": 15.2, "detail": "20% are bad"}
    ],
    "conditions": [
        {
            "type": "Healthy",
            "status": "False",
            "reason": "ObjectiveBroken",
            "message": "errors is broken",
            "lastTransitionTime": "2026-11-25T02:00:00Z",
        }
    ],
}


def run(api, *args):
    env = {"KUBECONFIG": str(kubeconfig(api)), "COLUMNS": "200", "TERM": "dumb"}
    result = CliRunner().invoke(app, list(args), env=env)
    return result.exit_code, re.sub(r"\s+", " ", result.output)


def decide(api, namespace, phase):
    api.must("POST", f"{BASE}{namespace}/decisions", changed(AWAITING, "metadata.labels", LABELS))
    path = f"{BASE}{namespace}/decisions/churn-1"
    api.must("PATCH", f"{path}/status", {"status": {"phase": phase}}, content_type=MERGE)
    return path


LABELS = {"onguard.dev/model-deployment": "churn"}


@pytest.fixture
def guarded(api, namespace):
    api.must("POST", f"{BASE}{namespace}/modeldeployments", MDEP)
    path = f"{BASE}{namespace}/modeldeployments/churn"
    api.must("PATCH", f"{path}/status", {"status": STATUS}, content_type=MERGE)
    return namespace


def test_status_lists_what_is_guarded(api, guarded):
    code, text = run(api, "status", "-n", guarded)
    assert code == 0, text
    assert re.search(rf"{guarded} churn Alarmed False 4bd29e30ae errors churn-1 AwaitingApproval", text)
    assert run(api, "status", "-A")[0] == 0


def test_status_of_one_shows_what_is_wrong_and_what_was_decided(api, guarded):
    decide(api, guarded, "AwaitingApproval")
    code, text = run(api, "status", "churn", "-n", guarded)
    assert code == 0, text
    for part in ("ObjectiveBroken", "20.1", "15.2", "20% are bad", "churn-1", "Rollback"):
        assert part in text


def test_a_namespace_without_any_says_so(api, namespace):
    assert run(api, "status", "-n", namespace) == (0, f"No ModelDeployments in {namespace}. ")


def test_an_approval_is_under_the_callers_own_name(api, namespace):
    allow(api, namespace, "ann", WRITE, PATCH_DECISIONS, APPROVE)
    path = decide(api, namespace, "AwaitingApproval")
    assert run(api.acting_as(ANN), "approve", "churn-1", "-n", namespace) == (0, "Decision churn-1 approved by ann. ")
    meta = api.must("GET", path)["metadata"]
    assert meta["annotations"]["onguard.dev/approved-by"] == "ann"
    assert "onguard-cli" in {entry["manager"] for entry in meta["managedFields"]}


@pytest.mark.parametrize(
    ("rights", "phase", "name", "message"),
    [
        ([PATCH_DECISIONS], "AwaitingApproval", "churn-1", '"ann" may not approve decisions'),
        ([], "AwaitingApproval", "churn-1", "is forbidden"),
        ([PATCH_DECISIONS, APPROVE], "Held", "churn-1", "expected a Decision that awaits approval, got churn-1 in"),
        ([PATCH_DECISIONS, APPROVE], "AwaitingApproval", "other", "not found"),
    ],
)
def test_what_can_not_be_approved_says_why(api, namespace, rights, phase, name, message):
    allow(api, namespace, "ann", WRITE, *rights)
    path = decide(api, namespace, phase)
    code, text = run(api.acting_as(ANN), "approve", name, "-n", namespace)
    assert (code, message in text) == (2, True), text
    assert "onguard.dev/approved-by" not in api.must("GET", path)["metadata"].get("annotations", {})


def test_without_a_kubeconfig_it_is_said_which_file_was_looked_for():
    result = CliRunner().invoke(app, ["status"], env={"KUBECONFIG": "/nonexistent/config", "COLUMNS": "200"})
    assert result.exit_code == 2
    assert "no file /nonexistent/config" in re.sub(r"\s+", " ", result.output)
