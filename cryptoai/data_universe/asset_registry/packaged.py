"""Instruments that come with the package, so that the first import needs no network and no key.

Numbers as Binance published them in 2024: `exchangeInfo` (PRICE_FILTER, LOT_SIZE, MIN_NOTIONAL, onboardDate), the
leverage brackets and the fee schedule. A venue changes them; `cryptoai data assets update` records what it says today.
Must never grow into a copy of a venue's list.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from cryptoai.core.instruments import Contract, FeeTier, Instrument, LeverageBracket
from cryptoai.core.money import Money

__all__ = ["INSTRUMENTS"]

_D = Decimal
_PERCENT = Decimal("0.01")
_MS = 1_000_000

_RATES = "0.4 0.5 0.65 1 2 2.5 5 10 12.5 15 25 50"
_LEVERAGES = "125 100 75 50 25 20 10 5 4 3 2 1"
_BTC_CAPS = (
    "50000 600000 3000000 12000000 70000000 100000000 230000000 480000000 600000000 800000000 1200000000 1800000000"
)
_ETH_CAPS = (
    "50000 600000 3000000 12000000 50000000 65000000 150000000 320000000 400000000 530000000 800000000 1200000000"
)
_COIN_RATES = "0.4 0.5 1 2.5 5 10 12.5 15 25 50"
_COIN_LEVERAGES = "125 100 50 20 10 5 4 3 2 1"
_COIN_CAPS = "5 10 20 50 100 200 400 1000 1500 3000"

_USDM_FEES = "0/.02/.05 15/.016/.04 50/.014/.035 100/.012/.032 600/.01/.03 1000/.008/.027 2500/.006/.025 5000/.004/.022 12500/.002/.02 25000/0/.017"  # noqa: E501
_SPOT_FEES = "0/.1/.1 1/.09/.1 5/.08/.1 20/.04/.06 100/.04/.052 150/.025/.031 400/.02/.029 800/.019/.028 2000/.016/.025 4000/.011/.023"  # noqa: E501


def _brackets(caps: str, rates: str, leverages: str) -> tuple[LeverageBracket, ...]:
    """Rates in per cent; each amount is what keeps the margin continuous at the floor."""
    made: list[LeverageBracket] = []
    floor, rate, amount = Money.zero(), _D(0), Money.zero()
    for cap, percent, leverage in zip(caps.split(), rates.split(), leverages.split(), strict=True):
        above = _D(percent) * _PERCENT
        amount = amount + floor.times(above - rate)
        rate = above
        made.append(
            LeverageBracket(
                floor=floor,
                cap=Money(cap),
                max_leverage=int(leverage),
                maintenance_rate=rate,
                maintenance_amount=amount,
            )
        )
        floor = Money(cap)
    return tuple(made)


def _tiers(text: str) -> tuple[FeeTier, ...]:
    """`millions/maker %/taker %`, ascending."""
    rows = [row.split("/") for row in text.split()]
    return tuple(
        FeeTier(volume=Money(_D(m) * 1_000_000), maker=_D(maker) * _PERCENT, taker=_D(taker) * _PERCENT)
        for m, maker, taker in rows
    )


def _usdm(base: str, tick: str, min_notional: str, caps: str, listed_ms: int) -> Instrument:
    return Instrument(
        id=f"binance_usdm:{base}USDT",
        base=base,
        quote="USDT",
        contract=Contract.LINEAR,
        tick=_D(tick),
        step=_D("0.001"),
        min_notional=Money(min_notional),
        maker_fee=_D("0.0002"),
        taker_fee=_D("0.0005"),
        max_leverage=125,
        brackets=_brackets(caps, _RATES, _LEVERAGES),
        fee_tiers=_tiers(_USDM_FEES),
        listed=listed_ms * _MS,
    )


def _spot(base: str, step: str) -> Instrument:
    return Instrument(
        id=f"binance_spot:{base}USDT",
        base=base,
        quote="USDT",
        contract=Contract.SPOT,
        tick=_D("0.01"),
        step=_D(step),
        min_notional=Money("5"),
        maker_fee=_D("0.001"),
        taker_fee=_D("0.001"),
        max_leverage=1,
        fee_tiers=_tiers(_SPOT_FEES),
        listed=1_502_942_400_000 * _MS,
    )


_COINM = Instrument(
    id="binance_coinm:BTCUSD_PERP",
    base="BTC",
    quote="USD",
    contract=Contract.INVERSE,
    tick=_D("0.1"),
    step=_D(1),
    min_notional=Money("100"),
    maker_fee=_D("0.0002"),
    taker_fee=_D("0.0005"),
    max_leverage=125,
    contract_size=_D(100),
    brackets=_brackets(_COIN_CAPS, _COIN_RATES, _COIN_LEVERAGES),
    listed=1_597_042_800_000 * _MS,
)

INSTRUMENTS: Mapping[str, Instrument] = MappingProxyType(
    {
        made.id: made
        for made in (
            _usdm("BTC", "0.10", "100", _BTC_CAPS, 1_569_398_400_000),
            _usdm("ETH", "0.01", "20", _ETH_CAPS, 1_574_840_700_000),
            _spot("BTC", "0.00001"),
            _spot("ETH", "0.0001"),
            _COINM,
        )
    }
)
"""By id, `venue:SYMBOL`."""
