"""Decimal text to whole ticks and steps in bulk: prices exact or refused, quantities exact or rounded down and told.

The tape importer calls it for every price and quantity of a capture, the scanner of raw bytes calls `parse_number`
from compiled code. It must never go through a float.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Self

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Instrument
from cryptoai.data_universe.events import Bytes, Ints
from cryptoai.data_universe.jit import lean

__all__ = ["GOOD", "NEGATIVE", "NOT_A_NUMBER", "OFF_GRID", "ROUNDED", "Grid", "parse_number", "parse_pairs"]

GOOD, ROUNDED, NOT_A_NUMBER, NEGATIVE, OFF_GRID = range(5)
"""What became of a pair. ROUNDED: an order older than a change of step has a finer quantity, which is rounded down."""

_MOST_DIGITS = 18
_NEWLINE, _POINT, _MINUS, _ZERO = (ord(c) for c in "\n.-0")


@dataclass(frozen=True, slots=True)
class Grid:
    """`tick` and `step` as (decimal places, units of the last place): 0.10 is (1, 1), 0.5 is (1, 5)."""

    price: tuple[int, int]
    quantity: tuple[int, int]

    @classmethod
    def of(cls, instrument: Instrument) -> Self:
        return cls(_places(instrument.tick), _places(instrument.step))


def parse_pairs(text: bytes, rows: int, grid: Grid) -> tuple[Ints, Ints, Bytes]:
    """`price\\nqty\\n` repeated `rows` times -> (ticks int64[rows], steps int64[rows], status int8[rows]).

    Numbers mean something where status is GOOD or ROUNDED. `DataError` if the text does not hold 2 x rows numbers.
    """
    prices, qtys, status = np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.int8)
    if _parse(np.frombuffer(text, np.uint8), grid.price, grid.quantity, prices, qtys, status) != len(text):
        raise DataError(f"{rows} price and quantity pairs were announced, but the text holds another number of them")
    return prices, qtys, status


def _places(grid: Decimal) -> tuple[int, int]:
    exponent = grid.normalize().as_tuple().exponent
    decimals = max(0, -int(exponent))
    return decimals, int(grid.scaleb(decimals))


@lean
def _parse(
    text: npt.NDArray[np.uint8],
    price_grid: tuple[int, int],
    qty_grid: tuple[int, int],
    prices: Ints,
    qtys: Ints,
    status: Bytes,
) -> int:
    at = 0
    for row in range(len(prices)):
        prices[row], bad_price, at = parse_number(text, at, _NEWLINE, price_grid)
        qtys[row], bad_qty, at = parse_number(text, at, _NEWLINE, qty_grid)
        status[row] = max(bad_price, ROUNDED if bad_qty == OFF_GRID else bad_qty)
    return at


@lean
def parse_number(text: npt.NDArray[np.uint8], at: int, end: int, grid: tuple[int, int]) -> tuple[int, int, int]:
    """One number up to the byte `end` -> (grid units, status, position behind that byte)."""
    value, digits, places, status = 0, 0, -1, GOOD
    negative = at < len(text) and text[at] == _MINUS
    at += negative
    while at < len(text) and text[at] != end:
        digit = int(text[at]) - _ZERO
        if text[at] == _POINT and places < 0:
            places = 0
        elif digit < 0 or digit > 9 or digits >= _MOST_DIGITS:
            status = NOT_A_NUMBER
        elif places < grid[0]:
            value, digits, places = value * 10 + digit, digits + 1, places + (places >= 0)
        elif digit > 0 and status == GOOD:
            status = OFF_GRID
        at += 1
    value, fit = _scaled(value, digits, grid[0] - max(places, 0), grid[1])
    status = fit if status == GOOD else status
    if status == GOOD and negative and value > 0:
        status = NEGATIVE
    return value, status, at + 1


@lean
def _scaled(value: int, digits: int, missing: int, units: int) -> tuple[int, int]:
    if digits == 0 or digits + missing > _MOST_DIGITS:
        return 0, NOT_A_NUMBER
    for _ in range(missing):
        value *= 10
    if units == 1:
        return value, GOOD
    return value // units, (GOOD if value % units == 0 else OFF_GRID)
