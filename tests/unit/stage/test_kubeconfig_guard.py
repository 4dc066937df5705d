from pathlib import Path

import pytest
import yaml

from tests.stage.kube import StageError, require_ours, stays, wait_for


def kubeconfig(folder: Path, context: str | None) -> Path:
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": context}))
    return path


@pytest.mark.parametrize("context", ["production", "kind-other", "", None, "onguard-production"])
def test_a_kubeconfig_that_the_local_cluster_did_not_make_is_refused(tmp_path: Path, context: str | None) -> None:
    with pytest.raises(StageError, match="expected a cluster made by tests/cluster"):
        require_ours(kubeconfig(tmp_path, context))


@pytest.mark.parametrize("context", ["onguard", "kind-onguard"])
def test_our_own_kubeconfig_is_taken(tmp_path: Path, context: str) -> None:
    require_ours(kubeconfig(tmp_path, context))


def test_waiting_names_what_did_not_come() -> None:
    with pytest.raises(StageError, match="a pod: not within 0 s"):
        wait_for("a pod", lambda: None, timeout_s=0.0, every_s=0.0)
    assert wait_for("a pod", lambda: "pod", timeout_s=0.0) == "pod"


def test_what_no_longer_holds_is_named_at_once() -> None:
    answers = iter([True, False])
    with pytest.raises(StageError, match="quiet: no longer so"):
        stays("quiet", lambda: next(answers), seconds=5.0, every_s=0.0)
