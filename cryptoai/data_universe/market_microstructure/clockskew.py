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

import numpy as np

from cryptoai.core.clock import SECOND
from cryptoai.data_universe.events import Ints
from cryptoai.data_universe.jit import lean

__all__ = ["KNOWN", "REASONS", "ClockCheck", "judge_times"]

REASONS = (
    "",
    "local time is not nanoseconds since 1970",
    "local clock ran backwards",
    "local time jumps ahead",
    "event time is more than a day from the local time",
    "event time in the future",
    "event time far behind the local time",
)
"""By the code that `judge_times` returns; 0 is believed."""

_BELIEVED, _NO_TIME, _BACKWARDS, _AHEAD, _FAR, _FUTURE, _BEHIND = range(len(REASONS))
KNOWN, _HELD, _SMALLEST, _MEASURED, _BASELINE, _SUSPECT, _STREAK, _AGREED = range(8)

_EARLIEST, _LATEST = 1_230_768_000 * SECOND, 4_102_444_800 * SECOND
_STEP_BACK = SECOND
_JUMP = 60 * SECOND
_SILENCE = 3600 * SECOND
_MOST_ERROR = 86_400 * SECOND
_AGREEING = 5


@lean
def judge_times(state: Ints, local: int, event: int) -> int:
    """Code of why these times cannot be true, or 0, and then `state[KNOWN]` is the arrival; event 0 is "not given"."""
    if not _EARLIEST < local < _LATEST:
        return _NO_TIME
    if local < state[KNOWN] - _STEP_BACK:
        return _BACKWARDS
    code = _delay(state, local - event) if event else _silence(state, local)
    if code == _BELIEVED:
        state[_HELD] += local < state[KNOWN]
        state[KNOWN] = max(state[KNOWN], local)
    return code


@lean
def _silence(state: Ints, local: int) -> int:
    return _AHEAD if state[KNOWN] and local > state[KNOWN] + _SILENCE else _BELIEVED


@lean
def _delay(state: Ints, delay: int) -> int:
    measured = state[_MEASURED] != 0
    if not measured and abs(delay) > _MOST_ERROR:
        return _FAR
    if measured and abs(delay - state[_BASELINE]) > _JUMP and not _adopts(state, delay):
        return _FUTURE if delay < state[_BASELINE] else _BEHIND
    state[_BASELINE], state[_STREAK] = delay, 0
    state[_AGREED] += 1
    state[_SMALLEST] = min(state[_SMALLEST], delay) if measured else delay
    state[_MEASURED] = 1
    return _BELIEVED


@lean
def _adopts(state: Ints, delay: int) -> bool:
    """A lone odd time is an error; several in a row that agree are a clock that was set.

    The first messages of a feed may be old news: until enough agree, a time near the local clock's is the better one.
    """
    if state[_AGREED] < _AGREEING and abs(delay) <= _JUMP < abs(state[_BASELINE]):
        state[_AGREED] = 0
        return True
    agrees = state[_STREAK] > 0 and abs(delay - state[_SUSPECT]) <= _JUMP
    state[_STREAK] = state[_STREAK] + 1 if agrees else 1
    state[_SUSPECT] = delay
    return bool(state[_STREAK] >= _AGREEING and abs(delay) <= _MOST_ERROR)


class ClockCheck:
    """Running state over the messages of one capture; `state` is shared with compiled code."""

    __slots__ = ("_floor", "state")

    def __init__(self) -> None:
        self.state: Ints = np.zeros(8, np.int64)
        self._floor = 0

    @property
    def known(self) -> int:
        """Arrival of the last message that was believed."""
        return int(self.state[KNOWN])

    @property
    def held(self) -> int:
        """Local times that stepped back a little and were held."""
        return int(self.state[_HELD])

    @property
    def error_ns(self) -> int:
        """How much later every local time must be, >= 0; final only after the last message."""
        return max(self._floor, -int(self.state[_SMALLEST]))

    def floor(self, error_ns: int) -> None:
        """The recording before this one found the clock wrong by this much: it is not less wrong now."""
        self._floor = max(self._floor, error_ns)

    def refuse(self, local: int, event: int) -> str | None:
        """Why these times cannot be true, or None and then `known` is the message's arrival; event 0 is "not given"."""
        return REASONS[judge_times(self.state, local, event)] or None
