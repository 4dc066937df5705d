"""
The baseline arm: one pod of the last good revision beside a new one, behind the same Service.

A ReplicaSet of our own makes it. Its pods carry the model's labels, so that the Service sends them traffic, and a
controller, so that the model's ReplicaSets adopt none of them; its selector matches its own pods only.
"""

from onguard import contract
from onguard.spec import BaselineMode
from onguard_operator import naming, rollback
from onguard_operator.objects import Object, labels_of, name_of, namespace_of, owner_reference
from onguard_operator.observe import Observed
from onguard_operator.release import History, Standing


def wanted_revision(seen: Observed, history: History) -> str | None:
    """
    Revision that should run as the baseline now; None: no baseline arm.

    Only while a candidate bakes beside a good revision, and only if the target is neither paused nor going away.
    """
    current = history.now_serving
    if seen.target is None or seen.spec.release.baseline.mode is not BaselineMode.SERVE:
        return None
    if current is None or current.standing is not Standing.CANDIDATE or seen.target["spec"].get("paused"):
        return None
    if seen.target["spec"].get("replicas", 1) == 0:
        return None
    good = history.rollback_target
    return (
        good
        if good is not None and rollback.template_of(seen.good_templates, good, seen.contents) is not None
        else None
    )


def replica_set(mdep: Object, revision: str, template: Object) -> Object:
    """Build the ReplicaSet of the baseline arm, with one pod of ``template``."""
    own = {contract.LABEL_MODEL_DEPLOYMENT: name_of(mdep), contract.LABEL_ARM: contract.ARM_BASELINE}
    metadata = template.get("metadata") or {}
    pod_labels = {**(metadata.get("labels") or {}), **own, contract.LABEL_REVISION: revision}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": naming.baseline(name_of(mdep)),
            "namespace": namespace_of(mdep),
            "labels": {**own, contract.LABEL_REVISION: revision},
            "ownerReferences": [owner_reference(mdep)],
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": own},
            "template": {**template, "metadata": {**metadata, "labels": pod_labels}},
        },
    }


def is_of(existing: Object, revision: str) -> bool:
    """Whether the existing baseline arm runs this revision."""
    return labels_of(existing).get(contract.LABEL_REVISION) == revision
