"""Request weights of the local exchange: too much in a minute is 429, going on regardless is a ban, 418.

The server asks before it answers. Windows are whole minutes of the market's clock, as venues count.
"""

from __future__ import annotations

from collections import defaultdict

from cryptoai.core.clock import SECOND

__all__ = ["TooManyError", "Weights"]

_MINUTE = 60 * SECOND
_WARNINGS = 5
_BAN = 120 * SECOND


class TooManyError(Exception):
    """`status` is 429 or 418; wait `seconds` before the next request."""

    def __init__(self, status: int, seconds: int) -> None:
        super().__init__(f"too much request weight; wait {seconds} s")
        self.status, self.seconds = status, seconds


class Weights:
    """At most `limit` units a minute for each caller."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used: defaultdict[str, int] = defaultdict(int)
        self._minute = 0
        self._warned: defaultdict[str, int] = defaultdict(int)
        self._banned: dict[str, int] = {}

    def take(self, caller: str, weight: int, now_ns: int) -> int:
        """What the caller used this minute, this request included; TooManyError where that is too much."""
        self._turn(now_ns)
        until = self._banned.get(caller, 0)
        if now_ns < until:
            raise TooManyError(418, _seconds(until - now_ns))
        if self.used[caller] + weight > self.limit:
            self._warn(caller, now_ns)
        self.used[caller] += weight
        return self.used[caller]

    def _warn(self, caller: str, now_ns: int) -> None:
        self._warned[caller] += 1
        if self._warned[caller] > _WARNINGS:
            self._banned[caller], self._warned[caller] = now_ns + _BAN, 0
            raise TooManyError(418, _seconds(_BAN))
        raise TooManyError(429, _seconds((self._minute + 1) * _MINUTE - now_ns))

    def _turn(self, now_ns: int) -> None:
        minute = now_ns // _MINUTE
        if minute != self._minute:
            self._minute = minute
            self.used.clear()
            self._warned.clear()


def _seconds(span_ns: int) -> int:
    return max(1, -(-span_ns // SECOND))
