from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onguard.spec import parse_spec
from onguard_operator.gate import alerts, tokens
from onguard_operator.gate.alerts import Alert, Hint, Outcome, Webhook

NOW = datetime(2026, 11, 25, 2, tzinfo=UTC)
MDEP = {
    "apiVersion": "onguard.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "churn", "namespace": "shop", "uid": "u-1"},
}
SPEC = parse_spec(
    {"targetRef": {"name": "churn"}, "triggers": [{"alert": "Drop"}, {"alert": "Look", "action": "Hold"}]}
)
LABELS = {"alertname": "Drop", "namespace": "shop", "model": "churn"}


def hint(**changes):
    return Hint(
        **{"namespace": "shop", "model": "churn", "alert": "Drop", "fingerprint": "00ff", "starts_at": NOW} | changes
    )


def sorted_out(**changes):
    alert = Alert(**{"status": "firing", "starts_at": NOW, "fingerprint": "00ff", "labels": LABELS} | changes)
    (found,) = alerts.hints(Webhook(version="4", alerts=[alert]), NOW)
    return found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, hint()),
        ({"status": "resolved"}, Outcome.RESOLVED),
        ({"status": "?"}, Outcome.RESOLVED),
        ({"labels": {}}, Outcome.NOT_OURS),
        ({"fingerprint": ""}, Outcome.NOT_OURS),
        ({"starts_at": NOW + timedelta(minutes=4)}, hint(starts_at=NOW + timedelta(minutes=4))),
        ({"starts_at": NOW + timedelta(minutes=6)}, Outcome.FUTURE),
        ({"starts_at": NOW.replace(tzinfo=None)}, hint()),
    ],
)
def test_an_alert_is_a_hint_or_nothing_for_us(changes, expected):
    assert sorted_out(**changes) == expected


@given(st.integers(-12, 14))
def test_the_name_depends_on_the_moment_not_on_how_it_is_written(hours):
    elsewhere = NOW.astimezone(timezone(timedelta(hours=hours)))
    assert alerts.decision_name(hint(starts_at=elsewhere), MDEP) == alerts.decision_name(hint(), MDEP)


@pytest.mark.parametrize("other", [hint(fingerprint="00fe"), hint(starts_at=NOW + timedelta(seconds=1))])
def test_another_alert_is_another_decision(other):
    assert alerts.decision_name(other, MDEP) != alerts.decision_name(hint(), MDEP)


def test_a_model_deployment_that_was_made_anew_inherits_nothing():
    again = {**MDEP, "metadata": {**MDEP["metadata"], "uid": "u-2"}}
    assert alerts.decision_name(hint(), again) != alerts.decision_name(hint(), MDEP)


@pytest.mark.parametrize(("alert", "action"), [("Drop", "Rollback"), ("Look", "Hold"), ("Else", None)])
def test_a_trigger_gives_the_action(alert, action):
    made = alerts.decision(hint(alert=alert), MDEP, SPEC, NOW)
    assert (made["spec"]["action"] if made else None) == action


@given(st.text(max_size=200))
def test_a_fingerprint_is_stored_bounded_whatever_comes(text):
    made = alerts.decision(hint(fingerprint=text), MDEP, SPEC, NOW)
    assert len(made["spec"]["trigger"]["fingerprint"]) <= 64


@given(st.text(min_size=16, max_size=40, alphabet=st.characters(exclude_categories=("Z", "C"))), st.text(max_size=50))
def test_only_the_whole_token_is_the_token(token, shown):
    grants = tokens.parse(token)
    assert (tokens.check(f"Bearer {shown}", grants) is not None) == (shown.strip() == token)
