"""Which depth updates belong in the book: Binance's documented rules for a local order book, and nothing else.

The tape importer asks `Sequence` about every depth update and snapshot, in file order. It knows ids, not prices.

Futures ("How to manage a local order book correctly"): drop updates with u < lastUpdateId; the first one used spans
lastUpdateId; then each `pu` equals the `u` before. Spot: drop u <= lastUpdateId; the first one has
U <= lastUpdateId + 1 <= u; then each U is the `u` before plus 1. Both are the same rule once the id that an update
continues from is `previous` (futures `pu`, spot U - 1): the first one needs previous <= lastUpdateId. An update that
continues from anything else is a gap, and after it the book is unknown until a snapshot that the updates since join to.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["Answer", "Diff", "Sequence"]


class Answer(Enum):
    """What to do with one depth update."""

    APPLY = auto()
    HOLD = auto()
    """The book is unknown: kept in case a snapshot joins it."""
    OLD = auto()
    """Older than the snapshot, or seen before."""
    GAP = auto()
    """Updates are missing before this one; it is held as the first of a new chain."""


@dataclass(frozen=True, slots=True)
class Diff:
    """Ids of one depth update and the line it came from: `previous` is the last id before it, `last` its own last."""

    previous: int
    last: int
    line: bytes


class Sequence:
    """Sync state of one stream. `keeps_equal`: an update with last == lastUpdateId is applied (futures)."""

    __slots__ = ("_keeps_equal", "_last", "_recent", "_waits")

    def __init__(self, *, keeps_equal: bool, memory: int = 4096) -> None:
        self._keeps_equal = keeps_equal
        self._last: int | None = None
        self._waits = False
        self._recent: deque[Diff] = deque(maxlen=memory)

    @property
    def synced(self) -> bool:
        return self._last is not None

    def diff(self, diff: Diff) -> Answer:
        """Judge the next depth update."""
        if self._recent and diff.last <= self._recent[-1].last:
            return Answer.OLD
        whole = not self._recent or diff.previous == self._recent[-1].last
        if not whole:
            self._recent.clear()
        self._recent.append(diff)
        if self._last is None:
            return Answer.HOLD
        return self._continues(diff)

    def snapshot(self, update_id: int) -> list[Diff] | None:
        """The held updates to apply on top of a snapshot, or None if they do not join to it (it is too old)."""
        if self._recent and self._recent[0].previous > update_id:
            return None
        newer = [diff for diff in self._recent if not self._precedes(diff, update_id)]
        self._last = newer[-1].last if newer else update_id
        self._waits = not newer
        return newer

    def _continues(self, diff: Diff) -> Answer:
        assert self._last is not None  # noqa: S101  (for the type checker; the caller asked `synced`)
        if self._waits and self._precedes(diff, self._last):
            return Answer.OLD
        joined = diff.previous <= self._last if self._waits else diff.previous == self._last
        self._last, self._waits = (diff.last if joined else None), False
        return Answer.APPLY if joined else Answer.GAP

    def _precedes(self, diff: Diff, update_id: int) -> bool:
        return diff.last < update_id or (diff.last == update_id and not self._keeps_equal)
