"""Where evidence outlives the operator: one ConfigMap a ModelDeployment, in the operator's own namespace."""

import base64
import binascii
import logging
import random
from typing import Final

from onguard import contract
from onguard.states import StateError
from onguard_operator import naming
from onguard_operator.cluster import Cluster, Kind
from onguard_operator.evidence import Evidence
from onguard_operator.objects import Object, name_of, namespace_of, uid_of

KEY: Final = "evidence"
EVERY_S: Final = 300.0
LABEL: Final = {"onguard.dev/evidence": "true"}
_ANNOTATION_OF: Final = "onguard.dev/model"
_log = logging.getLogger(__name__)


class Store:
    """
    Loads and saves evidence.

    What is loaded is read live; what is saved is the whole value in one write.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._saved: dict[str, tuple[float, float]] = {}

    async def load(self, uid: str) -> Evidence:
        """
        Read the evidence of a ModelDeployment; an unreadable one is as good as none.

        Raises:
            ClusterError: if nothing is known; starting anew then would forget what was decided.
        """
        found = await self._cluster.find(Kind.CONFIG_MAP, self._namespace, naming.evidence(uid))
        text = ((found or {}).get("binaryData") or {}).get(KEY)
        if not text:
            return Evidence()
        try:
            return Evidence.decode(base64.b64decode(text))
        except (StateError, binascii.Error) as error:
            _log.warning("evidence of %s is left aside: %s", uid, error)
            return Evidence()

    def is_due(self, uid: str, now: float) -> bool:
        """Whether the regular save is due: every five minutes, spread over the models."""
        last, interval = self._saved.get(uid, (0.0, 0.0))
        return now - last >= interval

    async def save(self, mdep: Object, evidence: Evidence, now: float) -> None:
        """
        Write it all.

        Raises:
            ClusterError: nothing may be done that relies on it.
        """
        uid = uid_of(mdep)
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": naming.evidence(uid),
                "namespace": self._namespace,
                "labels": {**LABEL, "app.kubernetes.io/managed-by": contract.FIELD_MANAGER},
                "annotations": {_ANNOTATION_OF: f"{namespace_of(mdep)}/{name_of(mdep)}"},
            },
            "binaryData": {KEY: base64.b64encode(evidence.encode()).decode()},
        }
        await self._cluster.apply(Kind.CONFIG_MAP, body)
        self._saved[uid] = (now, EVERY_S * random.uniform(0.8, 1.0))  # noqa: S311 - spreads load, guards nothing

    async def sweep(self, living: frozenset[str]) -> None:
        """Delete the evidence of ModelDeployments that are gone; ``living`` must come from a complete list."""
        for found in await self._cluster.list(Kind.CONFIG_MAP, self._namespace, labels=LABEL):
            uid = name_of(found).removeprefix(naming.evidence(""))
            if uid not in living:
                await self._cluster.delete(Kind.CONFIG_MAP, found)
                self._saved.pop(uid, None)
