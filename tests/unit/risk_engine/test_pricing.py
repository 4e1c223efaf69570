"""Prices: from the near touch to the cap, rounded so that the order never pays more."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cryptoai.core.config import ExecutionConfig
from cryptoai.core.messages import OrderKind, Side
from cryptoai.core.money import Price
from cryptoai.risk_engine.pricing import distance_bps, limit_price, on_tick
from cryptoai.testing.fakes import make_instrument, make_quote

QUOTE = make_quote(make_instrument(), 1, "100").model_copy(update={"ask": Price("100.2")})


@pytest.mark.parametrize(
    ("side", "urgency", "price"),
    [
        (Side.BUY, "0", "100"),
        (Side.BUY, "0.25", "100.1"),
        (Side.BUY, "0.5", "100.2"),
        (Side.BUY, "1", "100.6005"),
        (Side.SELL, "0", "100.2"),
        (Side.SELL, "0.5", "100"),
        (Side.SELL, "1", "99.5995"),
    ],
)
def test_urgency_moves_the_price(side: Side, urgency: str, price: str) -> None:
    """0 the near touch, 0.5 the far touch, 1 the slippage cap of 50 basis points."""
    got = limit_price(QUOTE, side, Decimal(urgency), OrderKind.LIMIT, ExecutionConfig())
    assert got == Decimal(price)


def test_the_cap_holds_inside_the_spread() -> None:
    """With no slippage allowed the price stops at mid although the far touch is beyond."""
    strict = ExecutionConfig(max_slippage_bps=0)
    assert limit_price(QUOTE, Side.BUY, Decimal(1), OrderKind.LIMIT, strict) == Decimal("100.1")


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, "100.6"), (Side.SELL, "100.7")])
def test_rounding_favours_the_order(side: Side, price: str) -> None:
    """A buy rounds down, a sell up."""
    assert on_tick(Decimal("100.6005"), side, Decimal("0.1")) == Decimal(price)


def test_distance() -> None:
    """One in a hundred is a hundred basis points, on both sides."""
    assert distance_bps(Decimal(99), Decimal(100)) == distance_bps(Decimal(101), Decimal(100)) == 100
