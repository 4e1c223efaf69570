"""The words that every venue's messages are translated into, and the Protocol of a translator.

Decoders make them, the importer consumes them. Prices and quantities stay the venue's decimal texts here, so that
nothing is rounded before the instrument's grid is known and checksums can be taken of what was sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from cryptoai.core.clock import MS, SECOND

__all__ = [
    "Best",
    "Break",
    "Count",
    "Decoder",
    "Depth",
    "Fact",
    "Ignored",
    "Item",
    "Pairs",
    "Trade",
    "iso_ns",
    "ms",
    "native",
    "text",
]

Pairs = list[list[str]]
"""[[price, quantity], ...] as decimal texts; quantity 0 removes the level."""


@dataclass(slots=True)
class Depth:
    """A snapshot of a book, or changes of it. `previous` and `last` are the venue's ids where it has them.

    `checksum` is over the book after this message, `limit` the depth beyond which the venue stops telling of a level.
    """

    symbol: str
    event: int
    bids: Pairs
    asks: Pairs
    snapshot: bool = False
    previous: int | None = None
    last: int | None = None
    checksum: int | None = None
    limit: int = 0
    name: str = "depth"


@dataclass(slots=True)
class Trade:
    """One trade; `side` is the aggressor's, `id` the venue's, None if it gives none."""

    symbol: str
    event: int
    side: int
    price: str
    qty: str
    id: int | str | None = None
    name: str = "trade"


@dataclass(slots=True)
class Best:
    """The venue's own best prices."""

    symbol: str
    event: int
    bid: list[str]
    ask: list[str]
    name: str = "quote"


@dataclass(slots=True)
class Fact:
    """A row of `facts.KINDS[kind]`; a None means that the message does not say, and the value before still holds."""

    symbol: str
    event: int
    kind: str
    values: tuple[float | None, ...]


@dataclass(slots=True)
class Count:
    """The connection's message counter; a number missing means that messages of any symbol may be missing."""

    number: int


@dataclass(slots=True)
class Break:
    """The stream was interrupted: what happened meanwhile is unknown. No symbol means every symbol."""

    reason: str
    symbol: str | None = None


@dataclass(slots=True)
class Ignored:
    """A message that carries nothing for the lake, and why."""

    reason: str
    symbol: str | None = field(default=None)


Item = Depth | Trade | Best | Fact | Count | Break | Ignored


class Decoder(Protocol):
    """A venue's dialect. Pure: equal messages, equal items."""

    def decode(self, message: Any, hint: str) -> Iterable[Item]:
        """Items of one parsed JSON message; `hint` is the address it came from, or empty.

        Raises KeyError, IndexError, TypeError, ValueError or AttributeError if it lacks what its kind must have.
        """
        ...


def ms(value: int | str) -> int:
    """A venue's time in ms (or in µs or ns, told by its size) as ns."""
    number = int(value)
    return number * MS if number < 10**14 else number * 1000 if number < 10**17 else number


def iso_ns(value: str) -> int:
    """`2021-04-17T16:43:37.075687Z` as ns; digits beyond µs are kept."""
    whole, _, rest = value.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * SECOND + int(rest[:9].ljust(9, "0"))


def text(value: str | float) -> str:
    """A JSON number as the decimal text it was sent as (shortest repr, never with an exponent); texts as they are."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        raise TypeError("a truth value is not a number")
    shown = repr(value)
    return format(Decimal(shown), "f") if "e" in shown else shown


def native(symbol: str) -> str:
    """A venue's symbol as it stands in an instrument id: `XBT/USD` is `XBT-USD`."""
    return symbol.upper().replace("/", "-")
