"""Leverage brackets, fee tiers and listing dates of an instrument."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from pydantic import ValidationError

from cryptoai.core.instruments import FeeTier, Instrument, LeverageBracket
from cryptoai.core.money import Money

Perp = Callable[..., Instrument]


def bracket(floor: str, cap: str, leverage: int, rate: str, amount: str) -> LeverageBracket:
    return LeverageBracket(
        floor=Money(floor),
        cap=Money(cap),
        max_leverage=leverage,
        maintenance_rate=Decimal(rate),
        maintenance_amount=Money(amount),
    )


LOW = bracket("0", "50000", 125, "0.004", "0")
HIGH = bracket("50000", "600000", 100, "0.005", "50")


def tier(volume: str, maker: str, taker: str) -> FeeTier:
    return FeeTier(volume=Money(volume), maker=Decimal(maker), taker=Decimal(taker))


def test_the_bracket_is_chosen_by_absolute_notional(perp: Perp) -> None:
    """A short weighs as much as a long; the cap belongs to the next bracket; above the last there is none."""
    made = perp(brackets=(LOW, HIGH))
    assert made.bracket(Money("-49999.99")) == LOW
    assert made.bracket(Money("50000")) == HIGH
    assert made.bracket(Money("600000")) is None
    assert perp().bracket(Money("1")) is None


def test_the_margin_does_not_jump_between_brackets() -> None:
    """The amount taken off makes both sides of a border equal."""
    assert LOW.maintenance(Money("50000")) == HIGH.maintenance(Money("50000")) == Money("200")


@pytest.mark.parametrize(
    "brackets",
    [
        (HIGH,),
        (LOW, bracket("60000", "600000", 100, "0.005", "50")),
        (LOW, bracket("50000", "600000", 126, "0.005", "50")),
        (LOW, bracket("50000", "600000", 100, "0.003", "50")),
    ],
    ids=["no first", "a gap", "more leverage", "less margin"],
)
def test_brackets_that_do_not_join_are_refused(brackets: tuple[LeverageBracket, ...], perp: Perp) -> None:
    """They start at nothing, touch, and ask for more as they go up."""
    with pytest.raises(ValidationError, match="bracket"):
        perp(brackets=brackets)


def test_a_bracket_is_a_span() -> None:
    """The cap is above the floor."""
    with pytest.raises(ValidationError, match="from floor up to cap"):
        bracket("5", "5", 1, "0.5", "0")


def test_the_fee_tier_is_the_highest_reached(perp: Perp) -> None:
    """Volume exactly at the border counts; without tiers the fees of the instrument hold."""
    low, high = tier("0", "0.0002", "0.0005"), tier("15000000", "0.00016", "0.0004")
    made = perp(fee_tiers=(low, high))
    assert made.fee_tier(Money("14999999")) == low
    assert made.fee_tier(Money("15000000")) == high
    assert perp().fee_tier(Money("9")) == low
    with pytest.raises(ValidationError, match="ascend"):
        perp(fee_tiers=(high, low))


def test_it_trades_from_listing_to_delisting(perp: Perp) -> None:
    """The first moment is in, the last is out, an unknown date does not end anything."""
    made = perp(listed=10, delisted=20)
    assert [made.trades_at(t) for t in (9, 10, 19, 20)] == [False, True, True, False]
    assert perp().trades_at(0)
    with pytest.raises(ValidationError, match="not after listed"):
        perp(listed=10, delisted=10)


def test_what_was_stored_reads_back(perp: Perp) -> None:
    """JSON keeps every digit of brackets and tiers, and an older text without them is still an instrument."""
    made = perp(brackets=(LOW, HIGH), fee_tiers=(tier("0", "0.0002", "0.0005"),), listed=1)
    assert Instrument.model_validate_json(made.model_dump_json()) == made
    assert Instrument.model_validate(perp().model_dump(exclude={"brackets", "fee_tiers", "listed"})) == perp()
