import re
import shutil
import subprocess
from pathlib import Path

import pytest

from onguard import contract
from tests.monitoring import queries

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {value for name, value in vars(contract).items() if name.startswith("METRIC_") and name != "METRIC_PREFIX"}
PANELS = list(queries.panels())
RULES = queries.rules()
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()


@pytest.mark.parametrize(("title", "query"), PANELS)
def test_every_metric_of_a_panel_is_in_the_contract(title: str, query: str) -> None:
    assert queries.metrics(query)
    assert queries.metrics(query) <= KNOWN


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_metric_of_an_alert_is_in_the_contract(rule: dict) -> None:
    assert queries.metrics(rule["expr"])
    assert queries.metrics(rule["expr"]) <= KNOWN


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_links_to_its_entry_of_the_runbook(rule: dict) -> None:
    anchor = rule["alert"].lower()
    assert rule["annotations"]["runbook_url"].endswith(f"runbook#{anchor}")
    assert re.search(rf"^## {rule['alert']}$", RUNBOOK, re.MULTILINE)
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]


def test_the_runbook_has_no_entry_for_an_alert_that_is_gone() -> None:
    entries = set(re.findall(r"^## (OnGuard\w+)$", RUNBOOK, re.MULTILINE))
    assert entries == {rule["alert"] for rule in RULES}


def test_every_metric_is_explained_and_nothing_else_is() -> None:
    named = {queries._HISTOGRAM.sub("", name) for name in re.findall(r"^\| `(onguard_\w+)`", METRICS, re.MULTILINE)}
    assert named == KNOWN


def test_alerts_about_models_fire_on_verdicts_only() -> None:
    groups = {rule["alert"]: queries.metrics(rule["expr"]) for rule in RULES}
    distances = {contract.METRIC_FEATURE_PSI, contract.METRIC_FEATURE_KS, contract.METRIC_FEATURE_MISSING}
    assert not any(named & distances for named in groups.values())


def test_panels_neither_overlap_nor_leave_the_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in queries.dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_panel_ids_are_unique_and_each_panel_says_what_it_shows() -> None:
    panels = queries.dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["description"] for panel in panels if panel["type"] != "row")


def test_the_rules_hold_against_promtool() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: apt-get install --no-install-recommends prometheus"
    for command in (
        ["check", "rules", "charts/onguard/files/alerts.yaml"],
        ["test", "rules", "tests/data/alerts_test.yaml"],
    ):
        done = subprocess.run([promtool, *command], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
