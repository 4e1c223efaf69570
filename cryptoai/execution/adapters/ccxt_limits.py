"""One budget of request weight for all who talk to a venue from here: orders, reconciliation, market data.

A venue counts by address, not by client, so the clients share a `SharedLimiter`. What protects money (`urgent`:
cancels, reductions) may use all of it, everything else leaves a reserve. A 429 stops everybody as long as it says.
It must never let a request through during such a pause.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

from cryptoai.core.errors import TransientError

__all__ = ["SharedLimiter", "limited", "urgent"]

_URGENT: ContextVar[bool] = ContextVar("urgent", default=False)
_RESERVE = 0.2
_PATIENCE_S = 5.0


@contextmanager
def _urgently() -> Any:
    token = _URGENT.set(True)
    try:
        yield
    finally:
        _URGENT.reset(token)


def urgent() -> AbstractContextManager[None]:
    """Requests made inside may use the reserve."""
    made: AbstractContextManager[None] = _urgently()
    return made


class SharedLimiter:
    """A bucket of `burst` units that fills at `per_second`; safe to share between threads and loops."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = per_second, burst, clock
        self._left, self._at, self._until = burst, clock(), 0.0
        self._lock = threading.Lock()

    @property
    def paused_s(self) -> float:
        """Seconds that the venue still wants to hear nothing."""
        return max(0.0, self._until - self._clock())

    def pause(self, seconds: float) -> None:
        """Nobody sends anything for so long; a longer pause stands."""
        with self._lock:
            self._until = max(self._until, self._clock() + seconds)

    def take(self, units: float, *, urgent: bool = False) -> float:
        """Takes `units` and gives the seconds to wait before they may be used; TransientError if that is too long.

        What is refused is not taken.
        """
        with self._lock:
            now = self._clock()
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
            self._at = now
            floor = 0.0 if urgent else self._burst * _RESERVE
            wait = max(0.0, self._until - now, (units + floor - self._left) / self._rate)
            if wait > _PATIENCE_S:
                raise TransientError(
                    f"not sent: the venue's rate limit is reached for {wait:.0f} s", retry_after_s=wait
                )
            self._left -= units
            return wait

    async def acquire(self, units: float) -> None:
        """Waits for its turn."""
        wait = self.take(units, urgent=_URGENT.get())
        if wait > 0:
            await asyncio.sleep(wait)


def limited(client: Any, limiter: SharedLimiter) -> None:
    """Puts a ccxt client behind the limiter, in place of ccxt's own, which counts for one client alone."""

    async def throttle(cost: float | None = None) -> None:
        await limiter.acquire(1.0 if cost is None else float(cost))

    client.throttle = throttle
    client.enableRateLimit = True
