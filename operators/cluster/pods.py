"""What pods say of themselves over HTTP, read through their own health ports and remembered for a while.

Remembering keeps a status that holds the last decision from chasing itself: one report a pod every `every_s` seconds.
A pod that does not answer says nothing; whether that is wrong, its readiness tells.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

__all__ = ["Pods"]


class Pods:
    """Use as an asynchronous context manager."""

    def __init__(self, *, every_s: float = 20.0, timeout_s: float = 1.0) -> None:
        self._every_s = every_s
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._known: dict[tuple[str, str], tuple[float, Any]] = {}

    async def __aenter__(self) -> Pods:
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def report(self, pod: dict[str, Any], port: int, path: str, stamp: str) -> dict[str, Any] | None:
        """JSON of http://POD:port/path, or None. Another `stamp` than last time asks again at once."""
        address = pod.get("status", {}).get("podIP")
        if not address:
            return None
        now = asyncio.get_running_loop().time()
        key = (f"{pod['metadata']['uid']}{path}", stamp)
        found = self._known.get(key)
        if found and now - found[0] < self._every_s:
            said: dict[str, Any] | None = found[1]
            return said
        self._known = {k: v for k, v in self._known.items() if now - v[0] < self._every_s}
        said = await self._asked(f"http://[{address}]" if ":" in address else f"http://{address}", port, path)
        self._known[key] = (now, said)
        return said

    async def _asked(self, host: str, port: int, path: str) -> dict[str, Any] | None:
        if self._session is None:
            return None
        try:
            async with self._session.get(f"{host}:{port}{path}") as answer:
                said = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None
        return said if isinstance(said, dict) else None
