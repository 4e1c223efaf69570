"""Time as an argument: whoever needs "now" is handed a `Clock`, so a replay is exact.

All times are integers, nanoseconds since the Unix epoch, UTC. Nothing else in the project may read
the machine's clock. Backtest and shadow replay use `ReplayClock`; paper and live use `SystemClock`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

from cryptoai.core.errors import InvariantError

__all__ = ["MS", "SECOND", "Clock", "ReplayClock", "SystemClock", "iso"]

MS = 1_000_000
SECOND = 1_000_000_000


class Clock(Protocol):
    def now_ns(self) -> int:
        """Nanoseconds since the epoch, never earlier than at the last call."""
        ...


class SystemClock:
    """The machine's clock, held monotone: a step back is answered with the last time seen."""

    def __init__(self) -> None:
        self._last = 0

    def now_ns(self) -> int:
        self._last = max(self._last, time.time_ns())
        return self._last


class ReplayClock:
    """A clock that moves only when told to, and only forward."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now = start_ns

    def now_ns(self) -> int:
        return self._now

    def advance_to(self, now_ns: int) -> None:
        if now_ns < self._now:
            raise InvariantError(f"the replay clock was told to go back from {self._now} to {now_ns}")
        self._now = now_ns


def iso(time_ns: int) -> str:
    """`2024-08-08T23:54:15.030314667Z`, for people; never parsed back."""
    seconds, rest = divmod(time_ns, SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
