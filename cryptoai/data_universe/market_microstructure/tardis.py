"""Tardis-style CSV (docs.tardis.dev, "Downloadable CSV files"): incremental_book_L2, trades, quotes, book_ticker,
derivative_ticker and liquidations, plain or gzip. Times are µs; `local_timestamp` is the recorder's clock.

`formats` reads through it. Rows of one message share their times, so book rows are grouped by both.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import groupby
from math import nan
from pathlib import Path

from cryptoai.core.errors import DataError
from cryptoai.data_universe.events import ASK, BID
from cryptoai.data_universe.market_microstructure.capture import CaptureFile, Progress
from cryptoai.data_universe.market_microstructure.messages import Best, Depth, Fact, Item, Pairs, Trade, native

__all__ = ["TardisFile", "is_tardis"]

Row = dict[str, str]

_US = 1000
_HEAD = b"exchange,symbol,timestamp,local_timestamp,"
_SIDES = {"buy": BID, "sell": ASK}


def is_tardis(first_line: bytes) -> bool:
    """Whether a file that begins like this is one."""
    return first_line.startswith(_HEAD)


class TardisFile:
    """One file; its columns tell the data type."""

    def __init__(self, path: Path) -> None:
        self.file = CaptureFile(path)
        self._names = next(csv.reader([self.file.first_line().decode()]))
        self._make = self._maker()

    @property
    def only_facts(self) -> bool:
        """Whether it tells of funding, marks, open interest or liquidations alone: no prices on a grid."""
        return self._make in (_derivative, _forced)

    def venue(self) -> tuple[str, str]:
        """Exchange and symbol of the first row, as the file names them."""
        for row in self._rows(None):
            return row["exchange"], row["symbol"]
        raise DataError(f"{self.file.path} has a head and no rows")

    def messages(self, on_progress: Progress | None = None) -> Iterator[tuple[int, list[Item], bytes]]:
        """(local ns or -1, items, the first line of the message); rows that cannot be read give no items."""
        groups: Iterator[list[Row]] = ([row] for row in self._rows(on_progress))
        if self._make is _book:
            groups = (list(rows) for _, rows in groupby(self._rows(on_progress), key=_message_of))
        for rows in groups:
            yield (*self._message(rows), ",".join(rows[0].values()).encode())

    def _message(self, rows: list[Row]) -> tuple[int, list[Item]]:
        try:
            return int(rows[0]["local_timestamp"]) * _US, self._make(rows)
        except (KeyError, TypeError, ValueError):
            return -1, []

    def _rows(self, on_progress: Progress | None) -> Iterator[Row]:
        lines = (line.decode(errors="replace") for line in self.file.lines(on_progress))
        reader = csv.reader(lines)
        next(reader, None)
        for cells in reader:
            yield dict(zip(self._names, cells, strict=False))

    def _maker(self) -> Callable[[list[Row]], list[Item]]:
        names = set(self._names)
        kinds: tuple[tuple[set[str], Callable[[list[Row]], list[Item]]], ...] = (
            ({"is_snapshot", "side", "price", "amount"}, _book),
            ({"funding_rate", "mark_price", "open_interest"}, _derivative),
            ({"bid_price", "bid_amount", "ask_price", "ask_amount"}, _quote),
        )
        for wanted, make in kinds:
            if wanted <= names:
                return make
        if {"id", "side", "price", "amount"} <= names:
            return _forced if "liquidations" in self.file.path.name else _trade
        raise DataError(f"{self.file.path} is a CSV of no known Tardis data type; its columns are {self._names}")


def _message_of(row: Row) -> tuple[str, ...]:
    """Equal for the rows of one book message; the levels of a snapshot have times of their own."""
    snapshot = row.get("is_snapshot", "")
    moment = "" if snapshot.lower() == "true" else row.get("timestamp", "")
    return row.get("symbol", ""), row.get("local_timestamp", ""), snapshot, moment


def _book(rows: list[Row]) -> list[Item]:
    sides: dict[str, Pairs] = {"bid": [], "ask": []}
    for row in rows:
        sides[row["side"]].append([row["price"], row["amount"]])
    snapshot = rows[0]["is_snapshot"].lower() == "true"
    if snapshot:  # the first level of a side is its best; the file need not keep that order
        sides["bid"].sort(key=lambda level: -float(level[0]))
        sides["ask"].sort(key=lambda level: float(level[0]))
    name = "book snapshot" if snapshot else "incremental_book_L2"
    symbol, event = native(rows[0]["symbol"]), int(rows[0]["timestamp"]) * _US
    return [Depth(symbol, event, sides["bid"], sides["ask"], snapshot=snapshot, name=name)]


def _trade(rows: list[Row]) -> list[Item]:
    row = rows[0]
    if row["side"] not in _SIDES:
        raise ValueError("a trade without a side")
    side, symbol = _SIDES[row["side"]], native(row["symbol"])
    number = int(row["id"]) if row["id"].isdigit() and len(row["id"]) < 19 else row["id"] or None
    return [Trade(symbol, int(row["timestamp"]) * _US, side, row["price"], row["amount"], number)]


def _quote(rows: list[Row]) -> list[Item]:
    row = rows[0]
    bid, ask = [row["bid_price"], row["bid_amount"]], [row["ask_price"], row["ask_amount"]]
    return [Best(native(row["symbol"]), int(row["timestamp"]) * _US, bid, ask)]


def _forced(rows: list[Row]) -> list[Item]:
    row = rows[0]
    values = (float(_SIDES[row["side"]]), float(row["price"]), float(row["amount"]))
    return [Fact(native(row["symbol"]), int(row["timestamp"]) * _US, "liquidations", values)]


def _derivative(rows: list[Row]) -> list[Item]:
    row = rows[0]
    symbol, event = native(row["symbol"]), int(row["timestamp"]) * _US
    items: list[Item] = []
    if row["mark_price"]:
        items.append(Fact(symbol, event, "mark", (float(row["mark_price"]), _float(row["index_price"]))))
    if row["funding_rate"] and row.get("funding_timestamp"):
        due = int(row["funding_timestamp"]) / 1e6
        items.append(Fact(symbol, event, "funding_predicted", (float(row["funding_rate"]), due)))
    if row["open_interest"]:
        items.append(Fact(symbol, event, "open_interest", (float(row["open_interest"]), nan)))
    return items


def _float(text: str) -> float:
    return float(text) if text else nan
