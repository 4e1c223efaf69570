"""Which depth messages belong in the book: each venue's documented rule for a local order book, and nothing else.

The importer asks the `Rule` of its venue about every depth message, in order of arrival. Rules know ids and checksums;
they know no prices. An answer of GAP means that the book is unknown until a snapshot that the messages since join to.

`BinanceRule` ("How to manage a local order book correctly"), futures: drop updates with u < lastUpdateId; the first
one used spans lastUpdateId; then each `pu` equals the `u` before. Spot: drop u <= lastUpdateId; the first one has
U <= lastUpdateId + 1 <= u; then each U is the `u` before plus 1. Both are the same rule once the id that an update
continues from is `previous` (futures `pu`, spot U - 1): the first one needs previous <= lastUpdateId.

`ChainRule`: venues that send the snapshot inside the stream (Bybit, OKX, Coinbase, Kraken, recorded CSV): where there
are ids each message continues the one before, where there are checksums the book must have the one that was sent.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import numpy as np

from cryptoai.data_universe.events import Ints
from cryptoai.data_universe.market_microstructure.checksums import CheckedBook
from cryptoai.data_universe.market_microstructure.messages import Depth

__all__ = ["LAST", "NEWEST", "SYNCED", "WAITS", "Answer", "BinanceRule", "ChainRule", "Diff", "Rule"]

SYNCED, LAST, WAITS, NEWEST = range(4)
"""Places in `BinanceRule.state`, which the scanner of raw bytes shares: is the book known, the last id that is in it,
does the snapshot still wait for its first update, and the newest id seen."""


class Answer(Enum):
    """What to do with one depth message."""

    APPLY = auto()
    HOLD = auto()
    """The book is unknown: kept in case a snapshot joins it."""
    OLD = auto()
    """Older than the snapshot, or seen before."""
    GAP = auto()
    """Messages are missing before this one; it is held as the first of a new chain."""
    CHECKSUM = auto()
    """The book is not the venue's: unknown from here on."""


@dataclass(frozen=True, slots=True)
class Diff:
    """Ids of one update and the text it came from: `previous` is the last id before it, `last` its own last."""

    previous: int
    last: int
    text: bytes


class Rule(Protocol):
    """Sync state of one instrument's depth stream."""

    @property
    def synced(self) -> bool:
        """Whether the book is known."""
        ...

    @property
    def last(self) -> int | None:
        """Id of the last message in the book, None if the venue has none or the book is unknown."""
        ...

    def diff(self, depth: Depth, text: bytes) -> Answer:
        """Judge the next update. May add the levels to `depth` that the venue stops telling of."""
        ...

    def snapshot(self, depth: Depth) -> list[bytes] | str:
        """The texts of held updates to apply on top of a snapshot, or why it is refused."""
        ...

    def lose(self) -> None:
        """The stream was interrupted: the book is unknown until the next snapshot."""
        ...


