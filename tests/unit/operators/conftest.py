"""A Kubernetes API in memory, spoken to over real HTTP on loopback, and a TradingBot to begin with."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from cryptoai.deployment import Platform
from operators.cluster.access import Access
from operators.cluster.client import Client

Obj = dict[str, Any]

PLATFORM = Platform("bot:1", "serve:1", "redis:6379")
SPEC: Obj = {"assets": ["BTCUSDT"], "model": {"claim": "bundles", "path": "best"}}


def merged(base: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    made = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), value)
    return made


class FakeApi:
    """Names, versions, uids, generations, preconditions, selectors, pages, the status subresource, garbage."""

    def __init__(self) -> None:
        self.objects: dict[str, Obj] = {}
        self.writes: list[tuple[str, str]] = []
        self.drop_before: int | None = None
        self.drop_after: int | None = None
        self.refuse: dict[str, tuple[int, str]] = {}
        self._version = itertools.count(1)

    def put(self, path: str, obj: Obj) -> Obj:
        number = next(self._version)
        metadata = {
            "uid": f"uid-{number}",
            "generation": 1,
            "creationTimestamp": f"2026-01-01T00:00:{number % 60:02d}Z",
            **obj["metadata"],
            "resourceVersion": str(number),
        }
        self.objects[path] = {**copy.deepcopy(obj), "metadata": metadata}
        return self.objects[path]

    def change(self, path: str, patch: Obj, part: str = "") -> Obj:
        old = self.objects[path]
        new = merged(old, patch)
        if part:
            new = {**old, "status": new.get("status", {})}
        elif "tradingbots" in path or "apps/v1" in path:
            new["status"] = old.get("status", {})
        generation = old["metadata"]["generation"] + (new.get("spec") != old.get("spec"))
        if new == old or {**new, "status": new.get("status") or None} == {**old, "status": old.get("status") or None}:
            return old
        version = str(next(self._version))
        new["metadata"] = {**new["metadata"], "generation": generation, "resourceVersion": version}
        self.objects[path] = new
        return new

    def remove(self, path: str) -> None:
        """Deletes it and, as the garbage collector does, everything that it owns."""
        uid = self.objects.pop(path)["metadata"]["uid"]
        for other, obj in list(self.objects.items()):
            if any(owner["uid"] == uid for owner in obj["metadata"].get("ownerReferences", ())):
                self.remove(other)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path, body = request.path, await request.json() if request.can_read_body else {}
        for piece, (code, message) in self.refuse.items():
            if piece in f"{request.method} {path}":
                return web.json_response({"message": message}, status=code)
        if request.method == "GET":
            return self._read(request)
        index = len(self.writes)
        self.writes.append((request.method, path))
        if self.drop_before == index:
            raise ConnectionResetError
        answer = self._write(request.method, path, body)
        if self.drop_after == index:
            raise ConnectionResetError
        return answer

    def _read(self, request: web.Request) -> web.Response:
        if request.path in self.objects:
            return web.json_response(self.objects[request.path])
        if request.path.rsplit("/", 1)[1] not in PLURALS:
            return web.json_response({"message": "not found"}, status=404)
        wanted = dict(pair.split("=") for pair in request.query.get("labelSelector", "").split(",") if pair)
        found = [obj for path, obj in sorted(self.objects.items()) if self._in(request.path, path)]
        found = [o for o in found if wanted.items() <= o["metadata"].get("labels", {}).items()]
        start, size = int(request.query.get("continue", 0)), int(request.query["limit"])
        rest = {"continue": str(start + size)} if start + size < len(found) else {}
        return web.json_response({"metadata": rest, "items": found[start : start + size]})

    @staticmethod
    def _in(collection: str, path: str) -> bool:
        """Whether an object's path lies in a collection, of one namespace or of all."""
        root, _, plural = collection.rpartition("/")
        parent = path.rsplit("/", 1)[0]
        return parent == collection or (
            "/namespaces/" not in root and parent.startswith(f"{root}/namespaces/") and parent.endswith(f"/{plural}")
        )

    def _write(self, method: str, path: str, body: Obj) -> web.Response:
        if method == "POST":
            return self._post(f"{path}/{body['metadata']['name']}", body)
        part = "/status" if path.endswith("/status") else ""
        path = path.removesuffix(part) if part else path
        if path not in self.objects:
            return web.json_response({"message": "not found"}, status=404)
        live = self.objects[path]["metadata"]
        if method == "DELETE":
            if body["preconditions"]["uid"] != live["uid"]:
                return web.json_response({"message": "uid"}, status=409)
            self.remove(path)
            return web.json_response({})
        if body.get("metadata", {}).get("resourceVersion", live["resourceVersion"]) != live["resourceVersion"]:
            return web.json_response({"message": "the object has been modified"}, status=409)
        return web.json_response(self.change(path, json.loads(json.dumps(body)), part))

    def _post(self, path: str, body: Obj) -> web.Response:
        if path in self.objects:
            return web.json_response({"message": f"{path} already exists"}, status=409)
        return web.json_response(self.put(path, body), status=201)

    def run(self, test: Callable[[Client], Awaitable[Any]]) -> Any:
        """Serves itself while `test` runs with a client of it."""

        async def served() -> Any:
            app = web.Application()
            app.router.add_route("*", "/{tail:.*}", self.handle)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            try:
                port = runner.addresses[0][1]
                async with Client(Access(f"http://127.0.0.1:{port}", token="t"), timeout_s=5) as client:
                    return await test(client)
            finally:
                await runner.cleanup()

        return asyncio.run(served())


PLURALS = (
    "tradingbots", "configmaps", "services", "serviceaccounts", "persistentvolumeclaims", "pods", "events",
    "deployments", "statefulsets", "roles", "rolebindings", "leases",
)  # fmt: skip


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def platform() -> Platform:
    return PLATFORM


@pytest.fixture
def bot() -> Callable[..., Obj]:
    """A TradingBot as the API server would hand it out; keyword arguments go into its spec."""

    def make(status: Obj | None = None, **spec: Any) -> Obj:
        metadata = {"name": "btc", "namespace": "desk", "uid": "u1", "generation": 3, "resourceVersion": "7"}
        return {"kind": "TradingBot", "metadata": metadata, "spec": {**SPEC, **spec}, "status": status or {}}

    return make
