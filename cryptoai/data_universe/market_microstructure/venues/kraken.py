"""Kraken spot: WebSocket v1 (arrays) and v2 (objects): book with CRC32 checksum, trade, spread and ticker.

Formats: docs.kraken.com/api, "Book" of both versions. There are no ids: the CRC32 over the best ten asks and then bids
(price and volume without point and leading zeros) is the only proof. The venue stops telling of levels beyond the
subscribed depth, so whoever keeps the book must cut it there after each message.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from cryptoai.core.clock import SECOND
from cryptoai.data_universe.events import ASK, BID
from cryptoai.data_universe.market_microstructure.messages import (
    Best,
    Depth,
    Ignored,
    Item,
    Pairs,
    Trade,
    iso_ns,
    native,
    text,
)

__all__ = ["Kraken"]

Message = dict[str, Any]


class Kraken:
    """Both versions; v2 does not say the depth in its updates, so a snapshot's size stands for it."""

    def decode(self, message: Any, hint: str) -> Iterable[Item]:
        """Items of one message."""
        del hint
        if isinstance(message, list):
            return _first_version(message)
        channel = message.get("channel")
        rows = message.get("data", [])
        if channel == "book":
            return [_depth(row, snapshot=message["type"] == "snapshot") for row in rows]
        if channel == "trade" and message["type"] == "update":
            return [_trade(row) for row in rows]
        if channel == "ticker":
            return [_ticker(row) for row in rows]
        reason = "reply to a request" if channel is None else f"stream {channel}"
        return [Ignored(reason)]


def _depth(row: Message, *, snapshot: bool) -> Depth:
    bids, asks = _named(row.get("bids", [])), _named(row.get("asks", []))
    at = iso_ns(row["timestamp"]) if "timestamp" in row else 0
    limit = _subscribed(max(len(bids), len(asks))) if snapshot else 0
    symbol, checksum = native(row["symbol"]), int(row["checksum"])
    return Depth(symbol, at, bids, asks, snapshot=snapshot, checksum=checksum, limit=limit, name="book")


def _named(rows: list[Message]) -> Pairs:
    return [[text(row["price"]), text(row["qty"])] for row in rows]


def _subscribed(levels: int) -> int:
    """The least depth on offer that holds a snapshot of this size."""
    return next((depth for depth in (10, 25, 100, 500) if levels <= depth), 1000)


def _trade(row: Message) -> Trade:
    side = BID if row["side"] == "buy" else ASK
    price, qty = text(row["price"]), text(row["qty"])
    return Trade(native(row["symbol"]), iso_ns(row["timestamp"]), side, price, qty, row.get("trade_id"))


def _ticker(row: Message) -> Best:
    bid, ask = [text(row["bid"]), text(row["bid_qty"])], [text(row["ask"]), text(row["ask_qty"])]
    at = iso_ns(row["timestamp"]) if "timestamp" in row else 0
    return Best(native(row["symbol"]), at, bid, ask)


def _first_version(message: list[Any]) -> list[Item]:
    """[channel id, body, (second body,) channel, pair]."""
    channel, symbol, bodies = str(message[-2]), native(message[-1]), message[1:-2]
    if channel.startswith("book"):
        merged = {key: value for body in bodies for key, value in body.items()}
        return [_old_depth(merged, symbol, int(channel.partition("-")[2] or 10))]
    if channel == "trade":
        return [_old_trade(row, symbol) for row in bodies[0]]
    if channel == "spread":
        bid, ask, at, bid_qty, ask_qty = bodies[0][:5]
        return [Best(symbol, _seconds(at), [bid, bid_qty], [ask, ask_qty])]
    return [Ignored(f"stream {channel}", symbol)]


def _old_depth(body: Message, symbol: str, limit: int) -> Depth:
    snapshot = "as" in body or "bs" in body
    bids: list[list[str]] = body.get("bs") or body.get("b") or []
    asks: list[list[str]] = body.get("as") or body.get("a") or []
    at = max((_seconds(row[2]) for row in [*bids, *asks]), default=0)
    pairs = [[row[:2] for row in side] for side in (bids, asks)]
    checksum = int(body["c"]) if "c" in body else None
    return Depth(symbol, at, pairs[0], pairs[1], snapshot=snapshot, checksum=checksum, limit=limit, name="book")


def _old_trade(row: list[str], symbol: str) -> Trade:
    return Trade(symbol, _seconds(row[2]), BID if row[3] == "b" else ASK, row[0], row[1])


def _seconds(value: str) -> int:
    return int(Decimal(value) * SECOND)
