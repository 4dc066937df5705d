"""The kinds of objects that the operator reads or writes, and where the API serves them."""

from enum import Enum
from typing import Final

from onguard import contract


class Kind(Enum):
    """``(apiVersion, kind, resource)``."""

    MODEL_DEPLOYMENT = (contract.API_VERSION, contract.MODEL_DEPLOYMENT, contract.MODEL_DEPLOYMENTS)
    DECISION = (contract.API_VERSION, contract.DECISION, contract.DECISIONS)
    NAMESPACE = ("v1", "Namespace", "namespaces")
    POD = ("v1", "Pod", "pods")
    SERVICE = ("v1", "Service", "services")
    CONFIG_MAP = ("v1", "ConfigMap", "configmaps")
    EVENT = ("v1", "Event", "events")
    DEPLOYMENT = ("apps/v1", "Deployment", "deployments")
    REPLICA_SET = ("apps/v1", "ReplicaSet", "replicasets")
    CONTROLLER_REVISION = ("apps/v1", "ControllerRevision", "controllerrevisions")
    CRON_JOB = ("batch/v1", "CronJob", "cronjobs")
    JOB = ("batch/v1", "Job", "jobs")
    ENDPOINT_SLICE = ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
    LEASE = ("coordination.k8s.io/v1", "Lease", "leases")
    POD_METRICS = ("metrics.k8s.io/v1beta1", "PodMetrics", "pods")
    ACCESS_REVIEW = ("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews")
    SELF_REVIEW = ("authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews")

    @property
    def api_version(self) -> str:
        """``group/version``, or ``v1`` for the core group."""
        return self.value[0]

    @property
    def kind(self) -> str:
        """Name of the kind in objects."""
        return self.value[1]

    @property
    def resource(self) -> str:
        """Plural name in paths and in RBAC."""
        return self.value[2]

    @property
    def group(self) -> str:
        """API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """
        Path of a collection or of one object.

        >>> Kind.DEPLOYMENT.path("shop", "churn")
        '/apis/apps/v1/namespaces/shop/deployments/churn'
        >>> Kind.NAMESPACE.path(name="shop")
        '/api/v1/namespaces/shop'
        """
        root = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        parts = [root, *(("namespaces", namespace) if namespace else ()), self.resource, name, subresource]
        return "/".join(part for part in parts if part)


_BY_KIND: Final = {(kind.api_version, kind.kind): kind for kind in Kind}


def kind_of(api_version: str, kind: str) -> Kind | None:
    """Find a kind by what a reference says; None if the operator does not know it."""
    return _BY_KIND.get((api_version, kind))
