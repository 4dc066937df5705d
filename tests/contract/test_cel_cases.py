"""The end-to-end tests show every rule of both schemas; that one is missing is known without a cluster."""

from collections.abc import Iterator
from typing import Any

import yaml

from tests.e2e import test_validation_e2e as cases
from tests.stage.kube import ROOT


def rules(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (rule["message"] for rule in node.get("x-kubernetes-validations", ()))
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from rules(value)


def test_every_rule_of_both_schemas_has_a_case_that_the_real_server_refuses() -> None:
    shown = [message for _, _, message in cases.BAD_FIELDS] + [message for _, message in cases.BAD_DECISIONS]
    shown += [cases.LONG_NAME, cases.ATTEMPT, cases.RECORD]
    files = sorted((ROOT / "charts" / "onguard" / "files" / "crds").glob("*.yaml"))
    messages = {message for file in files for message in rules(yaml.safe_load(file.read_text()))}
    assert len(files) == 2
    assert [message for message in messages if not any(part in message for part in shown)] == []
