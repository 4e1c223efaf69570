"""How OKX, Kraken and Coinbase say what `feed_exchange` makes happen, as far as ccxt.pro's classes listen.

Only `feed_exchange.FeedExchange` asks. Prices and sizes come as decimal texts; a book is {side: [[price, size], ...]}
with the best levels first. It must never take part in what is tested: checksums are reckoned here, not by the product.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, Protocol

__all__ = ["DIALECTS", "Dialect"]

Book = Mapping[str, list[list[str]]]


class Dialect(Protocol):
    """One venue's words. `symbol` is its own name of the instrument."""

    symbol: str

    def markets(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        """The REST reply to a question about instruments, None to any other."""
        ...

    def channels(self, asked: Mapping[str, Any]) -> list[str]:
        """What a message of a client subscribes to; nothing if it is none."""
        ...

    def reply(self, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The venue's answers to it."""
        ...

    def depth(self, changes: Book, whole: Book, ms: int, *, snapshot: bool) -> str:
        """A snapshot, or the changes that lead to `whole`."""
        ...

    def trade(self, number: int, price: str, size: str, ms: int) -> str:
        """One trade of a buyer."""
        ...


class Okx:
    """v5 `books` and `trades` of spot."""

    symbol = "BTC-USDT"

    def __init__(self) -> None:
        self._last = 100

    def markets(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        if not path.endswith("public/instruments"):
            return None
        return {"code": "0", "data": [_OKX_MARKET] if query.get("instType") == "SPOT" else []}

    def channels(self, asked: Mapping[str, Any]) -> list[str]:
        return [each["channel"] for each in asked.get("args", [])] if asked.get("op") == "subscribe" else []

    def reply(self, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"event": asked["op"], "arg": each, "connId": "1"} for each in asked.get("args", [])]

    def depth(self, changes: Book, whole: Book, ms: int, *, snapshot: bool) -> str:
        previous = -1 if snapshot else self._last
        self._last += not snapshot
        sides = {name: [[*pair, "0", "1"] for pair in changes[side]] for side, name in _NAMES}
        pairs = zip_longest(whole["b"][:25], whole["a"][:25], fillvalue=())
        text = ":".join(part for pair in pairs for level in pair for part in level)
        value = zlib.crc32(text.encode())
        signed = value - (1 << 32) if value >= 1 << 31 else value
        row = {**sides, "ts": str(ms), "checksum": signed, "prevSeqId": previous, "seqId": self._last}
        return self._push("books", row, {"action": "snapshot" if snapshot else "update"})

    def trade(self, number: int, price: str, size: str, ms: int) -> str:
        row = {"instId": self.symbol, "tradeId": str(number), "px": price, "sz": size, "side": "buy", "ts": str(ms)}
        return self._push("trades", row, {})

    def _push(self, channel: str, row: dict[str, Any], more: dict[str, str]) -> str:
        return json.dumps({"arg": {"channel": channel, "instId": self.symbol}, **more, "data": [row]})


class Kraken:
    """Version 2: `book` and `trade`."""

    symbol = "BTC/USD"

    def markets(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        del query
        return {"error": [], "result": {"XXBTZUSD": _KRAKEN_MARKET}} if path.endswith("AssetPairs") else None

    def channels(self, asked: Mapping[str, Any]) -> list[str]:
        return [asked["params"]["channel"]] if asked.get("method") == "subscribe" else []

    def reply(self, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        if asked.get("method") != "subscribe":
            return []
        result = {"channel": asked["params"]["channel"], "symbol": self.symbol}
        return [{"method": "subscribe", "success": True, "result": result, "req_id": asked.get("req_id")}]

    def depth(self, changes: Book, whole: Book, ms: int, *, snapshot: bool) -> str:
        levels = [*whole["a"][:10], *whole["b"][:10]]
        digits = "".join(text.replace(".", "").lstrip("0") for level in levels for text in level)
        sides = {name: [{"price": float(p), "qty": float(q)} for p, q in changes[side]] for side, name in _NAMES}
        row = {"symbol": self.symbol, **sides, "checksum": zlib.crc32(digits.encode()), "timestamp": _iso(ms)}
        return json.dumps({"channel": "book", "type": "snapshot" if snapshot else "update", "data": [row]})

    def trade(self, number: int, price: str, size: str, ms: int) -> str:
        what = {"symbol": self.symbol, "side": "buy", "price": float(price), "qty": float(size)}
        row = {**what, "ord_type": "market", "trade_id": number, "timestamp": _iso(ms)}
        return json.dumps({"channel": "trade", "type": "update", "data": [row]})


class Coinbase:
    """Advanced Trade: `level2` and `market_trades`, counted together in `sequence_num`."""

    symbol = "BTC-USD"

    def __init__(self) -> None:
        self._count = 0

    def markets(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        if not path.endswith("/products"):
            return None
        spot = query.get("product_type") in (None, "SPOT")
        return {"products": [_COINBASE_MARKET] if spot else [], "num_products": int(spot)}

    def channels(self, asked: Mapping[str, Any]) -> list[str]:
        return [asked["channel"]] if asked.get("type") == "subscribe" else []

    def reply(self, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        del asked
        return []

    def depth(self, changes: Book, whole: Book, ms: int, *, snapshot: bool) -> str:
        del whole
        rows = [
            {"side": name, "event_time": _iso(ms), "price_level": price, "new_quantity": size}
            for side, name in (("b", "bid"), ("a", "offer"))
            for price, size in changes[side]
        ]
        event = {"type": "snapshot" if snapshot else "update", "product_id": self.symbol, "updates": rows}
        return self._counted("l2_data", event, ms)

    def trade(self, number: int, price: str, size: str, ms: int) -> str:
        what = {"trade_id": str(number), "product_id": self.symbol, "price": price, "size": size}
        row = {**what, "side": "SELL", "time": _iso(ms)}
        return self._counted("market_trades", {"type": "update", "trades": [row]}, ms)

    def _counted(self, channel: str, event: dict[str, Any], ms: int) -> str:
        self._count += 1
        head = {"channel": channel, "client_id": "", "timestamp": _iso(ms), "sequence_num": self._count}
        return json.dumps({**head, "events": [event]})


DIALECTS: Mapping[str, type[Okx] | type[Kraken] | type[Coinbase]] = {"okx": Okx, "kraken": Kraken, "coinbase": Coinbase}
"""By name."""

_NAMES = (("b", "bids"), ("a", "asks"))


def _iso(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


_OKX_MARKET = {
    "instType": "SPOT",
    "instId": "BTC-USDT",
    "baseCcy": "BTC",
    "quoteCcy": "USDT",
    "tickSz": "0.1",
    "lotSz": "0.001",
    "minSz": "0.001",
    "state": "live",
    "listTime": "1548133413000",
}
_KRAKEN_MARKET = {
    "altname": "XBTUSD",
    "wsname": "BTC/USD",
    "aclass_base": "currency",
    "base": "XXBT",
    "aclass_quote": "currency",
    "quote": "ZUSD",
    "pair_decimals": 1,
    "lot_decimals": 3,
    "cost_decimals": 5,
    "lot_multiplier": 1,
    "tick_size": "0.1",
    "leverage_buy": [],
    "leverage_sell": [],
    "fees": [[0, 0.26]],
    "fees_maker": [[0, 0.16]],
    "ordermin": "0.001",
    "status": "online",
}
_COINBASE_MARKET = {
    "product_id": "BTC-USD",
    "base_increment": "0.001",
    "quote_increment": "0.1",
    "price_increment": "0.1",
    "quote_min_size": "1",
    "quote_max_size": "150000000",
    "base_min_size": "0.001",
    "base_max_size": "3400",
    "status": "online",
    "product_type": "SPOT",
    "quote_currency_id": "USD",
    "base_currency_id": "BTC",
    "trading_disabled": False,
    "view_only": False,
}
