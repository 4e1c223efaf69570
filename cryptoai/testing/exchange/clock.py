"""The market's time on the local exchange: stepped by command, or running at a multiple of the machine's clock.

The floor asks it; signed requests are judged by the machine's clock, as clients stamp them with theirs.
"""

from __future__ import annotations

from cryptoai.core.clock import Clock
from cryptoai.core.errors import ConfigError

__all__ = ["MarketClock"]


class MarketClock:
    """From `first` to `last` (ns). `speed` is market seconds a second; None moves it by `advance_to` only."""

    def __init__(self, first: int, last: int, machine: Clock, speed: float | None = None) -> None:
        if speed is not None and not speed > 0:
            raise ConfigError(f"speed must be above 0, not {speed}; 1 is as recorded")
        self.machine, self.speed = machine, speed
        self._first, self._last, self._now = first, last, first
        self._began = machine.now_ns()

    def now_ns(self) -> int:
        if self.speed is not None:
            self._now = min(self._last, self._first + int((self.machine.now_ns() - self._began) * self.speed))
        return self._now

    def advance_to(self, now_ns: int) -> None:
        """Moves a stepped clock; ConfigError of one that runs or would go back."""
        if self.speed is not None:
            raise ConfigError("the market's clock runs by itself; start the exchange without a speed to step it")
        if now_ns < self._now:
            raise ConfigError(f"the market's clock cannot go back from {self._now} to {now_ns}")
        self._now = now_ns

    @property
    def ended(self) -> bool:
        """Whether the tape is over."""
        return self.now_ns() >= self._last
