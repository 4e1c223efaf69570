"""Messages to event rows, in bulk: collected as texts or as scanned columns, judged and laid out a chunk at a time.

Only the importer uses it. Rows keep the order in which they were added, whichever way they came. What is believed is
decided in `plausibility`. Times in a chunk are still the local clock's; the importer corrects them at the end.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import chain

import numpy as np

from cryptoai.core.instruments import Instrument
from cryptoai.data_universe.events import ASK, BID, CLEAR, GAP, LEVEL, QUOTE, TRADE, Bytes, EventArray, Ints
from cryptoai.data_universe.market_microstructure.columns import Columns
from cryptoai.data_universe.market_microstructure.decimals import Grid, parse_pairs
from cryptoai.data_universe.market_microstructure.plausibility import Judge, Verdict

__all__ = ["CAPACITY", "CHUNK", "KINDS", "MESSAGE", "ROWS", "Assembly", "Levels", "joined"]

KINDS = {LEVEL: "level", TRADE: "trade", CLEAR: "clear", QUOTE: "quote", GAP: "gap"}
"""Names of the row kinds in reports."""

CHUNK = 1 << 16
CAPACITY = CHUNK + (1 << 15)
"""Rows that the scanner may write before it must stop."""

ROWS, MESSAGE = range(2)
"""Places in `Assembly.cursor`: scanned rows so far, number of the last message."""

_NOTHING = "0\n0"
_SEGMENT = 6

Levels = tuple[tuple[str, int], tuple[str, int]]
"""(text, rows) of bids and of asks."""


class Assembly:
    """Rows of one capture in the making; `add_*` whole messages or let the scanner write, `flush` when `full`."""

    def __init__(self, instrument: Instrument) -> None:
        self.grid = Grid.of(instrument)
        self.columns = Columns.empty(CAPACITY)
        self.cursor: Ints = np.zeros(2, np.int64)
        self._judge = Judge()
        self._texts: list[str] = []
        self._segments = array("q")
        self._text_rows = 0
        self._piece_rows = 0
        self._taken = 0
        self._pieces: list[Columns] = []

    @property
    def full(self) -> bool:
        return self._piece_rows + self._text_rows + int(self.cursor[ROWS]) - self._taken >= CHUNK

    @property
    def book_known(self) -> bool:
        """Whether the book was known after the last flush."""
        return self._judge.book.known

    def levels(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(price, quantity) of bids and asks after the last flush, best first, in ticks and steps."""
        book = self._judge.book
        sides = ((BID, book.count(BID)), (ASK, book.count(ASK)))
        bids, asks = (book.top(side, count) for side, count in sides)
        return (
            list(zip(bids[0].tolist(), bids[1].tolist(), strict=True)),
            list(zip(asks[0].tolist(), asks[1].tolist(), strict=True)),
        )

    def add_depth(self, event: int, known: int, levels: Levels, *, snapshot: bool = False) -> None:
        """Levels of one depth message; a snapshot's begin with CLEAR."""
        if snapshot:
            self.add_mark(CLEAR, event, known)
        else:
            self._begin()
        for side, (text, count) in zip((BID, ASK), levels, strict=True):
            if count:
                self._add(LEVEL, side, event, known, count, text)

    def add_trade(self, event: int, known: int, side: int, price: str, qty: str) -> None:
        """One trade; TypeError or ValueError if price and quantity are not texts, and nothing is added."""
        text, _ = _side([[price, qty]])
        self._begin()
        self._add(TRADE, side, event, known, 1, text)

    def add_quote(self, event: int, known: int, bid: list[str], ask: list[str]) -> None:
        """Best (price, quantity) of both sides; TypeError or ValueError if they are not texts, and nothing is added."""
        (bid_text, _), (ask_text, _) = joined([bid], [ask])
        self._begin()
        self._add(QUOTE, BID, event, known, 1, bid_text)
        self._add(QUOTE, ASK, event, known, 1, ask_text)

    def add_mark(self, kind: int, event: int, known: int) -> None:
        """A CLEAR or GAP row; it begins a message."""
        self._begin()
        self._add(kind, 0, event, known, 1, _NOTHING)

    def before_scan(self) -> None:
        """Close what was added as text, so that scanned rows come behind it."""
        if self._texts:
            self._close_texts()

    def flush(self) -> tuple[EventArray, Verdict]:
        """Rows added since the last flush (event time 0 is "not given") and what was refused among them."""
        self._close_scanned()
        self._close_texts()
        columns = Columns.joined(self._pieces) if self._pieces else Columns.empty(0)
        verdict = self._judge.judge(columns)
        self._pieces, self._piece_rows, self._taken = [], 0, 0
        self.cursor[ROWS] = 0
        return _rows(columns, verdict.kept), verdict

    def _begin(self) -> None:
        if self.cursor[ROWS] > self._taken:
            self._close_scanned()
        self.cursor[MESSAGE] += 1

    def _add(self, kind: int, side: int, event: int, known: int, count: int, text: str) -> None:
        self._segments.extend((int(self.cursor[MESSAGE]), event, known, kind, side, count))
        self._texts.append(text)
        self._text_rows += count

    def _close_scanned(self) -> None:
        stop = int(self.cursor[ROWS])
        if stop > self._taken:
            self._pieces.append(self.columns.part(self._taken, stop))
            self._piece_rows += stop - self._taken
            self._taken = stop

    def _close_texts(self) -> None:
        if not self._texts:
            return
        segments = np.frombuffer(self._segments, np.int64).reshape(-1, _SEGMENT)
        rows = np.repeat(segments, segments[:, 5], axis=0)
        text = "".join(f"{text}\n" for text in self._texts).encode()
        price, qty, status = parse_pairs(text, self._text_rows, self.grid)
        kind, side = rows[:, 3].astype(np.int8), rows[:, 4].astype(np.int8)
        message, event, known = (np.ascontiguousarray(rows[:, i]) for i in range(3))
        self._pieces.append(Columns(message, event, known, kind, side, price, qty, status))
        self._piece_rows += self._text_rows
        self._texts, self._segments, self._text_rows = [], array("q"), 0


def joined(bids: list[list[str]], asks: list[list[str]]) -> Levels:
    """Levels as the exchange lists them, ready to add; TypeError or ValueError if they are not pairs of texts."""
    return _side(bids), _side(asks)


def _side(pairs: list[list[str]]) -> tuple[str, int]:
    flat: Iterable[str] = chain.from_iterable(pairs)
    text = "\n".join(flat)
    if pairs and (set(map(len, pairs)) != {2} or text.count("\n") != 2 * len(pairs) - 1):
        raise ValueError("levels are not pairs of price and quantity")
    return text, len(pairs)


def _rows(columns: Columns, kept: Bytes) -> EventArray:
    chosen = columns.where(kept.view(np.bool_))
    last = np.ones(len(chosen.message), np.int8)
    last[:-1] = chosen.message[1:] != chosen.message[:-1]
    return EventArray(chosen.event, chosen.known, chosen.kind, chosen.side, last, chosen.price, chosen.qty)
