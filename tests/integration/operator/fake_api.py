"""
A Kubernetes API server in miniature: the semantics that the operator's requests need, and a log of writes.

Objects are kept as JSON. ``resourceVersion`` and ``uid`` are preconditions, names are unique, ``status`` is a
subresource of our own kinds, owners take their dependents along. Admission, schema and RBAC are tested on a cluster.
"""

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from kubernetes.aio import client as kubernetes_client

from onguard_operator.cluster import Cluster

Object = dict[str, Any]
WITH_STATUS = ("modeldeployments", "decisions")


@dataclass(frozen=True)
class Place:
    """Where an object lives."""

    api: str
    namespace: str
    resource: str
    name: str


class RefusedError(Exception):
    """An answer of 400 or more."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass
class FakeApi:
    """The store, the clock, who may do what, and what was written."""

    clock: Callable[[], datetime]
    objects: dict[Place, Object] = field(default_factory=dict)
    writes: list[tuple[str, str]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    """Every request, answered or not."""
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    """(verb, resource) that the operator may not do."""
    writes_until_outage: int | None = None
    """After so many more writes, nothing is answered: the operator died, or the network did."""
    version: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # --- for tests -------------------------------------------------------------------------------------------
    def put(self, body: Object) -> Object:
        """Create or replace as another party would."""
        place = place_of(body)
        old = self.objects.get(place)
        return self._store(place, {**body, "metadata": {**(old or {}).get("metadata", {}), **body["metadata"]}}, old)

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        """One object."""
        return next(
            (o for p, o in self.objects.items() if (p.resource, p.namespace, p.name) == (resource, namespace, name)),
            None,
        )

    def all(self, resource: str, namespace: str | None = None) -> list[Object]:
        """All objects of a resource."""
        return [o for p, o in self.objects.items() if p.resource == resource and namespace in (None, p.namespace)]

    def wrote(self, verb: str, resource: str) -> int:
        """How often the operator did this."""
        return self.writes.count((verb, resource))

    # --- semantics -------------------------------------------------------------------------------------------
    def _store(self, place: Place, body: Object, old: Object | None) -> Object:
        body = copy.deepcopy(body)
        meta = body["metadata"]
        number = str(next(self.version))
        stamp = self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        before = (old or {}).get("metadata", {})
        meta["uid"] = before.get("uid") or f"uid-{number}"
        meta["creationTimestamp"] = before.get("creationTimestamp") or meta.get("creationTimestamp") or stamp
        same_spec = old is not None and old.get("spec") == body.get("spec")
        meta["generation"] = before.get("generation", 0) + (0 if same_spec else 1)
        if old is not None and {**old, "metadata": {**before, "resourceVersion": ""}} == {
            **body,
            "metadata": {**meta, "resourceVersion": ""},
        }:
            return old
        meta["resourceVersion"] = number
        self.objects[place] = body
        return body

    def create(self, place: Place, body: Object) -> Object:
        if place in self.objects:
            raise RefusedError(409, "AlreadyExists")
        if body["metadata"].get("resourceVersion"):
            raise RefusedError(500, "resourceVersion should not be set on objects to be created")
        if place.resource in WITH_STATUS:
            body = {k: v for k, v in body.items() if k != "status"}
        return self._store(place, body, None)

    def change(self, place: Place, subresource: str, kind: str, body: Any) -> Object:
        old = self.objects.get(place)
        if kind == "application/apply-patch+yaml":
            return self._store(place, _merged(old or {}, body), old)
        if old is None:
            raise RefusedError(404, "NotFound")
        if kind == "application/json-patch+json":
            new = _json_patched(old, body)
        else:
            wanted = body.get("metadata", {})
            if any(wanted.get(k, old["metadata"][k]) != old["metadata"][k] for k in ("uid", "resourceVersion")):
                raise RefusedError(409, "Conflict")
            new = _merged(old, body)
        if place.resource in WITH_STATUS:
            kept = old if subresource == "status" else new
            new = {**kept, "metadata": new["metadata"], **({"status": new["status"]} if "status" in new else {})}
        return self._store(place, new, old)

    def delete(self, place: Place, options: Object) -> Object:
        old = self.objects.get(place)
        if old is None:
            raise RefusedError(404, "NotFound")
        if options.get("preconditions", {}).get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise RefusedError(409, "Conflict")
        del self.objects[place]
        self._collect(old["metadata"]["uid"])
        return old

    def _collect(self, uid: str) -> None:
        """What nobody owns any more goes with the last of its owners."""
        alive = {item["metadata"]["uid"] for item in self.objects.values()}
        for place, item in list(self.objects.items()):
            owners = {owner["uid"] for owner in item["metadata"].get("ownerReferences", ())}
            if uid in owners and not owners & alive and place in self.objects:
                self.delete(place, {})

    # --- HTTP ------------------------------------------------------------------------------------------------
    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        self.requests.append(f"{request.method} {request.path}")
        if self.writes_until_outage is not None and self.writes_until_outage <= 0:
            return web.Response(status=503)
        body = json.loads(await request.read() or b"null")
        try:
            return web.json_response(self._answer(request, body))
        except RefusedError as refused:
            status = {"kind": "Status", "reason": refused.reason, "message": refused.reason}
            return web.json_response(status, status=refused.code)

    def _answer(self, request: web.Request, body: Any) -> Object:
        if request.path == "/version":
            return {"major": "1", "minor": "34"}
        if request.path.endswith("/selfsubjectaccessreviews"):
            asked = body["spec"]["resourceAttributes"]
            return {"status": {"allowed": (asked["verb"], asked["resource"]) not in self.forbidden}}
        place, subresource = parse(request.path)
        if request.method == "GET":
            return self._read(place, request.query.get("labelSelector", ""))
        return self._write(request, place, subresource, body)

    def _read(self, place: Place, selector: str) -> Object:
        if place.name:
            if place not in self.objects:
                raise RefusedError(404, "NotFound")
            return self.objects[place]
        wanted = dict(pair.split("=", 1) for pair in selector.split(",") if pair)
        found = [
            item
            for where, item in self.objects.items()
            if (where.api, where.resource) == (place.api, place.resource)
            and place.namespace in ("", where.namespace)
            and all(item["metadata"].get("labels", {}).get(k) == v for k, v in wanted.items())
        ]
        return {"items": [{k: v for k, v in item.items() if k not in ("apiVersion", "kind")} for item in found]}

    def _write(self, request: web.Request, place: Place, subresource: str, body: Any) -> Object:
        verb = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}[request.method]
        resource = f"{place.resource}/{subresource}" if subresource else place.resource
        if (verb, resource) in self.forbidden:
            raise RefusedError(403, "Forbidden")
        if request.method == "POST":
            name = body["metadata"]["name"]
            done = self.create(Place(place.api, place.namespace, place.resource, name), body)
        elif request.method == "PATCH":
            done = self.change(place, subresource, request.content_type, body)
        else:
            done = self.delete(place, body or {})
        self.writes.append((verb, resource))
        if self.writes_until_outage is not None:
            self.writes_until_outage -= 1
        return done


def parse(path: str) -> tuple[Place, str]:
    """
    Split a request path.

    >>> parse("/apis/apps/v1/namespaces/shop/deployments/churn")
    (Place(api='apps/v1', namespace='shop', resource='deployments', name='churn'), '')
    """
    parts = path.strip("/").split("/")
    api, rest = (parts[1], parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    name, subresource = (*rest[1:], "", "")[:2]
    return Place(api, namespace, rest[0], name), subresource


def place_of(body: Object) -> Place:
    """Where a whole object belongs."""
    resource = {"ReplicaSet": "replicasets", "EndpointSlice": "endpointslices"}.get(
        body["kind"], body["kind"].lower() + "s"
    )
    return Place(body["apiVersion"], body["metadata"].get("namespace", ""), resource, body["metadata"]["name"])


def _merged(old: Any, change: Any) -> Any:
    """JSON Merge Patch (RFC 7386)."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _json_patched(old: Object, operations: list[Object]) -> Object:
    """The operations of RFC 6902 that the operator uses."""
    new = copy.deepcopy(old)
    for operation in operations:
        *path, last = operation["path"].strip("/").split("/")
        parent = new
        for key in path:
            parent = parent[key]
        if operation["op"] == "test" and parent.get(last) != operation["value"]:
            raise RefusedError(422, "Invalid")
        if operation["op"] == "replace":
            parent[last] = copy.deepcopy(operation["value"])
    return new


@asynccontextmanager
async def serve(api: FakeApi) -> Any:
    """Serve on loopback and hand out a connected Cluster."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    configuration = kubernetes_client.Configuration(host=f"http://127.0.0.1:{port}")
    try:
        async with kubernetes_client.ApiClient(configuration) as client:
            cluster = Cluster(client, monotonic=lambda: api.clock().timestamp())
            yield cluster
            await cluster.close()
    finally:
        await runner.cleanup()


def utc(seconds: float) -> datetime:
    """The moment of a Unix time."""
    return datetime.fromtimestamp(seconds, UTC)
