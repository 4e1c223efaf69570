"""The capturing machine's clock against the exchange's: which times are believable, and how far the clock is off.

Rule. The delay of a message is its local time minus its event time (the matching engine's `T`, else `E`). Nothing can
be known before it happened, so if the smallest delay of a whole capture is negative, the local clock was behind by at
least that much: every local time is moved later by this constant, the smallest shift after which no fact is known
before its event time. The true shift is larger by the (unknown) smallest latency of the line. A positive smallest
delay proves nothing and is left alone.

The tape importer asks `ClockCheck` about every message, in file order. File order is the order of arrival, so a local
time that steps back a little is held at the last one instead of sorted: sorting would tear depth chains apart. What
cannot be true is refused with a reason, never repaired.
"""

from __future__ import annotations

from cryptoai.core.clock import SECOND

__all__ = ["ClockCheck"]

_EARLIEST, _LATEST = 1_230_768_000 * SECOND, 4_102_444_800 * SECOND
_STEP_BACK = SECOND
_JUMP = 60 * SECOND
_SILENCE = 3600 * SECOND
_MOST_ERROR = 86_400 * SECOND
_AGREEING = 5


class ClockCheck:
    """Running state over the messages of one capture."""

    __slots__ = ("_baseline", "_streak", "_suspect", "held", "known", "smallest_delay")

    def __init__(self) -> None:
        self.known = 0
        self.held = 0
        self.smallest_delay: int | None = None
        self._baseline: int | None = None
        self._suspect = 0
        self._streak = 0

    @property
    def error_ns(self) -> int:
        """How much later every local time must be, >= 0; final only after the last message."""
        return max(0, -(self.smallest_delay or 0))

    def refuse(self, local: int, event: int) -> str | None:
        """Why these times cannot be true, or None and then `known` is the message's arrival; event 0 is "not given"."""
        if not _EARLIEST < local < _LATEST:
            return "local time is not nanoseconds since 1970"
        if local < self.known - _STEP_BACK:
            return "local clock ran backwards"
        reason = self._refuse_delay(local, event) if event else self._refuse_silence(local)
        if reason is None:
            self.held += local < self.known
            self.known = max(self.known, local)
        return reason

    def _refuse_silence(self, local: int) -> str | None:
        return "local time jumps ahead" if self.known and local > self.known + _SILENCE else None

    def _refuse_delay(self, local: int, event: int) -> str | None:
        delay = local - event
        if self._baseline is None and abs(delay) > _MOST_ERROR:
            return "event time is more than a day from the local time"
        if self._baseline is not None and abs(delay - self._baseline) > _JUMP and not self._adopts(delay):
            return "event time in the future" if delay < self._baseline else "event time far behind the local time"
        self._baseline, self._streak = delay, 0
        self.smallest_delay = delay if self.smallest_delay is None else min(self.smallest_delay, delay)
        return None

    def _adopts(self, delay: int) -> bool:
        """A lone odd time is an error; several in a row that agree are a clock that was set."""
        self._streak = self._streak + 1 if self._streak and abs(delay - self._suspect) <= _JUMP else 1
        self._suspect = delay
        return self._streak >= _AGREEING and abs(delay) <= _MOST_ERROR
