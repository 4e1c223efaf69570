"""Exact amounts: `Price`, `Quantity` and `Money` are decimals that cannot be mixed up.

Every boundary (messages, journal, account, risk, venues) speaks these types; floats exist only
inside learned code and compiled kernels and are converted at named borders (`Price.from_ticks`,
`float(x)`). A float is refused by the constructors because its decimal digits were never meant.

    Price × Quantity = Money      quote currency per base unit × base units
    Money ± Money = Money         Quantity ± Quantity = Quantity      Price − Price = Price
    amount × Decimal|int = amount

Arithmetic is exact: the context carries 60 digits and traps what it cannot represent.
"""

from __future__ import annotations

from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

__all__ = ["EXACT", "Money", "Price", "Quantity", "whole_steps"]

EXACT = Context(prec=60, traps=[InvalidOperation, DivisionByZero, Overflow, Inexact])
"""Adds and multiplies without losing a digit, or raises `decimal.Inexact`."""

Exact = Decimal | int | str


def _decimal(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, str)):
        raise TypeError(f"an exact amount takes Decimal, int or str, not {type(value).__name__} {value!r}")
    try:
        number = EXACT.create_decimal(value)
    except InvalidOperation:
        raise ValueError(f"not a decimal number: {value!r}") from None
    except Inexact:
        raise ValueError(f"an amount has at most {EXACT.prec} digits, not {value!r}") from None
    if not number.is_finite():
        raise ValueError(f"an amount must be finite, not {value!r}")
    if abs(number.adjusted()) >= EXACT.prec:
        raise ValueError(f"an amount has at most {EXACT.prec} digits, not {value!r}")
    return number


def whole_steps(value: Decimal, step: Decimal) -> int:
    """How many whole `step`s are in `value`, toward zero; exact, where `value / step` would round first."""
    return int(EXACT.divide_int(value, step))


class _Amount:
    """An immutable decimal with a unit; subclasses differ only in meaning."""

    __slots__ = ("value",)
    value: Decimal

    def __init__(self, value: Exact) -> None:
        object.__setattr__(self, "value", _decimal(value))

    @classmethod
    def _of(cls, value: Decimal) -> Self:
        made = cls.__new__(cls)
        object.__setattr__(made, "value", value)
        return made

    @classmethod
    def zero(cls) -> Self:
        return cls._of(Decimal(0))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __add__(self, other: Self) -> Self:
        return self._of(EXACT.add(self.value, self._same(other)))

    def __sub__(self, other: Self) -> Self:
        return self._of(EXACT.subtract(self.value, self._same(other)))

    def __neg__(self) -> Self:
        return self._of(self.value.copy_negate())

    def __abs__(self) -> Self:
        return self._of(self.value.copy_abs())

    def times(self, factor: Decimal | int) -> Self:
        """This amount `factor` times, exactly."""
        return self._of(EXACT.multiply(self.value, _decimal(factor)))

    def _same(self, other: object) -> Decimal:
        if type(other) is not type(self):
            raise TypeError(f"cannot combine {type(self).__name__} with {type(other).__name__}")
        return other.value

    def __lt__(self, other: Self) -> bool:
        return self.value < self._same(other)

    def __le__(self, other: Self) -> bool:
        return self.value <= self._same(other)

    def __gt__(self, other: Self) -> bool:
        return self.value > self._same(other)

    def __ge__(self, other: Self) -> bool:
        return self.value >= self._same(other)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.value))

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __str__(self) -> str:
        """Plain digits without exponent or trailing zeros: the canonical text of the journal."""
        text = format(self.value, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text in ("-0", "") else text

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self}')"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self.value),)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: Any) -> Any:
            if isinstance(value, cls):
                return value
            try:
                return cls(value)
            except TypeError as error:
                raise ValueError(str(error)) from None

        return core_schema.no_info_plain_validator_function(
            read,
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
        )


class Money(_Amount):
    """An amount of the account's settlement currency."""

    __slots__ = ()


class Quantity(_Amount):
    """Base units (linear, spot) or contracts (inverse); negative is short or sell."""

    __slots__ = ()

    @classmethod
    def from_lots(cls, lots: int, step: Decimal) -> Self:
        """`lots` steps of the instrument: the border from the compiled kernel."""
        return cls._of(EXACT.multiply(Decimal(lots), step))

    def floor_to(self, step: Decimal) -> Self:
        """Toward zero to a whole number of steps: rounding may only shrink an order."""
        return self._of(EXACT.multiply(Decimal(whole_steps(self.value, step)), step))


class Price(_Amount):
    """Quote currency per base unit."""

    __slots__ = ()

    @classmethod
    def from_ticks(cls, ticks: int, tick: Decimal) -> Self:
        """`ticks` ticks of the instrument: the border from the compiled kernel."""
        return cls._of(EXACT.multiply(Decimal(ticks), tick))

    def __mul__(self, quantity: Quantity) -> Money:
        if not isinstance(quantity, Quantity):
            raise TypeError(f"a Price multiplies a Quantity, not {type(quantity).__name__}; use times()")
        return Money._of(EXACT.multiply(self.value, quantity.value))
