"""Exact amounts: construction, units, text."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal, Inexact

import pytest
from pydantic import BaseModel, ValidationError

from cryptoai.core.money import Money, Price, Quantity, whole_steps

KINDS = (Money, Price, Quantity)


class Holder(BaseModel):
    amount: Money


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.1, float("nan"), True, False, None, b"1", [1], 1j])
def test_refuses_what_is_not_exact(kind: type[Money], value: object) -> None:
    """Only Decimal, int and str have the digits that were meant."""
    with pytest.raises(TypeError, match="takes Decimal, int or str"):
        kind(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["NaN", "sNaN", "inf", "-Infinity", "", "abc", "1,5", "1e60", "1e-60", "9" * 61])
def test_refuses_what_is_no_amount(value: str) -> None:
    """NaN, infinities, text and what does not fit the exact context end in ValueError."""
    with pytest.raises(ValueError, match=r"decimal number|finite|digits"):
        Money(value)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("1.500", "1.5"), ("1E+3", "1000"), ("-0", "0"), ("-0.00", "0"), ("1e-8", "0.00000001"), ("100", "100")],
)
def test_text_is_canonical(written: str, canonical: str) -> None:
    """Equal amounts have one text: no exponent, no trailing zero, no minus zero."""
    assert str(Quantity(written)) == canonical
    assert repr(Quantity(written)) == f"Quantity('{canonical}')"


def test_units_do_not_mix() -> None:
    """Adding or ordering two different units is a bug, and equality is False."""
    for operation in ("__add__", "__sub__", "__lt__", "__le__", "__gt__", "__ge__"):
        with pytest.raises(TypeError, match="cannot combine"):
            getattr(Money(1), operation)(Quantity(1))
    assert Money(1) != Quantity(1)
    assert Money(1) != 1
    assert len({Money(1), Quantity(1), Money("1.0")}) == 2


def test_price_times_quantity_is_money() -> None:
    """The only product of two units, exact to the last digit."""
    cost = Price("57301.10") * Quantity("-0.003")
    assert cost == Money("-171.9033")
    assert type(cost) is Money
    with pytest.raises(TypeError, match="multiplies a Quantity"):
        Price(1) * Money(1)  # type: ignore[operator]


def test_times_takes_exact_factors_only() -> None:
    """A float factor would smuggle rounding in."""
    assert Money("10").times(Decimal("0.0002")) == Money("0.002")
    with pytest.raises(TypeError):
        Money(10).times(0.5)  # type: ignore[arg-type]


def test_signs_and_truth() -> None:
    """Negation, magnitude, zero and float are those of the number."""
    assert -Money("1.5") == Money("-1.5")
    assert abs(Quantity("-2")) == Quantity(2)
    assert not Money.zero()
    assert bool(Money("0.01"))
    assert float(Price("0.1")) == 0.1
    assert Money(1) < Money(2) <= Money(2) < Money(3) > Money(2) >= Money(2)


def test_inexact_sums_raise() -> None:
    """What sixty digits cannot hold is an error, never a rounded amount."""
    with pytest.raises(Inexact):
        Money("1e50") + Money("1e-50")


@pytest.mark.parametrize("kind", KINDS)
def test_amounts_never_change(kind: type[Money]) -> None:
    """An amount is a value: no assignment, no deletion, no new attribute."""
    amount = kind(1)
    with pytest.raises(AttributeError, match="immutable"):
        amount.value = Decimal(2)
    with pytest.raises(AttributeError, match="immutable"):
        del amount.value
    with pytest.raises(AttributeError, match="immutable"):
        amount.other = 1  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(amount)) == copy.deepcopy(amount) == kind(1)  # noqa: S301


def test_rounding_to_steps_is_exact() -> None:
    """Thirty-five nines are not one: dividing in the default context would round them up."""
    almost = "0." + "9" * 35
    assert Quantity(almost).floor_to(Decimal(1)) == Quantity.zero()
    assert Quantity("-" + almost).floor_to(Decimal(1)) == Quantity.zero()
    assert whole_steps(Decimal("-0.0039"), Decimal("0.001")) == -3


def test_kernel_integers() -> None:
    """Ticks and lots become exact amounts at the named border."""
    assert Price.from_ticks(573011, Decimal("0.10")) == Price("57301.1")
    assert Quantity.from_lots(-3, Decimal("0.001")) == Quantity("-0.003")


def test_json_carries_canonical_digits() -> None:
    """A model writes an amount as text and reads it back; a JSON number with a point is refused."""
    held = Holder(amount=Money("1.50"))
    assert held.model_dump_json() == '{"amount":"1.5"}'
    assert Holder.model_validate_json('{"amount":"1.5"}') == held
    assert Holder.model_validate_json('{"amount":2}').amount == Money(2)
    for bad in ('{"amount":1.5}', '{"amount":true}', '{"amount":"x"}', '{"amount":"' + "9" * 70 + '"}'):
        with pytest.raises(ValidationError):
            Holder.model_validate_json(bad)
    assert json.loads(json.dumps(Holder.model_json_schema()))["properties"]["amount"]["type"] == "string"
