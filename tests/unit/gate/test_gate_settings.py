import pytest

from onguard_operator.gate.settings import ConfigError, from_env

COMPLETE = {
    "ONGUARD_SIDECAR_IMAGE": "sidecar:1",
    "ONGUARD_SIDECAR_RESOURCES": '{"wire": {}, "analyst": {}}',
    "ONGUARD_GATE_CERTIFICATE_DIR": "/c",
    "ONGUARD_GATE_TOKENS_FILE": "/t",
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
}


def test_a_complete_environment_is_read():
    read = from_env({**COMPLETE, "ONGUARD_SIDECAR_PULL_SECRETS": "a,b", "ONGUARD_DRAIN_SLEEP_SECONDS": "7"})
    assert (read.api_server, read.pull_secrets, read.drain_sleep_s) == ("https://10.96.0.1:443", ("a", "b"), 7)
    assert (read.pull_policy, read.scrape_annotations) == (None, False)


def test_all_faults_are_told_at_once():
    with pytest.raises(ConfigError) as refused:
        from_env({"ONGUARD_DRAIN_SLEEP_SECONDS": "soon"})
    for name in (*COMPLETE, "ONGUARD_DRAIN_SLEEP_SECONDS"):
        assert name in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"wire": {}}', '{"wire": 1, "analyst": {}}'])
def test_resources_that_are_not_both_are_refused(text):
    with pytest.raises(ConfigError, match='expected JSON with the resources of "wire" and "analyst"'):
        from_env({**COMPLETE, "ONGUARD_SIDECAR_RESOURCES": text})
