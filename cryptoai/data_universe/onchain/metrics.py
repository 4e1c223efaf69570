"""Which on-chain numbers exist, in which unit, how often, and how long after its end a day's value is public.

The sources map their columns to these names, the feature kernel reads them by index (`facts` of kind `onchain` carry
the index), docs/onchain.md explains each. A metric is only ever appended: the index is stored in the lake.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError

__all__ = ["DAY", "METRICS", "METRIC_NAMES", "Metric", "known_at", "metric"]

DAY = 86_400 * SECOND
_HOUR = 3_600

Cadence = Literal["day", "block"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number about a chain.

    `day`: the value covers the UTC day that starts at the event time, and is public `lag_s` seconds after its end.
    `block`: the value holds at an instant (a block, a transfer, a sample), and is public `lag_s` seconds after it.
    `low`, `high` bound what is plausible.
    """

    name: str
    unit: str
    cadence: Cadence
    lag_s: int
    low: float
    high: float
    doc: str


METRICS: tuple[Metric, ...] = (
    Metric("transactions", "1/day", "day", 2 * _HOUR, 0, 1e10, "transactions in blocks of the day"),
    Metric("active_addresses", "1/day", "day", 2 * _HOUR, 0, 1e10, "distinct addresses that sent or received"),
    Metric("fees", "quote/day", "day", 2 * _HOUR, 0, 1e10, "fees paid to miners or validators"),
    Metric("hash_rate", "TH/s", "day", 2 * _HOUR, 0, 1e15, "mean hash rate, from the day's blocks and difficulty"),
    Metric("transfer_value", "quote/day", "day", 6 * _HOUR, 0, 1e14, "value moved, change outputs removed"),
    Metric("exchange_inflow", "quote/day", "day", 12 * _HOUR, 0, 1e13, "value sent to addresses of exchanges"),
    Metric("exchange_outflow", "quote/day", "day", 12 * _HOUR, 0, 1e13, "value taken from addresses of exchanges"),
    Metric("stablecoin_supply", "quote", "day", 2 * _HOUR, 0, 1e14, "supply of the large stablecoins, all chains"),
    Metric("stablecoin_inflow", "quote/day", "day", 12 * _HOUR, 0, 1e13, "stablecoins sent to exchanges"),
    Metric("mempool_size", "transactions", "block", 60, 0, 1e9, "transactions that wait"),
    Metric("fee_rate", "sat/byte", "block", 60, 0, 1e6, "median fee rate of what waits"),
    Metric("block_height", "blocks", "block", 60, 0, 1e9, "a block was found; the event time is the block's"),
    Metric("difficulty", "hashes", "day", 2 * _HOUR, 0, 1e20, "difficulty at the end of the day"),
    Metric("market_value", "quote", "day", 2 * _HOUR, 0, 1e15, "circulating supply at the day's closing price"),
    Metric("realised_value", "quote", "day", 12 * _HOUR, 0, 1e15, "every coin at the price when it last moved"),
    Metric("sopr", "ratio", "day", 12 * _HOUR, 0, 100, "price of the outputs spent / price when they were made"),
    Metric("whale_transfer", "quote", "block", 60, 0, 1e13, "one transfer of 10 million quote units or more"),
    Metric("price", "quote", "day", 2 * _HOUR, 0, 1e9, "reference price at the end of the day"),
    Metric("fear_greed", "0..100", "day", 0, 0, 100, "the fear and greed index of the day"),
)
"""All metrics; the place in this tuple is the number stored in the lake."""

METRIC_NAMES = tuple(made.name for made in METRICS)
_INDEX = MappingProxyType({name: place for place, name in enumerate(METRIC_NAMES)})


def metric(name: str) -> int:
    """The index of a metric; `DataError` lists the names."""
    if name not in _INDEX:
        raise DataError(f"there is no on-chain metric {name!r}; there are {', '.join(METRIC_NAMES)}")
    return _INDEX[name]


def known_at(index: int, event_time: int) -> int:
    """The first moment, ns, at which a value of that time may be used: never within the day that it describes."""
    found = METRICS[index]
    end = event_time + (DAY if found.cadence == "day" else 0)
    return end + found.lag_s * SECOND
