"""The few calls that the gate makes to the API server, with its own errors. Small on purpose: no client library."""

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from onguard import contract
from onguard_operator.objects import Object

TIMEOUT_S: Final = 2.0
"""Below the webhook's own timeout of 3 s: a slow API server must not cost an answer."""
_ROOT: Final = f"/apis/{contract.API_VERSION}"
_CONFLICT: Final = 409


class ApiError(Exception):
    """The API server did not do what was asked. ``status`` is 0 if it was not reached."""

    def __init__(self, what: str, status: int = 0) -> None:
        super().__init__(f"{what}: {f'status {status}' if status else 'not reached'}")
        self.status = status

    @property
    def is_conflict(self) -> bool:
        """AlreadyExists, or a change that came in between."""
        return self.status == _CONFLICT


class ApiServer:
    """Calls with the service account's token, which the kubelet renews in its file."""

    def __init__(self, session: aiohttp.ClientSession, base: str, account_dir: Path) -> None:
        self._session = session
        self._base = base
        self._account_dir = account_dir

    async def version(self) -> tuple[int, int]:
        """Kubernetes version of the server."""
        read = await self._call("GET", "/version")
        major, minor = (re.match(r"\d+", str(read.get(key, ""))) for key in ("major", "minor"))
        if major is None or minor is None:
            raise ApiError("read the version of the API server: no number in it")
        return int(major[0]), int(minor[0])

    async def model_deployments(self, namespace: str) -> list[Object]:
        """All ModelDeployments of one namespace, from the API server's cache."""
        path = f"{_ROOT}/namespaces/{namespace}/{contract.MODEL_DEPLOYMENTS}"
        items: list[Object] = (await self._call("GET", path, params={"resourceVersion": "0"})).get("items") or []
        # Items of a list carry neither; owner references need both.
        named = {"apiVersion": contract.API_VERSION, "kind": contract.MODEL_DEPLOYMENT}
        return [{**named, **item} for item in items]

    async def create_decision(self, body: Object) -> Object:
        """Create a Decision; its status comes by :meth:`patch_decision_status`."""
        path = f"{_ROOT}/namespaces/{body['metadata']['namespace']}/{contract.DECISIONS}"
        return await self._call("POST", path, body=body)

    async def decision(self, namespace: str, name: str) -> Object:
        """Read one Decision."""
        return await self._call("GET", f"{_ROOT}/namespaces/{namespace}/{contract.DECISIONS}/{name}")

    async def patch_decision_status(self, found: Object, status: Object) -> None:
        """Write the status of a Decision that nobody changed since it was read."""
        metadata = found["metadata"]
        path = f"{_ROOT}/namespaces/{metadata['namespace']}/{contract.DECISIONS}/{metadata['name']}/status"
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status}
        await self._call("PATCH", path, body=body, content_type="application/merge-patch+json")

    async def create_event(self, body: Object) -> None:
        """Create an Event."""
        await self._call("POST", f"/api/v1/namespaces/{body['metadata']['namespace']}/events", body=body)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        headers = {"Accept": "application/json", "Content-Type": content_type, **self._authorization()}
        what = f"{method} {path}"
        try:
            async with self._session.request(
                method,
                self._base + path,
                params=params,
                json=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                allow_redirects=False,
            ) as response:
                if not response.ok:
                    raise ApiError(what, response.status)
                read: Any = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ApiError(f"{what} ({type(error).__name__})") from error
        return read if isinstance(read, dict) else {}

    def _authorization(self) -> Mapping[str, str]:
        try:
            token = (self._account_dir / "token").read_text().strip()
        except OSError:
            return {}
        return {"Authorization": f"Bearer {token}"}


def connector(account_dir: Path) -> aiohttp.TCPConnector:
    """Connections that trust the cluster's own authority only."""
    authority = account_dir / "ca.crt"
    context = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
    return aiohttp.TCPConnector(ssl=context, limit=32)
