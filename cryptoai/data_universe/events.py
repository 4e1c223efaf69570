"""The columnar event array: every market fact of one instrument as one row of integers, in the order it became known.

The tape importer makes it, the lake stores it, the book, the features and the simulated venue read it inside compiled
loops. Prices are whole ticks and quantities whole steps of the instrument, so replays are exact; nothing is a float.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash

__all__ = ["ASK", "BID", "CLEAR", "GAP", "LEVEL", "QUOTE", "TRADE", "EventArray"]

LEVEL = 0
"""Quantity at a price of the book is now `qty` (0 removes the level); `side` is the book's side."""
TRADE = 1
"""A trade; `side` is the aggressor's: +1 bought, -1 sold."""
CLEAR = 2
"""A snapshot begins: forget the book; the LEVEL rows up to the next `last` row are the whole book."""
QUOTE = 3
"""Best price and quantity of one side, from the venue's own top-of-book stream; does not change the book."""
GAP = 4
"""A hole in the tape: the book is unknown until the next CLEAR."""

BID = 1
ASK = -1

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class EventArray:
    """Columns of equal length n, sorted by `known_at` (33 bytes a row).

    event_time, known_at: int64[n], ns UTC, event_time <= known_at after clock correction;
    kind, side, last: int8[n]; `last` is 1 on the last row of one venue message, where the book is consistent;
    price: int64[n] in ticks; qty: int64[n] in steps.
    """

    event_time: Ints
    known_at: Ints
    kind: Bytes
    side: Bytes
    last: Bytes
    price: Ints
    qty: Ints

    def __post_init__(self) -> None:
        if len({len(getattr(self, f.name)) for f in fields(self)}) != 1:
            raise DataError("the columns of an event array must have one length")

    def __len__(self) -> int:
        return len(self.known_at)

    def slice(self, start: int, stop: int) -> Self:
        """Rows [start, stop) as views."""
        return type(self)(*(getattr(self, f.name)[start:stop] for f in fields(self)))

    def until(self, known_at: int) -> int:
        """Number of rows known at `known_at` or earlier."""
        return int(np.searchsorted(self.known_at, known_at, side="right"))

    def fingerprint(self) -> str:
        """32 hex digits over every column."""
        return content_hash(b"".join(np.ascontiguousarray(getattr(self, f.name)).tobytes() for f in fields(self)), 32)
