"""What is traded: exact tick and step, contract type, fees. The kernel's integers get their meaning here.

Made by the asset registry (`data_universe`), read by risk, execution, venues and features.
Never guesses: an instrument that the registry does not know does not exist.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cryptoai.core.ids import parse_instrument
from cryptoai.core.money import Money, Price, Quantity, whole_steps

__all__ = ["Contract", "FeeTier", "Instrument", "LeverageBracket"]

_COIN = Decimal("1E-18")
"""Smallest amount of coin that an inverse contract is reckoned in."""
_WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)


class Contract(StrEnum):
    """How quantity becomes money."""

    SPOT = "spot"
    LINEAR = "linear"
    INVERSE = "inverse"


class LeverageBracket(BaseModel):
    """What the venue demands of a position whose notional lies in [floor, cap) (frozen).

    Notionals are in the settlement currency (quote if linear, base if inverse). `maintenance_rate` is a fraction of
    the whole notional; `maintenance_amount` is taken off again, so that the margin is continuous between brackets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    floor: Money
    cap: Money
    max_leverage: int = Field(ge=1, le=1000)
    maintenance_rate: Decimal = Field(ge=0, le=1)
    maintenance_amount: Money

    @model_validator(mode="after")
    def _is_a_span(self) -> LeverageBracket:
        if not Money.zero() <= self.floor < self.cap:
            raise ValueError(f"a bracket goes from floor up to cap, not from {self.floor} to {self.cap}")
        return self

    def maintenance(self, notional: Money) -> Money:
        """The margin below which a position of this notional is liquidated."""
        return notional.times(self.maintenance_rate) - self.maintenance_amount


class FeeTier(BaseModel):
    """The fees of who traded at least `volume` (quote units in 30 days), as fractions of notional (frozen)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    volume: Money
    maker: Decimal = Field(ge=Decimal("-0.01"), le=Decimal("0.05"))
    taker: Decimal = Field(ge=Decimal("-0.01"), le=Decimal("0.05"))


class Instrument(BaseModel):
    """One tradable thing on one venue (frozen).

    `tick` is quote per base unit, `step` base units (contracts if inverse), fees are fractions of
    notional (negative is a rebate), `contract_size` is the quote value of one inverse contract.
    `brackets` and `fee_tiers` are ascending and may be empty (unknown); `listed` and `delisted` are the first moment
    of trading and the first without it, ns, None if unknown or not set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(description="venue:SYMBOL, for example binance_usdm:BTCUSDT")
    base: str
    quote: str
    contract: Contract
    tick: Decimal = Field(gt=0)
    step: Decimal = Field(gt=0)
    min_notional: Money
    maker_fee: Decimal = Field(ge=Decimal("-0.01"), le=Decimal("0.05"))
    taker_fee: Decimal = Field(ge=Decimal("-0.01"), le=Decimal("0.05"))
    max_leverage: int = Field(ge=1, le=1000)
    contract_size: Decimal = Field(default=Decimal(1), gt=0)
    brackets: tuple[LeverageBracket, ...] = ()
    fee_tiers: tuple[FeeTier, ...] = ()
    listed: int | None = None
    delisted: int | None = None

    @field_validator("id")
    @classmethod
    def _is_venue_and_symbol(cls, value: str) -> str:
        parse_instrument(value)
        return value

    @field_validator("brackets")
    @classmethod
    def _brackets_join(cls, value: tuple[LeverageBracket, ...]) -> tuple[LeverageBracket, ...]:
        if value and value[0].floor:
            raise ValueError(f"the first bracket starts at 0, not {value[0].floor}")
        for low, high in pairwise(value):
            if low.cap != high.floor:
                raise ValueError(f"bracket from {high.floor} does not start where the one below ends, at {low.cap}")
            if high.max_leverage > low.max_leverage or high.maintenance_rate < low.maintenance_rate:
                raise ValueError(f"bracket from {high.floor} demands less margin than the one below it")
        return value

    @field_validator("fee_tiers")
    @classmethod
    def _tiers_rise(cls, value: tuple[FeeTier, ...]) -> tuple[FeeTier, ...]:
        if any(high.volume <= low.volume for low, high in pairwise(value)):
            raise ValueError("fee tiers ascend by volume, each once")
        return value

    @model_validator(mode="after")
    def _listed_first(self) -> Instrument:
        if self.listed is not None and self.delisted is not None and self.delisted <= self.listed:
            raise ValueError(f"delisted {self.delisted} is not after listed {self.listed}")
        return self

    @property
    def venue(self) -> str:
        return parse_instrument(self.id)[0]

    @property
    def symbol(self) -> str:
        return parse_instrument(self.id)[1]

    def price(self, ticks: int) -> Price:
        return Price.from_ticks(ticks, self.tick)

    def quantity(self, lots: int) -> Quantity:
        return Quantity.from_lots(lots, self.step)

    def ticks(self, price: Price) -> int:
        """Whole ticks, toward zero."""
        return whole_steps(price.value, self.tick)

    def lots(self, quantity: Quantity) -> int:
        """Whole steps, toward zero."""
        return whole_steps(quantity.value, self.step)

    def trades_at(self, now_ns: int) -> bool:
        """Whether it is listed at that moment; unknown dates count as listed."""
        return (self.listed is None or self.listed <= now_ns) and (self.delisted is None or now_ns < self.delisted)

    def bracket(self, notional: Money) -> LeverageBracket | None:
        """The bracket of a position, by absolute notional; None if brackets are unknown or it is above the last cap."""
        size = abs(notional)
        return next((found for found in self.brackets if found.floor <= size < found.cap), None)

    def fee_tier(self, volume: Money) -> FeeTier:
        """The fees of who traded this much in 30 days; the instrument's own where no tier is known."""
        reached = [tier for tier in self.fee_tiers if tier.volume <= volume]
        return reached[-1] if reached else FeeTier(volume=Money.zero(), maker=self.maker_fee, taker=self.taker_fee)

    @property
    def settlement(self) -> str:
        """The currency of its profit, fees and funding: quote, or base if inverse."""
        return self.base if self.contract is Contract.INVERSE else self.quote

    def value(self, price: Price, quantity: Quantity) -> Money:
        """What holding `quantity` (signed) at `price` adds to equity beside cash, in the settlement currency.

        price x quantity; for an inverse contract -contract_size x quantity / price, so that value(exit) - value(entry)
        is the profit in coin. That quotient is rounded to 18 places, half to even: an odd function, so that what a
        long loses is to the last digit what a short gains.
        """
        if self.contract is not Contract.INVERSE:
            return price * quantity
        worth = _WIDE.divide(-self.contract_size * quantity.value, price.value)
        return Money(_WIDE.quantize(worth, _COIN))

    def notional(self, price: Price, quantity: Quantity) -> Money:
        """Size of a position in the settlement currency: what brackets, fees and funding are fractions of."""
        return abs(self.value(price, quantity))

    def quote_notional(self, price: Price, quantity: Quantity) -> Money:
        """Size in quote units: what the smallest order and the volume of fee tiers are counted in."""
        if self.contract is Contract.INVERSE:
            return Money(self.contract_size).times(abs(quantity).value)
        return price * abs(quantity)

    def fee(self, price: Price, quantity: Quantity, *, maker: bool, volume: Money | None = None) -> Money:
        """The fee of one fill in the settlement currency, positive is paid; `volume` is that of the last 30 days."""
        tier = None if volume is None or not self.fee_tiers else self.fee_tier(volume)
        made, taken = (self.maker_fee, self.taker_fee) if tier is None else (tier.maker, tier.taker)
        return self.notional(price, quantity).times(made if maker else taken)
