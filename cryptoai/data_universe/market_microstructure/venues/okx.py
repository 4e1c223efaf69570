"""OKX: v5 public channels (books*, bbo-tbt, trades, mark-price, funding-rate, open-interest, liquidation-orders).

Formats: okx.com/docs-v5, "Order book channel". A push continues the one whose seqId is its prevSeqId; prevSeqId = -1 is
a snapshot; a push without changes repeats seqId; during maintenance seqId may fall, the chain holds. The checksum is
CRC32 (signed) over the best 25 `price:size` of bids and asks in turn, joined by colons, in the texts that were sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import nan
from typing import Any

from cryptoai.data_universe.events import ASK, BID
from cryptoai.data_universe.market_microstructure.messages import Best, Depth, Fact, Ignored, Item, Trade, ms

__all__ = ["Okx"]

Message = dict[str, Any]

_BOOKS = ("books", "books-l2-tbt", "books50-l2-tbt", "books-elp", "books-rpi")


class Okx:
    """Spot, swaps, futures and options speak alike; sizes of contracts are in contracts."""

    def __init__(self) -> None:
        self._kinds: dict[str, Callable[[Message, str, str], Item]] = {
            **dict.fromkeys(_BOOKS, _depth),
            "books5": _whole,
            "bbo-tbt": _best,
            "trades": _trade,
            "trades-all": _trade,
            "tickers": _ticker,
            "mark-price": _mark,
            "funding-rate": _funding,
            "open-interest": _interest,
        }

    def decode(self, message: Any, hint: str) -> Iterable[Item]:
        """Items of one message; replies to subscriptions and pongs carry nothing."""
        del hint
        if "event" in message or "data" not in message:
            return [Ignored("reply to a request")]
        arg = message["arg"]
        channel, symbol = arg["channel"], arg.get("instId", "")
        if channel == "liquidation-orders":
            return [_forced(one, row["instId"]) for row in message["data"] for one in row["details"]]
        make = self._kinds.get(channel)
        if make is None:
            return [Ignored(f"stream {channel}", symbol)]
        action = str(message.get("action", ""))
        return [make(row, row.get("instId", symbol), action) for row in message["data"]]


def _depth(row: Message, symbol: str, action: str) -> Item:
    previous, last, checksum = (row.get(name) for name in ("prevSeqId", "seqId", "checksum"))
    return Depth(
        symbol,
        ms(row["ts"]),
        [pair[:2] for pair in row["bids"]],
        [pair[:2] for pair in row["asks"]],
        snapshot=action == "snapshot",
        previous=int(previous) if previous is not None else None,
        last=int(last) if last is not None else None,
        checksum=int(checksum) if checksum else None,  # 0: the venue has stopped sending it
        name="books",
    )


def _whole(row: Message, symbol: str, action: str) -> Item:
    del action
    return Ignored("stream books5 (the whole book of 5 levels, beside books)", symbol) if row else Ignored("empty")


def _best(row: Message, symbol: str, action: str) -> Item:
    del action
    if not row["bids"] or not row["asks"]:
        return Ignored("bbo-tbt with an empty side", symbol)
    return Best(symbol, ms(row["ts"]), row["bids"][0][:2], row["asks"][0][:2])


def _ticker(row: Message, symbol: str, action: str) -> Item:
    del action
    if not row.get("bidPx") or not row.get("askPx"):
        return Ignored("tickers with an empty side", symbol)
    return Best(symbol, ms(row["ts"]), [row["bidPx"], row["bidSz"]], [row["askPx"], row["askSz"]])


def _trade(row: Message, symbol: str, action: str) -> Item:
    del action
    side = BID if row["side"] == "buy" else ASK
    return Trade(symbol, ms(row["ts"]), side, row["px"], row["sz"], int(row["tradeId"]))


def _mark(row: Message, symbol: str, action: str) -> Item:
    del action
    return Fact(symbol, ms(row["ts"]), "mark", (float(row["markPx"]), nan))


def _funding(row: Message, symbol: str, action: str) -> Item:
    del action
    at = ms(row.get("ts") or 0)
    return Fact(symbol, at, "funding_predicted", (float(row["fundingRate"]), ms(row["fundingTime"]) / 1e9))


def _interest(row: Message, symbol: str, action: str) -> Item:
    del action
    notional = float(row["oiUsd"]) if row.get("oiUsd") else nan
    return Fact(symbol, ms(row["ts"]), "open_interest", (float(row["oi"]), notional))


def _forced(row: Message, symbol: str) -> Item:
    side = 1.0 if row["side"] == "buy" else -1.0
    return Fact(symbol, ms(row["ts"]), "liquidations", (side, float(row["bkPx"]), float(row["sz"])))
