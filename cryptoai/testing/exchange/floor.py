"""The local exchange without any wire: public markets, clients and the market's clock, for one venue.

The dialects ask it in their venue's name. All of it runs in one thread. It must never hear of HTTP.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from cryptoai.backtesting.market import Feed
from cryptoai.core.config import BacktestConfig
from cryptoai.core.errors import ConfigError
from cryptoai.core.money import Money, Price
from cryptoai.data_universe.events import ASK, BID
from cryptoai.testing.exchange.client import Client, Told
from cryptoai.testing.exchange.clock import MarketClock
from cryptoai.testing.exchange.faults import Faults
from cryptoai.testing.exchange.public import PublicMarket

__all__ = ["Floor"]

Listener = Callable[[Client, list[Told]], None]


class Floor:
    """One venue. `markets` and `clients` are by symbol and by API key; `listener` hears each client's news."""

    def __init__(self, venue: str, feeds: Sequence[Feed], clock: MarketClock, faults: Faults) -> None:
        self.venue, self.clock, self.faults = venue, clock, faults
        self.feeds = tuple(feed for feed in feeds if feed.instrument.venue == venue)
        if not self.feeds:
            raise ConfigError(f"no tape is of venue {venue}")
        self.markets = {feed.instrument.symbol: PublicMarket(feed) for feed in self.feeds}
        self.clients: dict[str, Client] = {}
        self.listener: Listener | None = None
        self._number = itertools.count(8_000_001).__next__

    def open_account(self, key: str, secret: str, cash: Money, rules: BacktestConfig | None = None) -> Client:
        """A new client; ConfigError if the key is taken."""
        if key in self.clients:
            raise ConfigError(f"API key {key!r} has an account already")
        client = self.clients[key] = Client(key, secret, self.feeds, cash, self._number, rules)
        client.advance(self.clock.now_ns())
        return client

    def advance(self) -> int:
        """Brings markets and clients to the clock's time, which it returns."""
        now = self.clock.now_ns()
        stale = self.faults.standing("stale_book") is not None
        for market in self.markets.values():
            if not stale:
                market.advance(now)
        for client in self.clients.values():
            client.advance(now)
            self.told(client)
        return now

    def told(self, client: Client) -> None:
        """Passes on what a client's books said."""
        events = client.events()
        if events and self.listener is not None:
            self.listener(client, events)

    def mark(self, symbol: str) -> Price | None:
        """The middle of the public book."""
        market = self.markets[symbol]
        bid, ask = market.best(BID), market.best(ASK)
        if bid is None or ask is None:
            return None
        low, high = market.made.price(bid[0]), market.made.price(ask[0])
        return Price((low.value + high.value) / 2)
