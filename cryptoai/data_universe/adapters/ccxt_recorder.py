"""The live recorder: ccxt.pro connects, subscribes and asks for snapshots; every raw message goes into a `LiveTape`.

`cryptoai data record` runs it. ccxt's own book is not used: the tape's importer judges what arrived, so a recording and
its replay agree. We see a message before ccxt does, in the `Client` that it makes for each connection, and REST replies
in the hook that it offers. A lost or silent connection, and a book that the importer no longer knows, end in a fresh
snapshot: a REST one where the venue syncs that way (Binance), else a new connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ccxt.pro
from ccxt.base.errors import BaseError

from cryptoai.core.clock import SECOND, Clock
from cryptoai.core.errors import ConfigError
from cryptoai.data_universe.market_microstructure.live import LiveTape, Piece
from cryptoai.data_universe.market_microstructure.messages import native

__all__ = ["EXCHANGES", "Limits", "Recorder", "connect"]

EXCHANGES: Mapping[str, tuple[str, str]] = {
    "binance_spot": ("binance", "spot"),
    "binance_usdm": ("binanceusdm", "swap"),
    "binance_coinm": ("binancecoinm", "swap"),
    "bybit": ("bybit", "swap"),
    "bybit_linear": ("bybit", "swap"),
    "bybit_inverse": ("bybit", "swap"),
    "bybit_spot": ("bybit", "spot"),
    "okx": ("okx", "swap"),
    "okx_linear": ("okx", "swap"),
    "okx_inverse": ("okx", "swap"),
    "okx_spot": ("okx", "spot"),
    "coinbase": ("coinbase", "spot"),
    "coinbase_spot": ("coinbase", "spot"),
    "kraken": ("kraken", "spot"),
    "kraken_spot": ("kraken", "spot"),
}
"""(ccxt's exchange, its default type) by our venue."""

_STREAMS = (
    ("watchOrderBook", "watch_order_book"),
    ("watchTrades", "watch_trades"),
    ("watchMarkPrice", "watch_mark_price"),
    ("watchLiquidations", "watch_liquidations"),
    ("watchBidsAsks", "watch_bids_asks"),
)
_CONTRACTS_ONLY = ("watchMarkPrice", "watchLiquidations")
_REST_BOOK = "/depth"
_PATIENCE = {"rest": 64, "stream": 16}
"""Messages of any stream that a snapshot may be on its way: asked for by REST, or the first of a new connection."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: how often the file is made durable, a connection's longest silence, first and longest wait before a new
    attempt, and how often rows go to the lake; bytes after which a new file begins."""

    sync_s: float = 1.0
    silence_s: float = 15.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    store_s: float = 10.0
    file_bytes: int = 256 << 20


class _Tee:
    """Mixed into a ccxt.pro exchange: shows what arrives to `recorder` before ccxt handles it."""

    recorder: Recorder | None = None

    def client(self, url: str) -> Any:
        made = super().client(url)  # type: ignore[misc]
        if "handle_text_or_binary_message" not in vars(made):
            handle = made.handle_text_or_binary_message

            def seen(data: str | bytes) -> None:
                if self.recorder:
                    self.recorder.message(url, data if isinstance(data, bytes) else data.encode())
                handle(data)

            made.handle_text_or_binary_message = seen
        return made

    def on_rest_response(self, code: int, reason: str, url: str, *rest: Any) -> Any:
        body = super().on_rest_response(code, reason, url, *rest)  # type: ignore[misc]
        if self.recorder and code == 200 and _REST_BOOK in url:
            self.recorder.reply(url, body.encode())
        return body

    def on_error(self, client: Any, error: Exception) -> None:
        self._lost(client)
        super().on_error(client, error)  # type: ignore[misc]

    def on_close(self, client: Any, error: Any) -> None:
        self._lost(client)
        super().on_close(client, error)  # type: ignore[misc]

    def _lost(self, client: Any) -> None:
        if self.recorder:
            self.recorder.lost(client.url)


def connect(venue: str, options: Mapping[str, Any] | None = None) -> Any:
    """A ccxt.pro exchange of a venue that can be recorded; `ConfigError` lists the venues."""
    if venue not in EXCHANGES:
        raise ConfigError(f"venue {venue!r} cannot be recorded; the venues are {', '.join(EXCHANGES)}")
    name, kind = EXCHANGES[venue]
    made = type(f"Recorded{name}", (_Tee, getattr(ccxt.pro, name)), {})
    return made({"newUpdates": True, "options": {"defaultType": kind}, **(options or {})})


class Recorder:
    """Records until `stop`; `store` takes each piece to the lake and may be slow (it runs in a thread)."""

    def __init__(
        self,
        exchange: Any,
        tape: LiveTape,
        clock: Clock,
        store: Callable[[Piece], None],
        limits: Limits = Limits(),
    ) -> None:
        self._exchange, self._tape, self._clock = exchange, tape, clock
        self._store, self._limits = store, limits
        self._heard: dict[str, int] = {}
        self._asked: set[asyncio.Future[None]] = set()
        self._unknown: dict[str, int] = {}
        self._stopped = asyncio.Event()
        exchange.recorder = self

    async def run(self, symbols: Sequence[str]) -> None:
        """Record the venue's own symbols until `stop`; everything taken is stored and durable when it returns."""
        markets = await self._attempt(self._exchange.load_markets)
        wanted = [self._unified(symbol, markets) for symbol in symbols]
        jobs = [self._watch(name, symbol) for symbol in wanted for name in self._streams(symbol)]
        tasks = [asyncio.ensure_future(job) for job in (*jobs, self._sync(), self._storing(), self._listen())]
        try:
            await self._stopped.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._exchange.recorder = None
            await self._exchange.close()
            self._store_all(self._tape.pieces())
            self._tape.close()

    def stop(self) -> None:
        """End the recording; `run` returns soon."""
        self._stopped.set()

    def message(self, url: str, body: bytes) -> None:
        """A raw message of a connection."""
        now = self._clock.now_ns()
        if now - self._heard.get(url, now) > self._limits.silence_s * SECOND:
            self._tape.hole("a silent connection")
        self._heard[url] = self._tape.take(body)
        self._resync()

    def reply(self, url: str, body: bytes) -> None:
        """A REST snapshot."""
        self._tape.rest(url, body)

    def lost(self, url: str) -> None:
        """A connection ended, by the venue's will or ours."""
        if self._heard.pop(url, None) is not None:
            self._tape.hole("a lost connection")

    def _resync(self) -> None:
        """Ask for a snapshot where the book has been unknown for a while: the one on its way may be lost."""
        unknown = {made.symbol for made in self._tape.unsynced()}
        self._unknown = {symbol: self._unknown.get(symbol, self._tape.messages) for symbol in unknown}
        for symbol, since in self._unknown.items():
            if self._tape.messages - since >= _PATIENCE["rest" if self._by_rest else "stream"]:
                self._unknown[symbol] = self._tape.messages
                task = asyncio.ensure_future(self._fresh(symbol))
                self._asked.add(task)
                task.add_done_callback(self._asked.discard)

    async def _fresh(self, symbol: str) -> None:
        """A REST snapshot where the venue syncs that way, else new connections, which begin with one."""
        with suppress(BaseError):  # the next attempt follows from the next messages
            if self._by_rest:
                await self._exchange.fetch_order_book(self._unified(symbol, self._exchange.markets), 1000)
                return
        for client in list(self._exchange.clients.values()):
            await client.close()

    @property
    def _by_rest(self) -> bool:
        """Whether the venue's books sync by a REST snapshot."""
        return bool(self._exchange.id.startswith("binance"))

    async def _watch(self, name: str, symbol: str) -> None:
        """Keep one stream subscribed: each call of ccxt waits for its next message."""
        wanted = [symbol] if name == "watch_bids_asks" else symbol
        while True:
            await self._attempt(lambda: getattr(self._exchange, name)(wanted))

    async def _attempt(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Until it works, with growing waits."""
        wait = self._limits.first_wait_s
        while True:
            try:
                return await call()
            except BaseError:
                await asyncio.sleep(wait)
                wait = min(2 * wait, self._limits.longest_wait_s)

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(self._limits.sync_s)
            self._tape.sync()

    async def _storing(self) -> None:
        while True:
            await asyncio.sleep(self._limits.store_s)
            large = self._tape.size > self._limits.file_bytes
            pieces = list(self._tape.rotate() if large else self._tape.pieces())
            await asyncio.to_thread(self._store_all, pieces)

    async def _listen(self) -> None:
        """Close connections that have been silent for too long; ccxt dials anew."""
        while True:
            await asyncio.sleep(self._limits.silence_s / 3)
            now = self._clock.now_ns()
            quiet = [url for url, at in self._heard.items() if now - at > self._limits.silence_s * SECOND]
            for url in quiet:
                self.lost(url)
                with suppress(BaseError):
                    await self._exchange.clients[url].close()

    def _store_all(self, pieces: Any) -> None:
        for piece in pieces:
            self._store(piece)

    def _streams(self, symbol: str) -> list[str]:
        contract = bool(self._exchange.market(symbol).get("contract"))
        has = self._exchange.has
        found = [name for key, name in _STREAMS if has.get(key) and (contract or key not in _CONTRACTS_ONLY)]
        # elsewhere the stream of best quotes is the book's own, or a ticker on its way to being one
        return found if self._exchange.id.startswith("binance") else [n for n in found if n != "watch_bids_asks"]

    def _unified(self, symbol: str, markets: Mapping[str, Any]) -> str:
        """ccxt's name of the venue's symbol; `ConfigError` if the venue has none."""
        spot = self._exchange.options.get("defaultType") == "spot"
        for name, market in markets.items():
            names = (native(market["id"]), native(str((market.get("info") or {}).get("wsname", ""))))
            if symbol in names and bool(market["spot"]) == spot:
                return name
        raise ConfigError(f"{self._exchange.id} has no symbol {symbol}; give the venue's own name, for example BTCUSDT")
