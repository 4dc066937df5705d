"""Sample pods and settings of the injection tests."""

from onguard.spec import parse_spec
from onguard_operator.inject import Guard
from onguard_operator.sidecar_containers import Settings

SETTINGS = Settings(
    image="registry.test/onguard-sidecar:1",
    pull_policy="IfNotPresent",
    kubernetes=(1, 34),
    wire_resources={"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}},
    analyst_resources={"requests": {"cpu": "20m", "memory": "96Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}},
)
SPEC = {"targetRef": {"name": "churn"}, "reference": {"configMap": {"name": "churn-profile"}}}


def guard(**changes):
    return Guard(name="churn", spec=parse_spec(SPEC | changes))


def model(**changes):
    return {
        "name": "model",
        "image": "churn:1",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        **changes,
    }


def pod(*, metadata=None, containers=None, **spec):
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "churn-5d4f", "uid": "rs-1", "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "churn-5d4f-",
            "labels": {"app": "churn", "pod-template-hash": "5d4f"},
            "ownerReferences": [owner],
            **(metadata or {}),
        },
        "spec": {"containers": containers or [model()], **spec},
    }
