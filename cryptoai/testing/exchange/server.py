"""The local exchange behind HTTP and WebSocket: what a client sends goes to its dialect, what happens goes to streams.

`threads.served` runs it for tests, `cryptoai exchange` for people. Every request passes the faults, the rate limits and
the dialect, in that order, after the market was brought to its clock. A second port takes commands (`admin`). It serves
this machine only unless told otherwise, and must never be taken for proof of what a real venue does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web

from cryptoai.backtesting.market import Feed
from cryptoai.core.config import BacktestConfig
from cryptoai.core.money import Money
from cryptoai.testing.exchange.binance_spot import BinanceSpot
from cryptoai.testing.exchange.binance_usdm import BinanceUsdm
from cryptoai.testing.exchange.bybit import Bybit
from cryptoai.testing.exchange.client import Client, Told
from cryptoai.testing.exchange.clock import MarketClock
from cryptoai.testing.exchange.faults import Faults
from cryptoai.testing.exchange.floor import Floor
from cryptoai.testing.exchange.limits import TooManyError, Weights
from cryptoai.testing.exchange.streams import Dialect, Stream
from cryptoai.testing.exchange.wire import Asked, WireError

__all__ = ["DIALECTS", "ExchangeServer"]

DIALECTS: dict[str, Callable[[Floor], Dialect]] = {
    "binance_usdm": BinanceUsdm,
    "binance_spot": BinanceSpot,
    "bybit_linear": Bybit,
}
"""How each venue of our instruments is spoken."""

_TICK_S = 0.02
_NOTHING: dict[str, Any] = {
    "/sapi/v1/capital/config/getall": [],
    "/sapi/v1/margin/allPairs": [],
    "/sapi/v1/margin/isolated/allPairs": [],
    "/api/v3/exchangeInfo": {"symbols": []},
    "/fapi/v1/exchangeInfo": {"symbols": []},
    "/dapi/v1/exchangeInfo": {"symbols": []},
}
"""What ccxt asks of all parts of Binance before it trades on one; those that are not here have nothing."""


class ExchangeServer:
    """`floors` by venue. Runs in one event loop; nothing here is safe to call from another thread."""

    def __init__(self, feeds: Sequence[Feed], clock: MarketClock, faults: Faults) -> None:
        venues = sorted({feed.instrument.venue for feed in feeds})
        self.clock, self.faults = clock, faults
        self.floors = {venue: Floor(venue, feeds, clock, faults) for venue in venues if venue in DIALECTS}
        self.dialects = [DIALECTS[venue](floor) for venue, floor in self.floors.items()]
        self.weights = {dialect.prefix: Weights(dialect.weight_limit) for dialect in self.dialects}
        self.streams: set[Stream] = set()
        self.sent: dict[str, int] = {}
        self._outbox: list[tuple[Stream, str]] = []
        self._runners: list[web.AppRunner] = []
        self._ticking: asyncio.Task[None] | None = None
        self._closing, self._sending = asyncio.Event(), asyncio.Lock()
        for dialect in self.dialects:
            dialect.floor.listener = self._listener(dialect)

    # ------------------------------------------------------------------ life

    async def start(self, host: str, port: int, admin: web.Application | None = None, admin_port: int = 0) -> list[str]:
        """Listens; the addresses `host:port` of the exchange and of the admin port."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._any)
        places = [await self._listen(app, host, port)]
        if admin is not None:
            places.append(await self._listen(admin, host, admin_port))
        self._ticking = asyncio.create_task(self._run())
        return places

    async def stop(self) -> None:
        """Lets everybody go."""
        self._closing.set()
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking
        await self.disconnect()
        for runner in self._runners:
            await runner.cleanup()

    def open_account(
        self, venue: str, key: str, secret: str, cash: Money, rules: BacktestConfig | None = None
    ) -> Client:
        """A client of one venue; `rules` replaces what the venue assumes where a tape cannot say."""
        return self.floors[venue].open_account(key, secret, cash, rules)

    async def advance(self) -> None:
        """Brings everything to the clock's time and tells who listens."""
        if self.streams and self.faults.standing("maintenance") is not None:
            await self.disconnect()
        for dialect in self.dialects:
            dialect.floor.advance()
            for name, message in dialect.public_messages():
                self._publish(dialect, name, message)
        await self._flush()

    async def disconnect(self, owner: Client | None = None) -> None:
        """Closes the streams of a client, or all of them."""
        for stream in [s for s in self.streams if owner is None or s.owner is owner]:
            await stream.socket.close()

    async def _listen(self, app: web.Application, host: str, port: int) -> str:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, host, port).start()
        return "{}:{}".format(*runner.addresses[0][:2])

    async def _run(self) -> None:
        """The market's own pace, where its clock runs."""
        while self.clock.speed is not None:
            await self.advance()
            await asyncio.sleep(_TICK_S)

    # ------------------------------------------------------------------ requests

    async def _any(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        path = _path(request)
        where = path, request.method
        if (slow := self.faults.strikes("latency", *where)) is not None:
            await self._wait(slow.seconds)
        down = self.faults.strikes("maintenance", *where) or self.faults.strikes("error", *where)
        dialect = next((d for d in self.dialects if path.startswith(f"{d.prefix}/")), None)
        if dialect is None and path in _NOTHING:
            return web.json_response(_NOTHING[path])
        if dialect is None:
            return web.json_response({"code": -5000, "msg": f"Path {path} is invalid"}, status=404)
        if down is not None:
            return web.json_response(dialect.unavailable(), status=down.status)
        answer = await self._answer(request, dialect)
        if self.faults.strikes("drop_ack", *where) is not None:
            await self._closing.wait()
        if (late := self.faults.strikes("error_after", *where)) is not None:
            return web.json_response(dialect.unavailable(), status=late.status)
        return answer

    async def _answer(self, request: web.Request, dialect: Dialect) -> web.Response:
        """The dialect's reply, within the limits; the client's stream hears of it first or last, as the loop will."""
        asked = await _asked(request, dialect.machine_ms())
        caller = request.remote or ""
        try:
            await self.advance()
            weights = self.weights[dialect.prefix]
            used = weights.take(caller, dialect.weight(asked), self.clock.now_ns())
            body = dialect.answer(asked)
        except WireError as error:
            return web.json_response(dialect.error(error), status=error.status)
        except TooManyError as error:
            refused = dialect.too_many(weights.limit)
            status = error.status if refused.status == 429 else refused.status
            after = {"Retry-After": str(self._scaled(error))}
            return web.json_response(dialect.error(refused), status=status, headers=after)
        for client in dialect.floor.clients.values():
            dialect.floor.told(client)
        await self._flush()
        return web.json_response(body, headers={"X-MBX-USED-WEIGHT-1M": str(used)})

    def _scaled(self, error: TooManyError) -> int:
        """Seconds of the caller's clock, which the market's may outrun."""
        return max(1, round(error.seconds / (self.clock.speed or 1)))

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    # ------------------------------------------------------------------ streams

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self.faults.standing("maintenance") is not None:
            return web.Response(status=503)
        path = _path(request)
        dialect = next((d for d in self.dialects if d.hears(path)), None)
        if dialect is None:
            return web.Response(status=404)
        socket = web.WebSocketResponse()
        stream = Stream(socket, dialect)
        dialect.greet(stream, path, dict(request.query))
        await socket.prepare(request)
        self.streams.add(stream)
        try:
            async for message in socket:
                asked = _object(message.data) if message.type is WSMsgType.TEXT else None
                for reply in dialect.heard(stream, asked) if asked is not None else ():
                    with suppress(ConnectionError):
                        await socket.send_str(json.dumps(reply))
        finally:
            self.streams.discard(stream)
            dialect.left(stream)
        return socket

    def _publish(self, dialect: Dialect, name: str, message: Any) -> None:
        text = json.dumps(message)
        listeners = [stream for stream in self.streams if stream.dialect is dialect and name in stream.names]
        self._outbox += [(stream, text) for stream in listeners]

    def _listener(self, dialect: Dialect) -> Callable[[Client, list[Told]], None]:
        def hear(client: Client, events: list[Told]) -> None:
            for told in events:
                for message in dialect.private_messages(client, told):
                    self._tell(client, json.dumps(message))

        return hear

    def _tell(self, client: Client, text: str) -> None:
        """One message of a client's stream, through the faults."""
        self.sent[client.key] = self.sent.get(client.key, 0) + 1
        if self.faults.strikes("drop_message", "user") is not None:
            return
        swapped = self.faults.strikes("reorder", "user") is not None
        twice = self.faults.strikes("duplicate", "user") is not None
        for stream in [s for s in self.streams if s.owner is client]:
            if swapped:
                stream.held.append(text)
                continue
            held, stream.held = stream.held, []
            self._outbox += [(stream, t) for t in (text, *([text] if twice else []), *held)]

    async def _flush(self) -> None:
        """One at a time, so that no message overtakes another."""
        async with self._sending:
            outbox, self._outbox = self._outbox, []
            for stream, text in outbox:
                if not stream.socket.closed:
                    with suppress(ConnectionError):
                        await stream.socket.send_str(text)
                if stream.owner is not None and self.faults.strikes("disconnect", "user") is not None:
                    await stream.socket.close()


async def _asked(request: web.Request, came: int) -> Asked:
    body = (await request.read()).decode()
    query = request.raw_path.partition("?")[2]
    params = dict(parse_qsl(query, keep_blank_values=True)) | _fields(body)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Asked(request.method, _path(request), params, query + body, headers, came)


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object of a text, None for anything else, which the exchange does not answer."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _fields(body: str) -> dict[str, str]:
    """The fields of a form or of a JSON object, as text."""
    if not body.startswith("{"):
        return dict(parse_qsl(body, keep_blank_values=True))
    told = (_object(body) or {}).items()
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in told}


def _path(request: web.Request) -> str:
    """Clients whose address ends in a slash ask with two."""
    return "/" + request.path.lstrip("/")
