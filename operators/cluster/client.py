"""A small asynchronous client of the Kubernetes API: plain dictionaries in and out, over aiohttp.

It knows the handful of kinds that the operator touches. Writes are create, JSON merge patch and delete; a write that
must not be lost or doubled carries a precondition (resourceVersion or uid). Errors are sorted by what to do about them:
try again (`TransientError`, `ConflictError` among them) or tell a person (`RefusedError`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from cryptoai.core.errors import PermanentError, TransientError
from operators.api.tradingbot import GROUP, PLURAL, VERSION
from operators.cluster.access import Access

__all__ = ["Client", "ConflictError", "RefusedError", "path_of"]

Obj = dict[str, Any]

_CORE, _APPS, _RBAC = "/api/v1", "/apis/apps/v1", "/apis/rbac.authorization.k8s.io/v1"
_KINDS = {
    "TradingBot": (f"/apis/{GROUP}/{VERSION}", PLURAL),
    "ConfigMap": (_CORE, "configmaps"),
    "Service": (_CORE, "services"),
    "ServiceAccount": (_CORE, "serviceaccounts"),
    "PersistentVolumeClaim": (_CORE, "persistentvolumeclaims"),
    "Pod": (_CORE, "pods"),
    "Event": (_CORE, "events"),
    "Deployment": (_APPS, "deployments"),
    "StatefulSet": (_APPS, "statefulsets"),
    "Role": (_RBAC, "roles"),
    "RoleBinding": (_RBAC, "rolebindings"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
}
_PAGE = 500
_MERGE = "application/merge-patch+json"


class ConflictError(TransientError):
    """The object is not the one that was read: read again, decide again."""


class RefusedError(PermanentError):
    """The server said no: invalid, forbidden, unknown. `code` is the HTTP status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def path_of(kind: str, namespace: str | None, name: str | None = None) -> str:
    """`/apis/apps/v1/namespaces/NS/deployments/NAME`; without a namespace, all of them."""
    root, plural = _KINDS[kind]
    where = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{where}/{plural}" + (f"/{name}" if name else "")


class Client:
    """Use as an asynchronous context manager. At most 32 requests are under way at once."""

    def __init__(self, access: Access, *, timeout_s: float = 20.0) -> None:
        self._access = access
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=5)
        self._gate = asyncio.Semaphore(32)
        self._session: aiohttp.ClientSession | None = None
        self.writes = 0

    async def __aenter__(self) -> Client:
        context = self._access.ssl_context()
        connector = aiohttp.TCPConnector(ssl=context) if context else aiohttp.TCPConnector()
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """None when it does not exist."""
        try:
            return await self._call("GET", path_of(kind, namespace, name))
        except RefusedError as error:
            if error.code == 404:
                return None
            raise

    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Obj]:
        """Every object, read in pages. Items of a list carry no kind on the wire; here they do."""
        found: list[Obj] = []
        query = {"limit": str(_PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._call("GET", path_of(kind, namespace), query=query)
            found += [{"kind": kind, **item} for item in page["items"]]
            token = page["metadata"].get("continue")
            if not token:
                return found
            query["continue"] = token

    async def create(self, obj: Obj) -> Obj:
        """ConflictError when the name is taken."""
        return await self._call("POST", path_of(obj["kind"], obj["metadata"]["namespace"]), body=obj)

    async def patch(self, kind: str, namespace: str, name: str, body: Obj, *, part: str = "") -> Obj:
        """JSON merge patch; `part` is `/status` for the subresource. A resourceVersion in it is a precondition."""
        return await self._call("PATCH", path_of(kind, namespace, name) + part, body=body)

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Only the object of this uid; one that is gone is as good as deleted."""
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._call("DELETE", path_of(kind, namespace, name), body=body)
        except RefusedError as error:
            if error.code != 404:
                raise

    async def _call(self, method: str, path: str, *, body: Obj | None = None, query: Any = None) -> Obj:
        if self._session is None:
            raise TransientError("the client is not open")
        token = self._access.bearer()
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        headers |= {"Content-Type": _MERGE if method == "PATCH" else "application/json"} if body is not None else {}
        self.writes += method != "GET"
        url = self._access.server.rstrip("/") + path
        data = None if body is None else _encode(body)
        try:
            async with (
                self._gate,
                self._session.request(method, url, params=query, data=data, headers=headers) as answer,
            ):
                return _checked(answer.status, await answer.json(content_type=None), answer.headers, path)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TransientError(f"{method} {path}: {error or type(error).__name__}") from error


def _encode(body: Obj) -> bytes:
    return json.dumps(body).encode()


def _checked(code: int, answer: Any, headers: Mapping[str, str], path: str) -> Obj:
    if code < 300:
        found: Obj = answer
        return found
    said = answer.get("message") if isinstance(answer, dict) else None
    message = f"{said or path} (HTTP {code})"
    if code == 409:
        raise ConflictError(message)
    if code == 429 or code >= 500:
        wait = headers.get("Retry-After", "1")
        raise TransientError(message, retry_after_s=float(wait) if wait.isdigit() else 1.0)
    raise RefusedError(message, code)
