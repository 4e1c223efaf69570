"""A local exchange that speaks Binance USD-M, Bybit v5 or a dialect of `feed_dialects` to ccxt.pro, with faults.

For tests of whoever records. Its truth is a book that `step` moves along in event time; what subscribers are sent is
the truth through `Faults`: messages dropped, delayed, reordered, duplicated, connections closed, snapshots that fail.
Nothing sleeps: whoever drives it decides when the next event happens. It must never be taken for proof of what a real
venue does.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from cryptoai.core.clock import MS, ReplayClock
from cryptoai.testing.feed_dialects import DIALECTS, Dialect

__all__ = ["BINANCE_OPTIONS", "Faults", "FeedExchange", "moved", "served"]

BINANCE_OPTIONS = {"fetchMarkets": {"types": ["linear"]}, "fetchCurrencies": False, "fetchMargins": False}
"""ccxt options without which it asks endpoints that are not here."""

_SYMBOL = "BTCUSDT"
_START_MS = 1_723_161_256_000
_TICKS = 20


@dataclass
class Faults:
    """What happens to messages: chances for each, drawn from `random`; `snapshots` is how many REST calls fail."""

    random: np.random.Generator
    drop: float = 0.0
    delay: float = 0.0
    swap: float = 0.0
    duplicate: float = 0.0
    close: float = 0.0
    snapshots: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def strikes(self, name: str) -> bool:
        """Whether a fault happens now; it is counted."""
        hit = bool(self.random.random() < getattr(self, name))
        self.counts[name] = self.counts.get(name, 0) + hit
        return hit


class FeedExchange:
    """One symbol. `truth[ms]` is the book {side: {ticks: lots}} after the event at that time."""

    def __init__(self, clock: ReplayClock, faults: Faults, *, dialect: str = "binance") -> None:
        self.truth: dict[int, dict[str, dict[int, int]]] = {}
        self.sent = 0
        self._clock, self._faults, self._dialect = clock, faults, dialect
        self._foreign: Dialect | None = DIALECTS[dialect]() if dialect in DIALECTS else None
        self._random = np.random.default_rng(11)
        self._ms, self._id, self._trade = _START_MS, 1000, 1
        self._previous = self._id
        self._mid = 600_000
        self._book = {side: {self._price(side, n): 50 + n for n in range(_TICKS)} for side in ("b", "a")}
        self._sockets: dict[web.WebSocketResponse, set[str]] = {}
        self._held: list[tuple[int, str]] = []
        self._steps = 0
        self._remember()

    async def step(self, ms: int = 100) -> None:
        """The next event: move the truth, tell the subscribers what the faults let through."""
        self._ms += ms
        self._steps += 1
        self._clock.advance_to((self._ms + 1) * MS)
        changes = self._move()
        self._remember()
        await self._send(self._depth(changes))
        if self._steps % 5 == 0:
            await self._send(self._print())
        if self._dialect == "binance":
            await self._send(self._best())
        due = [text for at, text in self._held if at <= self._steps]
        self._held = [(at, text) for at, text in self._held if at > self._steps]
        for text in due:
            await self._broadcast(text)
        if self._sockets and self._faults.strikes("close"):
            for socket in list(self._sockets):
                await socket.close()

    @property
    def subscribed(self) -> bool:
        """Whether anybody listens to the book."""
        asked = {name for names in self._sockets.values() for name in names}
        return any(map(_of_book, asked)) and (self._foreign is None or len(asked) > 1)

    def application(self) -> web.Application:
        """The server."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._get)
        return app

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        path = request.path
        if self._foreign is not None:
            return web.json_response(self._foreign.markets(path, request.query) or {"result": {}, "data": []})
        if path.endswith("/depth"):
            return self._snapshot()
        if path.endswith("exchangeInfo"):
            return web.json_response({"symbols": [_BINANCE_MARKET], "serverTime": self._ms})
        if path.endswith("instruments-info"):
            asked = request.query.get("category")
            listed = [_BYBIT_MARKET] if asked == "linear" else []
            return web.json_response({"retCode": 0, "result": {"category": asked, "list": listed}, "time": self._ms})
        return web.json_response({})

    def _snapshot(self) -> web.Response:
        if self._faults.snapshots > 0:
            self._faults.snapshots -= 1
            return web.json_response({"code": -1001, "msg": "internal error"}, status=503)
        sides = {name: self._levels(side, self._book[side]) for side, name in (("b", "bids"), ("a", "asks"))}
        return web.json_response({"lastUpdateId": self._id, "E": self._ms, "T": self._ms, **sides})

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[socket] = set()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._asked(socket, json.loads(message.data))
        finally:
            self._sockets.pop(socket, None)
        return socket

    async def _asked(self, socket: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        if self._foreign is not None:
            names = self._foreign.channels(asked)
            self._sockets[socket].update(names)
            for answer in self._foreign.reply(asked):
                await socket.send_str(json.dumps(answer))
            if any(map(_of_book, names)):
                await socket.send_str(self._foreign_depth(self._book, snapshot=True))
            return
        names = asked.get("params") or asked.get("args") or []
        if str(asked.get("method", asked.get("op"))).lower() == "subscribe":
            self._sockets[socket].update(names)
        reply = {"result": None, "id": asked.get("id")}
        if self._dialect == "bybit":
            reply = {"success": True, "ret_msg": "", "op": asked.get("op"), "req_id": asked.get("req_id", "")}
        await socket.send_str(json.dumps(reply))
        if self._dialect == "bybit" and any("orderbook" in name for name in names):
            await socket.send_str(self._bybit_depth(self._book, "snapshot"))

    async def _send(self, text: str) -> None:
        if self._faults.strikes("drop"):
            return
        if self._faults.strikes("delay"):
            self._held.append((self._steps + 3, text))
        elif self._faults.strikes("swap"):
            self._held.append((self._steps + 1, text))
        else:
            await self._broadcast(text)
            if self._faults.strikes("duplicate"):
                await self._broadcast(text)

    async def _broadcast(self, text: str) -> None:
        depth = any(mark in text for mark in ("depthUpdate", "orderbook", '"books"', '"book"', "l2_data"))
        best = "bookTicker" in text
        for socket, names in list(self._sockets.items()):
            wanted = any("bookTicker" in name if best else _of_book(name) == depth for name in names)
            if wanted and not socket.closed:
                await socket.send_str(text)
                self.sent += 1

    def _move(self) -> dict[str, dict[int, int]]:
        """Shift the middle by a tick now and then, change some quantities; returns the changes."""
        before = {side: dict(levels) for side, levels in self._book.items()}
        self._mid += int(self._random.integers(-1, 2))
        for side in ("b", "a"):
            kept = {self._price(side, n) for n in range(_TICKS)}
            self._book[side] = {price: self._book[side].get(price, 40) for price in kept}
            self._book[side][self._price(side, int(self._random.integers(_TICKS)))] = int(self._random.integers(1, 999))
        self._id += int(self._random.integers(1, 9)) if self._dialect == "binance" else 1
        return {side: _changed(before[side], self._book[side]) for side in ("b", "a")}

    def _price(self, side: str, place: int) -> int:
        return self._mid - 1 - place if side == "b" else self._mid + 1 + place

    def _remember(self) -> None:
        self.truth[self._ms] = {side: dict(levels) for side, levels in self._book.items()}

    def _foreign_depth(self, changes: dict[str, dict[int, int]], *, snapshot: bool) -> str:
        """`changes` may be the whole book."""
        assert self._foreign is not None  # noqa: S101 - asked of foreign dialects only
        texts = [{side: self._levels(side, rows) for side, rows in levels.items()} for levels in (changes, self._book)]
        return self._foreign.depth(texts[0], texts[1], self._ms, snapshot=snapshot)

    def _best(self) -> str:
        """The venue's own best prices."""
        bid, ask = ([f"{price / 10:.1f}", f"{self._book[side][price] / 1000:.3f}"] for side, price in self._touch())
        row = {"e": "bookTicker", "u": self._id, "E": self._ms, "T": self._ms, "s": _SYMBOL}
        return json.dumps({**row, "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]})

    def _touch(self) -> tuple[tuple[str, int], tuple[str, int]]:
        return ("b", max(self._book["b"])), ("a", min(self._book["a"]))

    def _depth(self, changes: dict[str, dict[int, int]]) -> str:
        if self._foreign is not None:
            return self._foreign_depth(changes, snapshot=False)
        if self._dialect == "bybit":
            return self._bybit_depth(changes, "delta")
        sides = {side: self._levels(side, levels) for side, levels in changes.items()}
        ids = {"U": self._previous + 1, "u": self._id, "pu": self._previous}
        self._previous = self._id
        return json.dumps({"e": "depthUpdate", "E": self._ms, "T": self._ms, "s": _SYMBOL, **ids, **sides})

    def _bybit_depth(self, levels: dict[str, dict[int, int]], kind: str) -> str:
        sides = {side: self._levels(side, rows) for side, rows in levels.items()}
        data = {"s": _SYMBOL, **sides, "u": self._id, "seq": self._id * 7}
        topic = f"orderbook.50.{_SYMBOL}"
        return json.dumps({"topic": topic, "type": kind, "ts": self._ms, "cts": self._ms, "data": data})

    def _print(self) -> str:
        self._trade += 1
        price = f"{self._mid / 10:.1f}"
        if self._foreign is not None:
            return self._foreign.trade(self._trade, price, "0.010", self._ms)
        if self._dialect == "bybit":
            row = {
                "T": self._ms,
                "s": _SYMBOL,
                "S": "Buy",
                "v": "0.010",
                "p": price,
                "i": str(self._trade),
                "BT": False,
            }
            return json.dumps({"topic": f"publicTrade.{_SYMBOL}", "type": "snapshot", "ts": self._ms, "data": [row]})
        row = {"e": "trade", "E": self._ms, "T": self._ms, "s": _SYMBOL, "t": self._trade, "p": price, "q": "0.010"}
        return json.dumps({**row, "X": "MARKET", "m": False})

    @staticmethod
    def _levels(side: str, levels: dict[int, int]) -> list[list[str]]:
        ordered = sorted(levels.items(), reverse=side == "b")
        return [[f"{price / 10:.1f}", f"{lots / 1000:.3f}"] for price, lots in ordered]


def _of_book(name: str) -> bool:
    """Whether a channel carries changes of the book."""
    return any(mark in name for mark in ("depth", "book", "level2")) and "bookTicker" not in name


def _changed(before: dict[int, int], after: dict[int, int]) -> dict[int, int]:
    gone = dict.fromkeys(set(before) - set(after), 0)
    return {**gone, **{price: lots for price, lots in after.items() if before.get(price) != lots}}


@asynccontextmanager
async def served(exchange: FeedExchange) -> AsyncIterator[str]:
    """The exchange behind HTTP and WebSocket on this machine; gives `127.0.0.1:PORT`."""
    runner = web.AppRunner(exchange.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield "{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


def moved(urls: Any, address: str) -> Any:
    """ccxt's addresses of a venue with this machine's in their place."""
    if isinstance(urls, dict):
        return {name: moved(url, address) for name, url in urls.items()}
    if not isinstance(urls, str):
        return urls
    scheme, _, rest = urls.partition("://")
    path = rest.partition("/")[2]
    return f"{scheme.replace('https', 'http').replace('wss', 'ws')}://{address}/{path}"


_BINANCE_MARKET = {
    "symbol": _SYMBOL,
    "pair": _SYMBOL,
    "contractType": "PERPETUAL",
    "deliveryDate": 4133404800000,
    "onboardDate": 1569398400000,
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "marginAsset": "USDT",
    "pricePrecision": 1,
    "quantityPrecision": 3,
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.1", "maxPrice": "1000000", "tickSize": "0.1"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "maxQty": "1000", "minQty": "0.001"},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
    ],
}
_BYBIT_MARKET = {
    "symbol": _SYMBOL,
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "settleCoin": "USDT",
    "launchTime": "1585526400000",
    "deliveryTime": "0",
    "priceScale": "1",
    "leverageFilter": {"minLeverage": "1", "maxLeverage": "100", "leverageStep": "0.01"},
    "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
    "lotSizeFilter": {"maxOrderQty": "1190", "minOrderQty": "0.001", "qtyStep": "0.001"},
}
