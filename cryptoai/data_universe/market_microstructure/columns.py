"""Rows of the importer before they are judged: what the scanner and the texts both become.

`assembly` collects them, `plausibility` judges them, `scan` writes them. Plain arrays, so that compiled code can.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from cryptoai.data_universe.events import Bytes, Ints

__all__ = ["Columns"]


class Columns(NamedTuple):
    """Rows before judgement; all int64[n] but kind, side, status int8[n]. `message` numbers the message of a row."""

    message: Ints
    event: Ints
    known: Ints
    kind: Bytes
    side: Bytes
    price: Ints
    qty: Ints
    status: Bytes

    @classmethod
    def empty(cls, rows: int) -> Self:
        wide = [np.empty(rows, np.int64) for _ in range(5)]
        kind, side, status = (np.empty(rows, np.int8) for _ in range(3))
        return cls(wide[0], wide[1], wide[2], kind, side, wide[3], wide[4], status)

    @classmethod
    def joined(cls, pieces: list[Columns]) -> Self:
        return cls._make(np.concatenate(column) for column in zip(*pieces, strict=True))

    def part(self, start: int, stop: int) -> Self:
        """Rows [start, stop) as views."""
        return type(self)._make(column[start:stop] for column in self)

    def where(self, kept: npt.NDArray[np.bool_]) -> Self:
        """The chosen rows as a copy."""
        return type(self)._make(column[kept] for column in self)
