"""Which dialect a venue speaks: the importer and the recorder ask here. A venue that nobody decodes is refused.

Venue names are those of instrument ids; a suffix tells a venue's markets apart (`bybit_linear`, `okx_swap`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptoai.core.errors import DataError
from cryptoai.data_universe.market_microstructure.checksums import CheckedBook
from cryptoai.data_universe.market_microstructure.messages import Decoder
from cryptoai.data_universe.market_microstructure.sequence import BinanceRule, ChainRule, Rule
from cryptoai.data_universe.market_microstructure.venues.binance import Binance
from cryptoai.data_universe.market_microstructure.venues.bybit import Bybit
from cryptoai.data_universe.market_microstructure.venues.coinbase import Coinbase
from cryptoai.data_universe.market_microstructure.venues.kraken import Kraken
from cryptoai.data_universe.market_microstructure.venues.okx import Okx

__all__ = ["CAPTURE_NAMES", "VENUES", "Dialect", "dialect", "plain"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to read a venue, and a fresh rule for one instrument's depth stream."""

    decoder: Decoder
    rule: Callable[[], Rule]


_FUTURES = Dialect(Binance(spot=False), lambda: BinanceRule(keeps_equal=True))
_SPOT = Dialect(Binance(spot=True), lambda: BinanceRule(keeps_equal=False))

VENUES = {
    "binance_usdm": _FUTURES,
    "binance_coinm": _FUTURES,
    "binance_spot": _SPOT,
    "binance_us": _SPOT,
    "bybit": Dialect(Bybit(), ChainRule),
    "okx": Dialect(Okx(), lambda: ChainRule(CheckedBook.okx())),
    "coinbase": Dialect(Coinbase(), ChainRule),
    "kraken": Dialect(Kraken(), lambda: ChainRule(CheckedBook.kraken())),
}
"""By the venue of an instrument id."""

CAPTURE_NAMES = {
    "BINANCE": "binance_spot",
    "BINANCE_US": "binance_us",
    "BINANCE_FUTURES": "binance_usdm",
    "BINANCE_DELIVERY": "binance_coinm",
    "BYBIT": "bybit",
    "OKX": "okx",
    "OKEX": "okx",
    "COINBASE": "coinbase",
    "KRAKEN": "kraken",
}
"""Venue by the name that multi-exchange captures and Tardis files give it, in capitals."""


def dialect(venue: str) -> Dialect:
    """The dialect of a venue; `DataError` names those that are known."""
    known = venue if venue in VENUES else venue.split("_", 1)[0]
    if known not in VENUES:
        raise DataError(f"captures of venue {venue!r} are not understood; known are {', '.join(VENUES)}")
    return VENUES[known]


def plain() -> Rule:
    """For recordings that carry neither ids nor checksums."""
    return ChainRule()
