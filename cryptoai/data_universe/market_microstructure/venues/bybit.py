"""Bybit: v5 public streams (orderbook, publicTrade, tickers, liquidation) and the older orderBookL2 form.

Formats: bybit-exchange.github.io/docs/v5/websocket/public. v5: each delta's `u` is the one before plus 1, and u = 1 is
a new snapshot after a restart of the service. The older form has no chain, only a `cross_seq` that grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import nan
from typing import Any

from cryptoai.data_universe.events import ASK, BID
from cryptoai.data_universe.market_microstructure.messages import (
    Depth,
    Fact,
    Ignored,
    Item,
    Pairs,
    Trade,
    ms,
    text,
)

__all__ = ["Bybit"]

Message = dict[str, Any]


class Bybit:
    """Spot, linear and inverse speak alike."""

    def __init__(self) -> None:
        self._kinds: dict[str, Callable[[Message, str], Iterable[Item]]] = {
            "orderbook": _depth,
            "publicTrade": _trades,
            "tickers": _ticker,
            "liquidation": _forced,
            "allLiquidation": _forced,
            "trade": _old_trades,
        }

    def decode(self, message: Any, hint: str) -> Iterable[Item]:
        """Items of one message; replies to subscriptions and pings carry nothing."""
        del hint
        topic = str(message.get("topic", ""))
        if not topic:
            return [Ignored("reply to a request")]
        head, _, rest = topic.partition(".")
        if head.startswith(("orderBookL2", "orderBook_")):
            return [_old_depth(message, topic.rsplit(".", 1)[-1])]
        symbol = rest.rsplit(".", 1)[-1]
        if head not in self._kinds:
            return [Ignored(f"stream {head}", symbol)]
        return self._kinds[head](message, symbol)


def _depth(message: Message, symbol: str) -> list[Item]:
    data, last = message["data"], int(message["data"]["u"])
    snapshot = message["type"] == "snapshot" or last == 1
    event = ms(message.get("cts") or message["ts"])
    if message["topic"].startswith("orderbook.1."):
        return [Ignored("orderbook of depth 1", symbol)]
    return [
        Depth(symbol, event, data["b"], data["a"], snapshot=snapshot, previous=last - 1, last=last, name="orderbook")
    ]


def _trades(message: Message, symbol: str) -> list[Item]:
    return [
        Trade(symbol, ms(row["T"]), BID if row["S"] == "Buy" else ASK, row["p"], row["v"], row.get("i"))
        for row in message["data"]
        if not row.get("BT")  # a block trade happens outside the book
    ] or [Ignored("block trade outside the book", symbol)]


def _ticker(message: Message, symbol: str) -> list[Item]:
    """A delta names only what changed; what is None here still holds."""
    data, at = message["data"], ms(message["ts"])
    rows = {
        "mark": (_number(data, "markPrice"), _number(data, "indexPrice")),
        "funding_predicted": (_number(data, "fundingRate"), _number(data, "nextFundingTime", 1e-3)),
        "open_interest": (_number(data, "openInterest"), _number(data, "openInterestValue")),
    }
    facts: list[Item] = [
        Fact(symbol, at, kind, values) for kind, values in rows.items() if any(v is not None for v in values)
    ]
    return facts or [Ignored("tickers without a derivative's numbers", symbol)]


def _forced(message: Message, symbol: str) -> list[Item]:
    """`liquidation` gives one position, `allLiquidation` a list; the side is the position's, not the order's."""
    data = message["data"]
    rows = data if isinstance(data, list) else [data]
    return [_liquidation(row, symbol) for row in rows]


def _liquidation(row: Message, symbol: str) -> Fact:
    if "v" in row:  # allLiquidation: S is the position, Buy = a long was liquidated
        values = (-1.0 if row["S"] == "Buy" else 1.0, float(row["p"]), float(row["v"]))
        return Fact(symbol, ms(row["T"]), "liquidations", values)
    values = (-1.0 if row["side"] == "Buy" else 1.0, float(row["price"]), float(row["size"]))
    return Fact(symbol, ms(row["updatedTime"]), "liquidations", values)


def _old_trades(message: Message, symbol: str) -> list[Item]:
    rows = message["data"]
    return [
        Trade(
            row.get("symbol", symbol),
            ms(row["trade_time_ms"]),
            BID if row["side"] == "Buy" else ASK,
            text(row["price"]),
            text(row["size"]),
            row["trade_id"],
        )
        for row in rows
    ] or [Ignored("trade without rows", symbol)]


def _old_depth(message: Message, symbol: str) -> Depth:
    data, at = message["data"], ms(message["timestamp_e6"])
    if message["type"] == "snapshot":
        rows = data["order_book"] if isinstance(data, dict) else data
    else:
        removed = [{**row, "size": 0} for row in data["delete"]]
        rows = [*removed, *data["update"], *data["insert"]]
    last = int(message["cross_seq"]) if message.get("cross_seq") is not None else None
    bids, asks = _pairs(rows, "Buy"), _pairs(rows, "Sell")
    return Depth(symbol, at, bids, asks, snapshot=message["type"] == "snapshot", last=last, name="orderBookL2")


def _pairs(rows: list[Message], side: str) -> Pairs:
    return [[text(row["price"]), text(row["size"])] for row in rows if row["side"] == side]


def _number(data: Message, name: str, scale: float = 1.0) -> float | None:
    value = data.get(name)
    if value is None:
        return None
    return float(value) * scale if value != "" else nan
