"""The classes of market events: what each means, what does not belong to it, and how bad one of it usually is.

The classifier is trained on these names, the lake stores their index, features count by them. A class is only ever
appended. docs/market-events.md shows this table with examples.
"""

# ruff: noqa: E501  -- a class is one line, as in a table
from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from cryptoai.core.errors import DataError

__all__ = ["CATEGORIES", "CATEGORY_NAMES", "Category", "category"]


@dataclass(frozen=True, slots=True)
class Category:
    """One class. `severity` is the prior weight of an event of it, 0..1; `sentiment` the prior tone for holders."""

    name: str
    definition: str
    not_here: str
    severity: float
    sentiment: float


CATEGORIES: tuple[Category, ...] = (
    Category("listing", "a venue will trade, or starts to trade, a coin or a contract on it", "fund listings: fund", 0.4, 0.4),
    Category("delisting", "a venue stops, or will stop, trading a coin, pair or contract", "a halt of minutes: venue_incident", 0.6, -0.6),
    Category("hack", "theft, exploit, drained funds, stolen keys, malicious code", "an outage without theft: *_incident", 0.9, -0.8),
    Category("regulation", "laws, rules, licences, tax, bans: what states make for everybody", "one accused party: enforcement", 0.5, 0.0),
    Category("enforcement", "a charge, suit, fine, arrest or settlement against a named party", "rules for all: regulation", 0.6, -0.5),
    Category("unlock", "locked or vested tokens become free, on a date or now", "a hard fork: upgrade", 0.4, -0.3),
    Category("venue_incident", "an exchange, wallet or custodian fails or halts without plan", "planned work: maintenance", 0.6, -0.4),
    Category("network_incident", "a chain, bridge or rollup stalls, splits, reorganises or lags", "theft: hack", 0.7, -0.5),
    Category("maintenance", "planned downtime of a venue: maintenance, suspended deposits, new tick or lot", "unplanned: venue_incident", 0.2, 0.0),
    Category("upgrade", "a fork, client release, mainnet or testnet of a protocol, a halving", "a venue's halt for it: maintenance", 0.3, 0.2),
    Category("macro", "rates, inflation, jobs, central banks, treasuries, war, trade policy", "rules on crypto: regulation", 0.6, 0.0),
    Category("expiry", "options or futures expire, settle or roll; their open interest by strike", "liquidations: market_move", 0.3, 0.0),
    Category("adoption", "a company, bank or state uses, accepts, buys or builds on crypto", "funds: fund", 0.3, 0.4),
    Category("fund", "exchange-traded and other funds on crypto: filings, approvals, in- and outflows", "a company's treasury: adoption", 0.5, 0.2),
    Category("market_move", "price, volume, liquidations, records, large transfers, as they happen", "the cause as the subject: its class", 0.4, 0.0),
    Category("depeg", "a stablecoin or wrapped or staked coin leaves its peg, or returns to it", "ordinary supply changes: other", 0.8, -0.7),
    Category("insolvency", "a firm stops withdrawals for want of funds, goes bankrupt, or repays creditors", "a suit by a state: enforcement", 0.8, -0.7),
    Category("other", "opinion, education, culture, people, research, and whatever fits nowhere", "", 0.1, 0.0),
)  # fmt: skip
"""All classes; the place in this tuple is the number stored in the lake."""

CATEGORY_NAMES = tuple(made.name for made in CATEGORIES)
_INDEX = MappingProxyType({name: place for place, name in enumerate(CATEGORY_NAMES)})


def category(name: str) -> int:
    """The index of a class; `DataError` lists the names."""
    if name not in _INDEX:
        raise DataError(f"there is no event class {name!r}; there are {', '.join(CATEGORY_NAMES)}")
    return _INDEX[name]
