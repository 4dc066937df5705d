"""Retraining as values: the Job that a CronJob's template becomes, with the evidence mounted."""

import json
from typing import Final

from onguard import contract
from onguard_operator import naming
from onguard_operator.objects import Object, name_of, namespace_of, owner_reference

BACKOFF_LIMIT: Final = 2
ACTIVE_DEADLINE_S: Final = 6 * 3600
TTL_S: Final = 7 * 86400
"""Used where the CronJob's template does not say: a training that fails, hangs or ends must not stay for ever."""
_MANUAL: Final = {"cronjob.kubernetes.io/instantiate": "manual"}
"""What kubectl writes for ``kubectl create job --from=cronjob/x``."""


def evidence_of(decision: Object) -> Object:
    """Build the ConfigMap that the Job mounts: the record of the decision, as JSON."""
    text = json.dumps({"decision": name_of(decision), **decision["spec"]}, indent=1, sort_keys=True)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(decision),
        "data": {contract.FILE_EVIDENCE: text},
    }


def job_of(decision: Object, cron_job: Object) -> Object:
    """Build the Job: the CronJob's template, the evidence, ``ONGUARD_*`` variables, limits where none are set."""
    template = cron_job["spec"]["jobTemplate"]
    spec = template["spec"]
    metadata = _metadata(decision)
    theirs = template.get("metadata") or {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **metadata,
            "labels": {**(theirs.get("labels") or {}), **metadata["labels"]},
            "annotations": {
                **(theirs.get("annotations") or {}),
                **_MANUAL,
                contract.ANNOTATION_DECISION: name_of(decision),
            },
        },
        "spec": {
            "backoffLimit": BACKOFF_LIMIT,
            "activeDeadlineSeconds": ACTIVE_DEADLINE_S,
            "ttlSecondsAfterFinished": TTL_S,
            **spec,
            "template": _pod_template(decision, spec["template"]),
        },
    }


def _metadata(decision: Object) -> Object:
    return {
        "name": naming.retrain_job(name_of(decision)),
        "namespace": namespace_of(decision),
        "labels": {contract.LABEL_MODEL_DEPLOYMENT: decision["spec"]["modelDeployment"]["name"]},
        "ownerReferences": [owner_reference(decision)],
    }


def _pod_template(decision: Object, template: Object) -> Object:
    metadata, spec = template.get("metadata") or {}, template["spec"]
    annotations = {**(metadata.get("annotations") or {}), contract.ANNOTATION_INJECT: "disabled"}
    volume = {"name": contract.VOLUME_EVIDENCE, "configMap": {"name": naming.retrain_job(name_of(decision))}}
    others = [v for v in spec.get("volumes") or () if v["name"] != contract.VOLUME_EVIDENCE]
    containers = [_with_evidence(decision, container) for container in spec["containers"]]
    return {
        **template,
        "metadata": {**metadata, "annotations": annotations},
        "spec": {**spec, "containers": containers, "volumes": [*others, volume]},
    }


def _with_evidence(decision: Object, container: Object) -> Object:
    spec = decision["spec"]
    ours = {
        contract.ENV_JOB_MODEL: spec["modelDeployment"]["name"],
        contract.ENV_JOB_DECISION: name_of(decision),
        contract.ENV_JOB_CAUSE: spec["cause"],
        contract.ENV_JOB_EVIDENCE: f"{contract.DIR_EVIDENCE}/{contract.FILE_EVIDENCE}",
    }
    variables = [v for v in container.get("env") or () if v["name"] not in ours]
    mounts = [m for m in container.get("volumeMounts") or () if m["mountPath"] != contract.DIR_EVIDENCE]
    mount = {"name": contract.VOLUME_EVIDENCE, "mountPath": contract.DIR_EVIDENCE, "readOnly": True}
    return {
        **container,
        "env": [*variables, *({"name": name, "value": value} for name, value in ours.items())],
        "volumeMounts": [*mounts, mount],
    }


def outcome_of(job: Object) -> tuple[bool, str] | None:
    """Whether the Job succeeded, and what it says; None while it runs."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("status") == "True" and condition["type"] in ("Complete", "Failed"):
            text = condition.get("message") or condition.get("reason") or condition["type"]
            return condition["type"] == "Complete", str(text)
    return None
