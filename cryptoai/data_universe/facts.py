"""Facts: everything numeric that becomes known about an instrument, an asset or a chain, other than its order book.

Importers, recorders, on-chain sources and the news classifier make `Facts`; the lake stores them, the features read
them in the order of `known_at`. A fact has two times: when it was true (`event_time`) and when anybody here could first
know it (`known_at`). A correction is a new row with a later `known_at`; a row must never be changed afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash

__all__ = ["KINDS", "Column", "FactKind", "Facts", "Period"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Period = Literal["month", "year"]


@dataclass(frozen=True, slots=True)
class Column:
    """One number of a fact; a value outside [low, high] is not plausible and goes to quarantine."""

    name: str
    unit: str
    doc: str
    low: float
    high: float
    optional: bool = False
    """NaN is allowed: the source has no such number."""
    choices: tuple[float, ...] = ()
    """The only values there are; empty means every value in the bounds."""


@dataclass(frozen=True, slots=True)
class FactKind:
    """A kind of fact: its numbers, and what makes two rows the same fact."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    """Columns that name the fact together with `event_time`; the rest may be corrected later."""
    period: Period = "month"
    """Width of a partition of the lake."""
    price: tuple[str, ...] = ()
    """Columns that are prices, the reference first; they are judged beside the prices before."""
    ordered: bool = False
    """A reading of the present: one whose `event_time` steps back was made by a clock that did."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def place(self, name: str) -> int:
        """Index of a column in `Facts.values`."""
        if name not in self.names:
            raise DataError(f"{self.name} has no column {name!r}; it has {', '.join(self.names)}")
        return self.names.index(name)


_PRICE = (1e-12, 1e9)
_SIZE = (0.0, 1e18)
_UNIX = (0.0, 1e11)

_ALL = (
    FactKind(
        "funding",
        "Funding paid by a perpetual; event_time is the moment of payment.",
        (
            Column("rate", "share per interval", "paid by longs to shorts; 0.0001 is 1 bp", -0.5, 0.5),
            Column("interval_s", "s", "since the payment before", 60, 8 * 86_400),
        ),
    ),
    FactKind(
        "funding_predicted",
        "Funding as the venue announces it before it is paid; event_time is the moment of the announcement.",
        (
            Column("rate", "share per interval", "as if it were paid now", -0.5, 0.5),
            Column("next_time_s", "unix s", "moment of the next payment", *_UNIX),
        ),
        ordered=True,
    ),
    FactKind(
        "mark",
        "Mark and index price: what margin is reckoned with, and the spot price it follows.",
        (
            Column("mark", "quote", "mark price", *_PRICE),
            Column("index", "quote", "index price", *_PRICE, optional=True),
        ),
        price=("mark", "index"),
        ordered=True,
    ),
    FactKind(
        "open_interest",
        "Contracts that are open on the venue.",
        (
            Column("contracts", "contracts", "open contracts, base units on linear venues", *_SIZE, optional=True),
            Column("notional", "quote", "their value", *_SIZE, optional=True),
        ),
        ordered=True,
    ),
    FactKind(
        "liquidations",
        "Forced orders of the venue, as far as it publishes them.",
        (
            Column(
                "side",
                "sign",
                "of the forced order: -1 a long was sold out, +1 a short was bought in, 0 not published",
                -1,
                1,
                choices=(-1.0, 0.0, 1.0),
            ),
            Column("price", "quote", "of the forced order; 1 where only the notional is published", *_PRICE),
            Column("qty", "base", "of the forced order; the notional where only that is published", *_SIZE),
        ),
        key=("side", "price", "qty"),
        price=("price",),
    ),
    FactKind(
        "positioning",
        "How accounts are positioned.",
        (Column("long_short_ratio", "ratio", "long accounts or positions per short one", 1e-4, 1e4),),
        ordered=True,
    ),
    FactKind(
        "candles",
        "Bars of trades; event_time is the open time, and a bar is known when it has closed.",
        (
            Column("interval_s", "s", "width of the bar", 1, 32 * 86_400),
            Column("open", "quote", "first price", *_PRICE),
            Column("high", "quote", "highest price", *_PRICE),
            Column("low", "quote", "lowest price", *_PRICE),
            Column("close", "quote", "last price", *_PRICE),
            Column("volume", "base", "traded", *_SIZE, optional=True),
        ),
        key=("interval_s",),
        price=("close", "open", "high", "low"),
    ),
    FactKind(
        "onchain",
        "Metrics of a chain; known_at carries the publication lag.",
        (
            Column("metric", "index", "place in data_universe.onchain.metrics.METRICS", 0, 1e4),
            Column("value", "of the metric", "in the unit of the metric", -1e24, 1e24),
        ),
        key=("metric",),
        period="year",
    ),
    FactKind(
        "news_scores",
        "News as numbers, one row for each classified item.",
        (
            Column("category", "index", "place in data_universe.market_events.taxonomy.CATEGORIES", 0, 1e4),
            Column("severity", "share", "0 none, 1 the worst known", 0, 1),
            Column("sentiment", "share", "-1 bad for the price, +1 good", -1, 1),
            Column("confidence", "share", "of the classifier", 0, 1),
            Column("scheduled_s", "unix s", "moment that the item announces, 0 if none", *_UNIX),
        ),
        key=("category", "severity", "sentiment", "confidence", "scheduled_s"),
    ),
)