class BinanceRule:
    """`keeps_equal`: an update with last == lastUpdateId is applied (futures)."""

    def __init__(self, *, keeps_equal: bool, memory: int = 4096) -> None:
        self.state: Ints = np.array([0, 0, 0, -1], np.int64)
        self._keeps_equal = keeps_equal
        self._recent: deque[Diff] = deque(maxlen=memory)
        self._scanned: deque[tuple[bytes, Ints]] = deque()

    @property
    def synced(self) -> bool:
        return bool(self.state[SYNCED])

    @property
    def last(self) -> int | None:
        return int(self.state[LAST]) if self.synced else None

    def diff(self, depth: Depth, text: bytes) -> Answer:
        """Judge the next depth update."""
        if depth.previous is None or depth.last is None:
            raise ValueError("a depth update without ids")
        return self._diff(Diff(depth.previous, depth.last, text))

    def snapshot(self, depth: Depth) -> list[bytes] | str:
        """The held updates to apply on top of a snapshot, or why they do not join to it."""
        if depth.last is None:
            raise ValueError("a snapshot without an id")
        self._unpack()
        if self._recent and self._recent[0].previous > depth.last:
            return "snapshot older than the depth updates at hand"
        newer = [diff for diff in self._recent if not self._precedes(diff, depth.last)]
        self.state[:3] = (1, newer[-1].last if newer else depth.last, not newer)
        return [diff.text for diff in newer]

    def lose(self) -> None:
        """Nothing held continues what comes: both the book and the chain are forgotten."""
        self.state[:] = (0, 0, 0, -1)
        self._recent.clear()
        self._scanned.clear()

    def scanned(self, block: bytes, diffs: Ints) -> None:
        """Updates that the scanner applied: rows of (previous, last, start and end in `block`), in order."""
        self._scanned.append((block, diffs))
        while len(self._scanned) > 1 and sum(len(d) for _, d in self._scanned) - len(self._scanned[0][1]) > _memory(
            self._recent
        ):
            self._scanned.popleft()

    def _diff(self, diff: Diff) -> Answer:
        self._unpack()
        if self._recent and diff.last <= self._recent[-1].last:
            return Answer.OLD
        whole = not self._recent or diff.previous == self._recent[-1].last
        if not whole:
            self._recent.clear()
        self._recent.append(diff)
        self.state[NEWEST] = diff.last
        return self._continues(diff) if self.state[SYNCED] else Answer.HOLD

    def _continues(self, diff: Diff) -> Answer:
        last, waits = int(self.state[LAST]), bool(self.state[WAITS])
        if waits and self._precedes(diff, last):
            return Answer.OLD
        joined = diff.previous <= last if waits else diff.previous == last
        self.state[:3] = (joined, diff.last if joined else 0, 0)
        return Answer.APPLY if joined else Answer.GAP

    def _precedes(self, diff: Diff, update_id: int) -> bool:
        return diff.last < update_id or (diff.last == update_id and not self._keeps_equal)

    def _unpack(self) -> None:
        for block, diffs in self._scanned:
            rows = diffs[-_memory(self._recent) :].tolist()
            self._recent.extend(Diff(previous, last, block[start:end]) for previous, last, start, end in rows)
        self._scanned.clear()


class ChainRule:
    """Ids where they are given, checksums where they are given; otherwise order alone."""

    def __init__(self, book: CheckedBook | None = None) -> None:
        self._book = book
        self._synced = False
        self._last: int | None = None

    @property
    def synced(self) -> bool:
        return self._synced

    @property
    def last(self) -> int | None:
        return self._last

    def diff(self, depth: Depth, text: bytes) -> Answer:
        """Judge the next update; nothing is held, because snapshots arrive in order with the updates."""
        del text
        if not self._synced:
            return Answer.HOLD
        if self._old(depth):
            return Answer.OLD
        if None not in (depth.previous, self._last) and depth.previous != self._last:
            self.lose()
            return Answer.GAP
        if self._book is not None and not self._book.update(depth):
            self.lose()
            return Answer.CHECKSUM
        self._last = depth.last if depth.last is not None else self._last
        return Answer.APPLY

    def snapshot(self, depth: Depth) -> list[bytes] | str:
        """A snapshot always joins; one that contradicts its own checksum is refused."""
        self.lose()
        if self._book is not None and not self._book.reset(depth):
            return "snapshot with a wrong checksum"
        self._synced, self._last = True, depth.last
        return []

    def lose(self) -> None:
        """The book is unknown until the next snapshot."""
        self._synced, self._last = False, None

    def _old(self, depth: Depth) -> bool:
        """Seen before: behind the last id, and not by the venue's own reset, which continues the chain."""
        if depth.last is None or self._last is None or depth.previous == self._last:
            return False
        return depth.last <= self._last if depth.previous is not None else depth.last < self._last


def _memory(recent: deque[Diff]) -> int:
    return recent.maxlen or 0
