"""AdmissionReview v1: what comes, and the answer, which always lets the pod start. Pure."""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from onguard_operator.objects import Object

API_VERSION: Final = "admission.k8s.io/v1"
MAX_BODY_BYTES: Final = 3 * 1024 * 1024
"""The API server takes objects of 3 MiB at most."""
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_POD: Final = {"group": "", "version": "v1", "resource": "pods"}


class ReviewError(ValueError):
    """The body is no AdmissionReview for a pod."""


@dataclass(frozen=True, kw_only=True)
class Review:
    """One pod that is about to be created."""

    uid: str
    namespace: str
    pod: Object
    is_dry_run: bool = False


class _Request(msgspec.Struct, frozen=True, rename="camel"):
    uid: str
    operation: str
    resource: dict[str, str]
    namespace: str = ""
    sub_resource: str = ""
    object: Any = None
    dry_run: bool | None = None


class _Body(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    request: _Request


def parse(body: bytes) -> Review:
    """
    Read a review.

    Raises:
        ReviewError: if it is not about the creation of a pod.
    """
    try:
        read = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReviewError(f"expected an AdmissionReview, got {error}") from None
    request = read.request
    if (read.api_version, read.kind) != (API_VERSION, "AdmissionReview"):
        raise ReviewError(f"expected {API_VERSION} AdmissionReview")
    if request.operation != "CREATE" or request.resource != _POD or request.sub_resource:
        raise ReviewError("expected the creation of a pod")
    if not is_namespace(request.namespace):
        raise ReviewError("expected the name of a namespace")
    if not _is_pod(request.object):
        raise ReviewError("expected a pod with containers")
    return Review(uid=request.uid, namespace=request.namespace, pod=request.object, is_dry_run=bool(request.dry_run))


def is_namespace(text: str) -> bool:
    """
    Whether a label's value can be a namespace: it becomes part of a path.

    >>> is_namespace("shop"), is_namespace("../../v1")
    (True, False)
    """
    return _NAMESPACE.match(text) is not None


def _is_pod(item: Any) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("metadata"), dict):
        return False
    spec = item.get("spec")
    return isinstance(spec, dict) and isinstance(spec.get("containers"), list) and bool(spec["containers"])


def answer(uid: str, operations: Sequence[Object] = (), warnings: Sequence[str] = ()) -> Object:
    """
    Let the pod start, changed by ``operations``; ``warnings`` are shown to whoever creates it.

    >>> answer("u-1", warnings=["not guarded"])["response"]
    {'uid': 'u-1', 'allowed': True, 'warnings': ['not guarded']}
    """
    response: Object = {"uid": uid, "allowed": True}
    if operations:
        patch = base64.b64encode(json.dumps(list(operations)).encode()).decode("ascii")
        response |= {"patchType": "JSONPatch", "patch": patch}
    if warnings:
        response["warnings"] = [warning[:256] for warning in warnings]
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}


def operations_of(reply: Object) -> Sequence[Object]:
    """
    Decode the patch of an answer.

    >>> operations_of(answer("u", [{"op": "add", "path": "/a", "value": 1}]))
    [{'op': 'add', 'path': '/a', 'value': 1}]
    """
    patch = reply["response"].get("patch")
    try:
        return list(json.loads(base64.b64decode(patch))) if patch else []
    except (binascii.Error, json.JSONDecodeError) as error:
        raise ReviewError(f"expected a JSON Patch, got {error}") from None
