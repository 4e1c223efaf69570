"""Random orders under random faults on a real tape: at the end what the bot heard is what the exchange's books say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
import pytest

from cryptoai.backtesting.market import Feed
from cryptoai.core.clock import MS, SECOND
from cryptoai.core.errors import TransientError, VenueError
from cryptoai.core.instruments import Contract
from cryptoai.core.messages import OrderStatus, Side
from cryptoai.core.money import Quantity
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import ASK, BID
from cryptoai.execution.adapters.ccxt_venue import CcxtVenue
from cryptoai.testing.exchange.server import DIALECTS
from cryptoai.testing.exchange.small import Bench
from cryptoai.testing.fakes import approved_order
from cryptoai.testing.slices import head

NAME = "binance_usdm:BTCUSDT"
FAULTS = ("drop_ack", "error", "error_after", "duplicate", "reorder", "drop_message", "disconnect")
How = Literal["limit", "post_only", "market", "reduce"]
HOW: tuple[How, ...] = ("limit", "post_only", "market")


class Trader:
    """Sends, cancels and listens at random; remembers every id that it sent."""

    def __init__(self, market: Bench, seed: int) -> None:
        self.market, self.random = market, np.random.default_rng(seed)
        self.client = market.account(cash=1_000_000)
        self.venue: CcxtVenue = market.venue(self.client, timeout_s=0.15, leverage=20)
        self.sent: list[str] = []

    def step(self) -> None:
        """One thing, then some time."""
        if self.random.random() < 0.3:
            self.market.exchange.faults.add(str(self.random.choice(FAULTS)), times=1, path=self._where())
        if self.sent and self.random.random() < 0.4:
            self._quietly(lambda: self.venue.cancel(str(self.random.choice(self.sent)), self.market.now))
        else:
            self._quietly(self._order)
        self.market.go(int(self.random.integers(1, 60)) * MS)
        self.market.said[self.venue] += self.venue.poll(self.market.now)

    def _where(self) -> str:
        return str(self.random.choice(["order", "user", "rades", "execution", ""]))

    def _order(self) -> None:
        side = Side.BUY if self.random.random() < 0.5 else Side.SELL
        book = self.market.exchange.server.floors[self.market.made.venue].markets["BTCUSDT"]
        best = self.market.exchange.do(lambda: book.best(BID if side is Side.BUY else ASK))
        assert best is not None
        price = self.market.made.price(best[0] + int(self.random.integers(-3, 4)))
        quantity = self.market.made.quantity(int(self.random.integers(2, 30)))
        how = HOW[self.random.integers(3)]
        if side is Side.SELL and self.market.made.contract is Contract.SPOT:
            how = "reduce"  # the judge lets coins be sold only that are there
        order = approved_order(
            self.market.made, side, str(quantity), str(price), time=self.market.now, decision=len(self.sent), how=how
        )
        self.sent.append(order.request.client_order_id)
        self.venue.submit(order, self.market.now)

    @staticmethod
    def _quietly(work: Callable[[], None]) -> None:
        try:
            work()
        except (TransientError, VenueError):
            return

    def finish(self) -> None:
        """Heals the exchange, cancels what is open and hears everything out."""
        self.market.exchange.faults.heal()
        for _ in range(4):
            self.market.go(20 * SECOND)
            for order in self.venue._tracking.live():
                name = order.request.client_order_id
                self._quietly(lambda name=name: self.venue.cancel(name, self.market.now))
            self.market.ready(self.venue)
        self.market.hear(self.venue, self._ended)

    def _ended(self) -> bool:
        """Whether nothing is open; the market goes on meanwhile, for a question may wait for its time to come."""
        if self.venue._tracking.live():
            self.market.go(SECOND)
            return False
        return True


def _agree(trader: Trader) -> dict[str, Any]:
    """Asserts that the bot's story is the exchange's; the exchange's books."""
    market, venue = trader.market, trader.venue
    books = market.ledger(trader.client)
    names = [order["client_id"] for order in books["orders"]]
    assert len(names) == len(set(names))
    assert set(names) <= set(trader.sent)
    for order in books["orders"]:
        name = order["client_id"]
        ids = [str(fill["id"]) for fill in books["fills"] if fill["client_id"] == name]
        assert sorted(fill.fill_id for fill in market.fills(venue, name)) == sorted(ids)
        assert str(market.filled(venue, name)) == order["filled"]
        unborn = {"rejected"} if order["reason"] == "post_only" else set()
        assert market.statuses(venue, name)[-1] in {order["status"], *unborn}
    for name in set(trader.sent) - set(names):
        assert market.statuses(venue, name) in ([], [OrderStatus.REJECTED])
        assert market.fills(venue, name) == []
    held = venue.positions(market.now).get(market.made.id, Quantity.zero())
    assert str(held) == books["positions"]["BTCUSDT"]
    return books


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "venue"), list(enumerate(sorted(DIALECTS))))
def test_the_bots_story_is_the_exchanges(
    seed: int, venue: str, open_bench: Callable[..., AbstractContextManager[Bench]]
) -> None:
    """No order twice, no fill lost, none invented, every id at its end, the position equal; faults really struck."""
    kind = Contract.SPOT if venue.endswith("_spot") else Contract.LINEAR
    made = instrument(NAME).model_copy(update={"id": f"{venue}:BTCUSDT", "contract": kind})
    feed = Feed(made, head(NAME, 4000))
    with open_bench(feed, seed=seed) as market:
        market.go(2 * SECOND)  # the tape begins before its first book
        trader = Trader(market, seed)
        for _ in range(150):
            trader.step()
        trader.finish()
        books = _agree(trader)
        assert len(books["fills"]) > 20
        assert sum(market.exchange.faults.counts.values()) > 10
