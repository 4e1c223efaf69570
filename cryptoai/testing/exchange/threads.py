"""The local exchange in a thread of its own, for tests and for whoever drives it from plain Python.

`served` starts and stops it. A handle's methods may be called from any thread: each is carried out in the exchange's
loop, so that what it returns is consistent.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from cryptoai.backtesting.market import Feed
from cryptoai.core.clock import Clock, SystemClock
from cryptoai.core.config import BacktestConfig
from cryptoai.core.money import Money
from cryptoai.testing.exchange.admin import admin_application
from cryptoai.testing.exchange.client import Client
from cryptoai.testing.exchange.clock import MarketClock
from cryptoai.testing.exchange.faults import Faults
from cryptoai.testing.exchange.server import ExchangeServer

__all__ = ["Handle", "make_server", "served"]

T = TypeVar("T")
_PATIENCE_S = 30.0


def make_server(
    feeds: Sequence[Feed], *, speed: float | None = None, seed: int = 0, clock: Clock | None = None
) -> ExchangeServer:
    """An exchange at the beginning of its tapes; `speed` None is stepped by command."""
    first = max(int(feed.events.event_time[0]) for feed in feeds)
    last = min(int(feed.events.event_time[-1]) for feed in feeds)
    market = MarketClock(first, last, clock or SystemClock(), speed)
    return ExchangeServer(feeds, market, Faults(np.random.default_rng(seed)))


class Handle:
    """A running exchange: `address` is host:port, `admin` that of the admin port."""

    def __init__(self, server: ExchangeServer, loop: asyncio.AbstractEventLoop, places: list[str]) -> None:
        self.server, self._loop = server, loop
        self.address, self.admin = places
        self.faults = server.faults

    def do(self, work: Callable[[], T]) -> T:
        """The result of `work`, done in the exchange's loop."""

        async def run() -> T:
            return work()

        return self.wait(run())

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, run in the exchange's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)

    def open_account(
        self, venue: str, key: str, secret: str, cash: Money, rules: BacktestConfig | None = None
    ) -> Client:
        """A client; read it through `do` only."""
        return self.do(lambda: self.server.open_account(venue, key, secret, cash, rules))

    def advance_to(self, now_ns: int) -> None:
        """Steps the market to `now_ns` and tells who listens."""
        self.do(lambda: self.server.clock.advance_to(now_ns))
        self.wait(self.server.advance())

    def disconnect(self, owner: Client | None = None) -> None:
        """Closes streams."""
        self.wait(self.server.disconnect(owner))


@contextmanager
def served(
    feeds: Sequence[Feed],
    *,
    speed: float | None = None,
    seed: int = 0,
    clock: Clock | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[Handle]:
    """Runs the exchange on this machine until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="exchange", daemon=True)
    thread.start()

    async def begin() -> tuple[ExchangeServer, list[str]]:
        server = make_server(feeds, speed=speed, seed=seed, clock=clock)
        return server, await server.start(host, port, admin_application(server))

    try:
        server, places = asyncio.run_coroutine_threadsafe(begin(), loop).result(_PATIENCE_S)
        try:
            yield Handle(server, loop, places)
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(_PATIENCE_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_PATIENCE_S)
        loop.close()
