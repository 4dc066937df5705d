"""
The only code that calls the Kubernetes API: kinds, requests, errors of our own.

Objects travel as the API server's JSON (``Object``); what they mean is decided elsewhere.
"""

from onguard_operator.cluster.client import Cluster, open_cluster
from onguard_operator.cluster.errors import (
    ClusterError,
    ConflictError,
    ExistsError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from onguard_operator.cluster.kinds import Kind, kind_of

__all__ = [
    "Cluster",
    "ClusterError",
    "ConflictError",
    "ExistsError",
    "ForbiddenError",
    "InvalidError",
    "Kind",
    "NotFoundError",
    "UnavailableError",
    "kind_of",
    "open_cluster",
]
