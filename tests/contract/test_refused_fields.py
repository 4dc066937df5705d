"""What the schema knows but no program does yet is refused by a rule; what is offered is done."""

import re

from onguard import contract
from onguard_sidecar.decoding.formats import FORMATS
from tests.contract.reference_page import ROOT
from tests.contract.test_crds_contract import SPEC


def rules_at(path):
    schema = SPEC
    for name in path.split("."):
        schema = schema.get("items", schema)["properties"][name]
    return [(rule["rule"], rule["message"]) for rule in schema.get("x-kubernetes-validations", ())]


def test_the_protocols_that_are_accepted_are_those_that_are_decoded():
    (rule, message), *_ = rules_at("traffic.ports.protocol")
    assert tuple(re.findall(r"'([a-z0-9-]+)'", rule)) == contract.PROTOCOLS
    assert tuple(re.findall(r'"([a-z0-9-]+)"', message)) == contract.PROTOCOLS
    assert set(FORMATS) | {contract.PROTOCOL_AUTO} >= set(contract.PROTOCOLS)


def test_fields_without_effect_are_refused_and_the_limits_page_says_so():
    limits = (ROOT / "docs" / "limits.md").read_text()
    for path, rule in {
        "traffic.client": "false",
        "release.baseline.mode": "self != 'Shadow'",
        "wire.workers": "self == 1",
    }.items():
        assert rule in [found for found, _ in rules_at(path)], path
        assert all("not available in this version" in message for _, message in rules_at(path))
        assert path in limits
