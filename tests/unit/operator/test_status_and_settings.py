from datetime import UTC, datetime

import pytest

from onguard_operator import handlers, naming, status
from onguard_operator.settings import Settings, SettingsError
from onguard_operator.status import fails, holds, unknown

NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
OLD = {
    "type": "Injected",
    "status": "True",
    "reason": "AllPods",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("condition", "since", "is_news"),
    [
        (holds("Injected", "AllPods", "3 pods"), "2026-01-01T00:00:00Z", False),
        (holds("Injected", "Other"), "2026-01-01T00:00:00Z", True),
        (fails("Injected", "SidecarStuck", "x"), "2026-11-25T02:00:00Z", True),
    ],
)
def test_a_transition_time_moves_with_the_status_and_news_is_what_changed(condition, since, is_news) -> None:
    merged, changes = status.merge([OLD], [condition], generation=3, now=NOW)
    assert merged[0]["lastTransitionTime"] == since
    assert merged[0]["observedGeneration"] == 3
    assert bool(changes) is is_news


def test_that_all_is_well_from_the_start_is_no_news() -> None:
    _, changes = status.merge(
        [], [holds("Injected", "AllPods"), fails("TargetFound", "TargetNotFound", "x")], generation=1, now=NOW
    )
    assert [change.condition.type for change in changes] == ["TargetFound"]


def test_conditions_of_others_stay() -> None:
    merged, _ = status.merge([{**OLD, "type": "Theirs"}], [holds("Injected", "AllPods")], generation=1, now=NOW)
    assert [c["type"] for c in merged] == ["Injected", "Theirs"]


@pytest.mark.parametrize(
    ("conditions", "flags", "phase"),
    [
        ([], {}, "Guarding"),
        ([], {"watching": True}, "Watching"),
        ([unknown("Scrapable", "NoGuardedPods")], {}, "Pending"),
        ([fails("Scrapable", "TimedOut", "")], {}, "Degraded"),
        ([fails("Scrapable", "TimedOut", "")], {"alarmed": True}, "Alarmed"),
        ([], {"alarmed": True, "acting": True}, "Acting"),
        ([fails("ActionsAllowed", "ActionsForbidden", "")], {}, "Guarding"),
    ],
)
def test_the_phase_is_one_word_for_the_whole(conditions: list, flags: dict, phase: str) -> None:
    usual = {"alarmed": False, "acting": False, "watching": False}
    assert status.phase(conditions, **(usual | flags)) == phase


ENV = {
    "ONGUARD_OPERATOR_NAMESPACE": "onguard",
    "ONGUARD_POD_NAME": "op",
    "ONGUARD_SIDECAR_IMAGE": "s:1",
    "ONGUARD_COUNTS_KEY_FILE": "/nowhere",
}


def test_settings_name_everything_that_is_missing(tmp_path) -> None:
    with pytest.raises(SettingsError, match="ONGUARD_POD_NAME, ONGUARD_SIDECAR_IMAGE"):
        Settings.from_env({k: v for k, v in ENV.items() if "OPERATOR" in k or "KEY" in k})
    with pytest.raises(SettingsError, match="port number"):
        Settings.from_env(ENV | {"ONGUARD_METRICS_PORT": "x"})
    with pytest.raises(SettingsError, match="can't be read"):
        Settings.from_env(ENV).read_key()
    (tmp_path / "key").write_bytes(b"short\n")
    with pytest.raises(SettingsError, match="got 5"):
        Settings.from_env(ENV | {"ONGUARD_COUNTS_KEY_FILE": str(tmp_path / "key")}).read_key()


def test_kopf_is_told_to_try_for_ever() -> None:
    backoffs = iter(handlers.Backoffs())
    waits = [next(backoffs) for _ in range(1000)]
    assert max(waits) <= handlers.LONGEST_BACKOFF_S
    assert min(waits[10:]) >= 0.8 * handlers.LONGEST_BACKOFF_S
    assert waits[0] <= 1


@pytest.mark.parametrize("length", [1, 40, 52, 253])
def test_every_name_is_a_label_value_and_tells_models_apart(length: int) -> None:
    one, two = "m" * (length - 1) + "a", "m" * (length - 1) + "b"
    for make in (
        naming.sidecar_config_name,
        naming.baseline,
        naming.retrain_job,
        lambda name: naming.good_revision(name, "0123456789"),
        lambda name: naming.decision(name, "0123456789"),
        lambda name: naming.retrain_job(naming.decision(name, "0123456789")),
    ):
        assert len(make(one)) <= naming.MAX_NAME
        assert make(one) != make(two)
        assert make(one) == make(one)
