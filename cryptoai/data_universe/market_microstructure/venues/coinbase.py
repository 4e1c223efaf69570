"""Coinbase: Exchange feed (level2, matches, ticker) and Advanced Trade (l2_data, market_trades, ticker).

Formats: docs.cdp.coinbase.com, "WebSocket channels". Exchange level2 has a snapshot and then changes in order, without
ids; Advanced Trade counts the messages of the connection in `sequence_num`, and a number missing is a hole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cryptoai.data_universe.events import ASK, BID
from cryptoai.data_universe.market_microstructure.messages import (
    Best,
    Count,
    Depth,
    Ignored,
    Item,
    Pairs,
    Trade,
    iso_ns,
)

__all__ = ["Coinbase"]

Message = dict[str, Any]

_TAKER = {"buy": ASK, "sell": BID, "BUY": ASK, "SELL": BID}
"""Aggressor by the side that matches state, which is the maker's."""


class Coinbase:
    """Both feeds; a message says which it is."""

    def __init__(self) -> None:
        self._kinds: dict[str, Callable[[Message], Item]] = {
            "snapshot": _snapshot,
            "l2update": _update,
            "match": _match,
            "ticker": _ticker,
        }

    def decode(self, message: Any, hint: str) -> Iterable[Item]:
        """Items of one message."""
        del hint
        if "channel" in message:
            return _advanced(message)
        kind = str(message["type"])
        make = self._kinds.get(kind)
        if make is None:
            return [Ignored(f"stream {kind}", message.get("product_id"))]
        return [make(message)]


def _snapshot(message: Message) -> Item:
    at = iso_ns(message["time"]) if "time" in message else 0
    bids, asks = message["bids"], message["asks"]
    return Depth(message["product_id"], at, bids, asks, snapshot=True, name="level2 snapshot")


def _update(message: Message) -> Item:
    sides: dict[str, Pairs] = {"buy": [], "sell": []}
    for side, price, size in message["changes"]:
        sides[side].append([price, size])
    return Depth(message["product_id"], iso_ns(message["time"]), sides["buy"], sides["sell"], name="l2update")


def _match(message: Message) -> Item:
    side = _TAKER[message["side"]]
    price, size = message["price"], message["size"]
    return Trade(message["product_id"], iso_ns(message["time"]), side, price, size, int(message["trade_id"]))


def _ticker(message: Message) -> Item:
    """Quantities came with a later version of the channel; a quote without them cannot be kept."""
    if "best_bid_size" not in message or "time" not in message:
        return Ignored("ticker without sizes", message.get("product_id"))
    bid = [message["best_bid"], message["best_bid_size"]]
    ask = [message["best_ask"], message["best_ask_size"]]
    return Best(message["product_id"], iso_ns(message["time"]), bid, ask)


def _advanced(message: Message) -> list[Item]:
    items: list[Item] = [Count(int(message["sequence_num"]))] if "sequence_num" in message else []
    channel = message["channel"]
    if channel == "l2_data":
        return [*items, *(_events_depth(event, message) for event in message["events"])]
    if channel == "market_trades":
        rows = [row for event in message["events"] if event["type"] == "update" for row in event["trades"]]
        return [*items, *(_row_trade(row) for row in reversed(rows)), *([] if rows else [Ignored("old trades")])]
    return [*items, Ignored(f"stream {channel}")]


def _events_depth(event: Message, message: Message) -> Depth:
    sides: dict[str, Pairs] = {"bid": [], "offer": [], "ask": []}
    for row in event["updates"]:
        sides[row["side"]].append([row["price_level"], row["new_quantity"]])
    return Depth(
        event["product_id"],
        iso_ns(message["timestamp"]),
        sides["bid"],
        sides["offer"] + sides["ask"],
        snapshot=event["type"] == "snapshot",
        name="l2_data",
    )


def _row_trade(row: Message) -> Trade:
    side = _TAKER[row["side"]]
    return Trade(row["product_id"], iso_ns(row["time"]), side, row["price"], row["size"], int(row["trade_id"]))
