"""A work queue of keys, as controllers have it: one entry a key, one worker a key, back-off, and "again later".

Events only add keys. What is lost between two additions of a key is nothing, because a reconcile reads everything anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from cryptoai.core.errors import CryptoAIError

__all__ = ["Key", "WorkQueue", "backoff"]

Key = tuple[str, str]
Handle = Callable[[Key], Awaitable[float | None]]

log = structlog.get_logger()


def backoff(failures: int, *, first_s: float = 0.5, most_s: float = 60.0) -> float:
    """0.5, 1, 2, 4, ... 60 seconds."""
    return float(min(most_s, first_s * 2.0 ** min(failures - 1, 30)))


class WorkQueue:
    """Keys are (namespace, name). Belongs to one event loop."""

    def __init__(self, *, first_backoff_s: float = 0.5) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._later: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._first_backoff_s = first_backoff_s

    @property
    def depth(self) -> int:
        return len(self._waiting) + len(self._again)

    @property
    def idle(self) -> bool:
        """Nothing to do now; what is due later does not count."""
        return not (self._waiting or self._running or self._again)

    def add(self, key: Key) -> None:
        """Due now. A key that is being worked on is due again when that is done."""
        if key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: Key, delay_s: float) -> None:
        """Due later; of two times the earlier one holds."""
        loop = asyncio.get_running_loop()
        known = self._later.get(key)
        if known and not known.cancelled() and known.when() <= loop.time() + delay_s:
            return
        if known:
            known.cancel()
        self._later[key] = loop.call_later(delay_s, self._due, key)

    def _due(self, key: Key) -> None:
        self._later.pop(key, None)
        self.add(key)

    def forget(self, key: Key) -> None:
        """The object is gone: drop its timer and its failures."""
        self._failures.pop(key, None)
        if timer := self._later.pop(key, None):
            timer.cancel()

    async def work(self, handle: Handle) -> None:
        """One worker, for ever."""
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._running.add(key)
            try:
                await self._once(key, handle)
            finally:
                self._running.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    async def _once(self, key: Key, handle: Handle) -> None:
        try:
            after = await handle(key)
        except Exception as error:
            self._failures[key] = self._failures.get(key, 0) + 1
            wait = backoff(self._failures[key], first_s=self._first_backoff_s)
            unexpected = not isinstance(error, CryptoAIError)
            log.warning("reconcile failed", bot=key, error=str(error), again_in_s=wait, exc_info=unexpected)
            self.add_after(key, wait)
            return
        self._failures.pop(key, None)
        if after is not None:
            self.add_after(key, after)