KINDS: Mapping[str, FactKind] = {kind.name: kind for kind in _ALL}
"""Every kind of fact by name."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows of one kind, sorted by `known_at`; rows known at the same time keep the order they were given in.

    event_time, known_at: int64[n], ns UTC; values: float64[n, k] in the order of the kind's columns, NaN = not there.
    Plausibility is not promised here: the lake judges rows when it takes them.
    """

    kind: str
    event_time: Ints
    known_at: Ints
    values: Floats

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"there is no kind of fact {self.kind!r}; the kinds are {', '.join(KINDS)}")
        rows, wanted = len(self.known_at), len(KINDS[self.kind].columns)
        if self.event_time.shape != (rows,) or self.values.shape != (rows, wanted):
            raise DataError(f"{self.kind} facts need two time columns and values of shape ({rows}, {wanted})")
        if [c.dtype.str[1:] for c in (self.event_time, self.known_at, self.values)] != ["i8", "i8", "f8"]:
            raise DataError(f"{self.kind} facts need int64 times in ns and float64 values")
        if np.any(self.known_at[1:] < self.known_at[:-1]):
            raise DataError(f"{self.kind} facts are not sorted by known_at; make them with Facts.of")

    @classmethod
    def of(cls, kind: str, event_time: npt.ArrayLike, known_at: npt.ArrayLike, values: npt.ArrayLike) -> Self:
        """Facts from anything array-like, sorted by `known_at` (stable); `DataError` if the shapes do not fit."""
        columns = len(KINDS[kind].columns) if kind in KINDS else 0
        known, event = np.asarray(known_at, np.int64), np.asarray(event_time, np.int64)
        table = np.asarray(values, np.float64)
        table = table.reshape(len(known), columns) if table.ndim != 2 and table.size == len(known) * columns else table
        if known.shape != event.shape or table.shape != (len(known), columns):
            return cls(kind, event, known, table)
        order = np.argsort(known, kind="stable")
        return cls(kind, event[order], known[order], table[order])

    @classmethod
    def none(cls, kind: str) -> Self:
        """No rows."""
        return cls.of(kind, [], [], [])

    @classmethod
    def joined(cls, kind: str, pieces: list[Facts]) -> Self:
        """All rows of several, sorted by `known_at`."""
        if not pieces:
            return cls.none(kind)
        columns = zip(*((piece.event_time, piece.known_at, piece.values) for piece in pieces), strict=True)
        return cls.of(kind, *(np.concatenate(column) for column in columns))

    def __len__(self) -> int:
        return len(self.known_at)

    def column(self, name: str) -> Floats:
        """One column of `values`, a view."""
        return self.values[:, KINDS[self.kind].place(name)]

    def slice(self, start: int, stop: int) -> Self:
        """Rows [start, stop) as views."""
        return type(self)(self.kind, self.event_time[start:stop], self.known_at[start:stop], self.values[start:stop])

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Self:
        """The chosen rows, in the order of `known_at`."""
        return type(self).of(self.kind, self.event_time[rows], self.known_at[rows], self.values[rows])

    def until(self, known_at: int) -> int:
        """Number of rows known at `known_at` or earlier."""
        return int(np.searchsorted(self.known_at, known_at, side="right"))

    def fingerprint(self) -> str:
        """32 hex digits over the kind and every column."""
        columns = (self.event_time, self.known_at, self.values)
        data = b"".join(np.ascontiguousarray(column).tobytes() for column in columns)
        return content_hash(self.kind.encode() + b"\n" + data, 32)
