"""Requests to the API server over ``kubernetes.aio``, with a deadline each and errors of our own."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config

from onguard import contract
from onguard_operator.cluster.errors import ConflictError, InvalidError, NotFoundError, UnavailableError, of_response
from onguard_operator.cluster.kinds import Kind
from onguard_operator.cluster.recent import Question, Recent
from onguard_operator.objects import Object

PAGE: Final = 500
"""Objects per list request: a whole namespace never has to fit into one answer."""
DEADLINE_S: Final = 20.0
_JSON: Final = "application/json"
_JSON_PATCH: Final = "application/json-patch+json"
_MERGE: Final = "application/merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"


class Cluster:
    """
    The API server. Every method raises ``ClusterError`` and nothing else.

    Reads are live (no ``resourceVersion``, so never from a cache behind the store): what is decided on them
    may be destructive. Only a reader that says ``within`` gets an answer that is up to so many seconds old.
    """

    def __init__(self, api: kubernetes_client.ApiClient, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._recent = Recent(monotonic)

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        """Read one object."""
        return await self._request("GET", kind.path(namespace, name))

    async def find(self, kind: Kind, namespace: str | None, name: str, *, within: float = 0.0) -> Object | None:
        """Read one object; None where there is none."""
        question = Question("get", kind, namespace, name)
        found: Object | None = await self._recent.ask(question, within, lambda: self._find(kind, namespace, name))
        return found

    async def _find(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        try:
            return await self.get(kind, namespace, name)
        except NotFoundError:
            return None

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        within: float = 0.0,
    ) -> list[Object]:
        """Read all objects of a kind, in pages; ``apiVersion`` and ``kind`` are filled in."""
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        question = Question("list", kind, namespace, selector)
        found: list[Object] = await self._recent.ask(question, within, lambda: self._list(kind, namespace, selector))
        return found

    async def _list(self, kind: Kind, namespace: str | None, selector: str) -> Sequence[Object]:
        found: list[Object] = []
        query = {"limit": str(PAGE), **({"labelSelector": selector} if selector else {})}
        while True:
            page = await self._request("GET", kind.path(namespace), query=query)
            found += [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in page.get("items") or ()]
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    async def create(self, kind: Kind, body: Object) -> Object:
        """Create; ExistsError if the name is taken."""
        namespace = (body.get("metadata") or {}).get("namespace")
        return await self._write(kind, namespace, "POST", kind.path(namespace), body=body, query=_MANAGER)

    async def apply(self, kind: Kind, body: Object) -> Object:
        """Server-side apply under our field manager; fields of others that we name are taken over."""
        meta = body["metadata"]
        return await self._write(
            kind,
            meta.get("namespace"),
            "PATCH",
            kind.path(meta.get("namespace"), meta["name"]),
            body=body,
            query={**_MANAGER, "force": "true"},
            content_type=_APPLY,
        )

    async def patch(
        self,
        kind: Kind,
        target: Object,
        change: Object,
        *,
        subresource: str | None = None,
        manager: str = contract.FIELD_MANAGER,
    ) -> Object:
        """
        Merge-patch exactly the object that was read.

        ``uid`` and ``resourceVersion`` of ``target`` go along as preconditions: ConflictError if it has changed.
        """
        meta = target["metadata"]
        pinned = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        body = {**change, "metadata": {**change.get("metadata", {}), **pinned}}
        path = kind.path(meta.get("namespace"), meta["name"], subresource)
        query = {"fieldManager": manager}
        return await self._write(
            kind, meta.get("namespace"), "PATCH", path, body=body, query=query, content_type=_MERGE
        )

    async def edit(self, kind: Kind, target: Object, operations: Sequence[Object]) -> Object:
        """
        Apply JSON Patch operations to exactly the object that was read, or nothing: ConflictError if it has changed.

        Unlike a merge, a ``replace`` leaves no field of the old value behind.
        """
        meta = target["metadata"]
        tests = [
            {"op": "test", "path": f"/metadata/{field}", "value": meta[field]} for field in ("uid", "resourceVersion")
        ]
        space, path = meta.get("namespace"), kind.path(meta.get("namespace"), meta["name"])
        body = [*tests, *operations]
        try:
            return await self._write(kind, space, "PATCH", path, body=body, query=_MANAGER, content_type=_JSON_PATCH)
        except InvalidError as error:
            # A failed `test` is answered with 422, like content that the server refuses; only the first is a race.
            current = await self.get(kind, meta.get("namespace"), meta["name"])
            if current["metadata"]["resourceVersion"] != meta["resourceVersion"]:
                raise ConflictError(f"PATCH {path}: changed since it was read") from error
            raise

    async def delete(self, kind: Kind, target: Object) -> None:
        """Delete exactly this object (by uid), its dependents in the background; gone already is fine."""
        meta = target["metadata"]
        options = {"preconditions": {"uid": meta["uid"]}, "propagationPolicy": "Background"}
        try:
            space = meta.get("namespace")
            await self._write(kind, space, "DELETE", kind.path(space, meta["name"]), body=options)
        except NotFoundError:
            return

    async def is_allowed(self, verb: str, kind: Kind, namespace: str, *, within: float = 0.0) -> bool:
        """Ask whether the operator itself may do this in this namespace."""
        question = Question("review", kind, namespace, verb)
        return bool(await self._recent.ask(question, within, lambda: self._review(verb, kind, namespace)))

    async def _review(self, verb: str, kind: Kind, namespace: str) -> bool:
        attributes = {"namespace": namespace, "verb": verb, "group": kind.group, "resource": kind.resource}
        review = {
            "apiVersion": Kind.ACCESS_REVIEW.api_version,
            "kind": Kind.ACCESS_REVIEW.kind,
            "spec": {"resourceAttributes": attributes},
        }
        answer = await self._request("POST", Kind.ACCESS_REVIEW.path(), body=review)
        return bool((answer.get("status") or {}).get("allowed"))

    async def version(self) -> tuple[int, int]:
        """``(major, minor)`` of the API server."""
        answer = await self._request("GET", "/version")
        return int(answer["major"]), int("".join(c for c in answer["minor"] if c.isdigit()))

    async def close(self) -> None:
        """End reads that nobody waits for any more."""
        await self._recent.close()

    async def _write(self, kind: Kind, namespace: str | None, method: str, path: str, **request: Any) -> Object:
        try:
            return await self._request(method, path, **request)
        finally:
            self._recent.forget(kind, namespace)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Object | Sequence[Object] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = _JSON,
    ) -> Object:
        what = f"{method} {path}"
        try:
            async with asyncio.timeout(DEADLINE_S):
                serialized = await self._api.param_serialize(
                    method,
                    quote(path, safe="/"),
                    query_params=list((query or {}).items()),
                    header_params={"Accept": _JSON, "Content-Type": content_type},
                    body=body,
                    auth_settings=["BearerToken"],
                )
                response = await self._api.call_api(*serialized, _request_timeout=DEADLINE_S)
                read: Callable[[], Awaitable[bytes]] = response.read
                data = await read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise UnavailableError(f"{what}: {type(error).__name__}") from error
        if response.status >= 400:
            raise of_response(what, response.status, data)
        return _decode(what, data)


_MANAGER: Final[Mapping[str, str]] = {"fieldManager": contract.FIELD_MANAGER}


def _decode(what: str, data: bytes) -> Object:
    try:
        document: Any = json.loads(data or b"{}")
    except ValueError as error:
        raise UnavailableError(f"{what}: expected JSON, got {len(data)} bytes of something else") from error
    if not isinstance(document, dict):
        raise UnavailableError(f"{what}: expected a JSON object, got {type(document).__name__}")
    return document


@asynccontextmanager
async def open_cluster(environment: Mapping[str, str] | None = None) -> AsyncIterator[Cluster]:
    """Connect as a pod does, or with ``KUBECONFIG`` outside a cluster; closed on exit."""
    env = os.environ if environment is None else environment
    configuration = kubernetes_client.Configuration()
    if "KUBERNETES_SERVICE_HOST" in env and not env.get("KUBECONFIG"):
        in_cluster: Callable[..., None] = kubernetes_config.load_incluster_config
        in_cluster(client_configuration=configuration)
    else:
        from_file: Callable[..., Awaitable[None]] = kubernetes_config.load_kube_config
        await from_file(config_file=env.get("KUBECONFIG"), client_configuration=configuration, persist_config=False)
    async with kubernetes_client.ApiClient(configuration) as api:
        cluster = Cluster(api)
        try:
            yield cluster
        finally:
            await cluster.close()
