"""Laws of exact amounts that floats break."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from cryptoai.core.money import Money, Price, Quantity

DIGITS = st.decimals(min_value=-(10**12), max_value=10**12, allow_nan=False, allow_infinity=False, places=12)
AMOUNT = DIGITS.map(Money)
STEP = st.sampled_from([Decimal(text) for text in ("1", "0.1", "0.001", "0.00001", "0.5", "0.25", "0.003", "10", "7")])


@given(AMOUNT, AMOUNT, AMOUNT)
def test_addition_is_a_group(a: Money, b: Money, c: Money) -> None:
    """Association, commutation, zero and inverse hold to the last digit."""
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Money.zero() == a
    assert a - a == Money.zero()
    assert a.times(-1) == -a


@given(DIGITS, DIGITS, DIGITS)
def test_notional_distributes(price: Decimal, first: Decimal, second: Decimal) -> None:
    """Two fills cost what one fill of both costs."""
    p, a, b = Price(price), Quantity(first), Quantity(second)
    assert p * (a + b) == p * a + p * b


@given(DIGITS)
def test_text_round_trip_is_canonical(value: Decimal) -> None:
    """Reading the text gives the same amount, and equal amounts have equal text and hash."""
    amount = Money(value)
    assert Money(str(amount)) == amount
    padded = Money(value.quantize(Decimal("1e-15")))
    assert str(padded) == str(amount)
    assert hash(padded) == hash(amount)
    assert "e" not in str(amount).lower()


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=30), STEP)
def test_floor_only_shrinks(value: Decimal, step: Decimal) -> None:
    """Rounding to the step never grows the amount, never changes its sign and loses less than one step."""
    quantity = Quantity(value)
    floored = quantity.floor_to(step)
    assert abs(floored) <= abs(quantity)
    assert abs(quantity) - abs(floored) < Quantity(step)
    assert (floored.value % step) == 0
    assert not floored or (floored.value > 0) == (quantity.value > 0)


@given(st.one_of(st.floats(), st.booleans(), st.none(), st.binary(), st.complex_numbers()))
def test_inexact_kinds_never_enter(value: object) -> None:
    """No float, finite or not, and no bool becomes an amount."""
    for kind in (Money, Price, Quantity):
        try:
            kind(value)  # type: ignore[arg-type]
        except TypeError:
            continue
        raise AssertionError(f"{value!r} was accepted as {kind.__name__}")


@given(st.text(max_size=40))
def test_text_is_an_amount_or_a_value_error(text: str) -> None:
    """Whatever a venue sends, the answer is an amount or ValueError, nothing else."""
    try:
        amount = Money(text)
    except ValueError:
        return
    assert Money(str(amount)) == amount
