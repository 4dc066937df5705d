"""
What a request to the API server can end in, as types of our own.

A body that is no ``kind: Status`` is never quoted: nobody knows what is in it.
"""

import json
from typing import Final


class ClusterError(Exception):
    """A request failed; the text names the verb, the path and the server's message."""


class ForbiddenError(ClusterError):
    """401 or 403: a role is missing."""


class NotFoundError(ClusterError):
    """404: no such object, or the API does not exist here."""


class ConflictError(ClusterError):
    """409 or 412: the object has changed since it was read."""


class ExistsError(ConflictError):
    """409 AlreadyExists: somebody created the name before."""


class InvalidError(ClusterError):
    """400, 413 or 422: the server refuses the content."""


class UnavailableError(ClusterError):
    """429, 5xx, or no answer in time: nothing is known; ask again later."""


_BY_STATUS: Final[dict[int, type[ClusterError]]] = {
    400: InvalidError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    405: NotFoundError,
    409: ConflictError,
    410: UnavailableError,
    412: ConflictError,
    413: InvalidError,
    415: InvalidError,
    422: InvalidError,
}


def of_response(request: str, status: int, body: bytes) -> ClusterError:
    """
    Translate an answer of 400 or more.

    >>> type(of_response("POST /x", 409, b'{"kind":"Status","reason":"AlreadyExists","message":"x exists"}')).__name__
    'ExistsError'
    >>> of_response("GET /x", 503, b"<html>secret</html>")
    UnavailableError('GET /x: 503')
    """
    reason, message = _status_of(body)
    kind = _BY_STATUS.get(status, UnavailableError)
    if status == 409 and reason == "AlreadyExists":
        kind = ExistsError
    return kind(f"{request}: {status} {message}".strip())


def _status_of(body: bytes) -> tuple[str, str]:
    try:
        document = json.loads(body)
    except ValueError:
        return "", ""
    if not isinstance(document, dict) or document.get("kind") != "Status":
        return "", ""
    return str(document.get("reason") or ""), str(document.get("message") or "")[:500]
