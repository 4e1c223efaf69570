"""Decimal text to ticks and steps: exact against `decimal.Decimal`, or refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoai.core.errors import DataError
from cryptoai.data_universe.market_microstructure.decimals import (
    GOOD,
    NEGATIVE,
    NOT_A_NUMBER,
    OFF_GRID,
    ROUNDED,
    Grid,
    parse_pairs,
)

GRID = Grid(price=(1, 5), quantity=(3, 1))


def _one(price: str, qty: str) -> tuple[int, int, int]:
    prices, qtys, status = parse_pairs(f"{price}\n{qty}\n".encode(), 1, GRID)
    return int(prices[0]), int(qtys[0]), int(status[0])


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 5))
def test_every_multiple_of_the_grid_is_exact(ticks: int, steps: int, zeros: int) -> None:
    """Any number of ticks and steps survives its decimal text, with or without trailing zeros."""
    price, qty = ticks * Decimal("0.5"), steps * Decimal("0.001")
    assert _one(f"{price:.1f}" + "0" * zeros, f"{qty:.3f}" + "0" * zeros) == (ticks, steps, GOOD)


@pytest.mark.parametrize(
    ("price", "qty", "status"),
    [
        ("1.0", "0.0015", ROUNDED),
        ("1.3", "1", OFF_GRID),
        ("1.05", "1", OFF_GRID),
        ("-1.0", "1", NEGATIVE),
        ("1.0", "-0.001", NEGATIVE),
        ("", "1", NOT_A_NUMBER),
        ("1e3", "1", NOT_A_NUMBER),
        ("1.2.3", "1", NOT_A_NUMBER),
        ("NaN", "1", NOT_A_NUMBER),
        ("1.0", "9" * 19, NOT_A_NUMBER),
        ("1.0", "9" * 17, NOT_A_NUMBER),
    ],
)
def test_what_is_not_exact_is_told(price: str, qty: str, status: int) -> None:
    """Each way to be wrong has its own status, overflow included."""
    assert _one(price, qty)[2] == status


def test_a_finer_quantity_is_rounded_down() -> None:
    """Never up: nobody may count on more than there is."""
    assert _one("1.5", "0.0019") == (3, 1, ROUNDED)


@pytest.mark.parametrize("text", ["1\n1\n2\n", "1\n", "1\n1"])
def test_a_wrong_number_of_numbers_is_an_error(text: str) -> None:
    """Misaligned text never becomes misaligned columns."""
    with pytest.raises(DataError, match="pairs were announced"):
        parse_pairs(text.encode(), 1, GRID)
