"""What is traded: exact tick and step, contract type, fees. The kernel's integers get their meaning here.

Made by the asset registry (`data_universe`), read by risk, execution, venues and features.
Never guesses: an instrument that the registry does not know does not exist.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cryptoai.core.ids import parse_instrument
from cryptoai.core.money import Money, Price, Quantity, whole_steps

__all__ = ["Contract", "Instrument"]


class Contract(StrEnum):
    """How quantity becomes money."""

    SPOT = "spot"
    LINEAR = "linear"
    INVERSE = "inverse"


class Instrument(BaseModel):
    """One tradable thing on one venue (frozen).

    `tick` is quote per base unit, `step` base units (contracts if inverse), fees are fractions of
    notional (negative is a rebate), `contract_size` is the quote value of one inverse contract.
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
    max_leverage: int = Field(ge=1, le=125)
    contract_size: Decimal = Field(default=Decimal(1), gt=0)

    @field_validator("id")
    @classmethod
    def _is_venue_and_symbol(cls, value: str) -> str:
        parse_instrument(value)
        return value

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

    def fee(self, price: Price, quantity: Quantity, *, maker: bool) -> Money:
        """The fee of one fill, positive is paid; linear and spot contracts."""
        return (price * abs(quantity)).times(self.maker_fee if maker else self.taker_fee)
