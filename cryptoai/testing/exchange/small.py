"""A small market for the local exchange and a bench to trade on it, for tests.

From START bid 100 x 10 and 99 x 10, ask 100.1 x 10; at TURN sellers trade through the bid and the market is bid 99,
ask 99.1. Ten minutes in all, so that time can pass; after five of them funding is paid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from cryptoai.backtesting.market import Feed
from cryptoai.core.clock import MS, SECOND
from cryptoai.core.config import BacktestConfig
from cryptoai.core.errors import InvariantError
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import Fill, OrderStatus, OrderUpdate, Side
from cryptoai.core.money import Money, Quantity
from cryptoai.data_universe.events import ASK, BID, CLEAR, LEVEL, TRADE, EventArray
from cryptoai.execution.ports import Venue, VenueEvent
from cryptoai.testing.exchange.admin import ledger
from cryptoai.testing.exchange.client import Client
from cryptoai.testing.exchange.threads import Handle, served
from cryptoai.testing.fakes import approved_order, make_instrument

__all__ = ["END", "START", "TURN", "Bench", "Connected", "bench", "small_feed", "small_instrument"]

START = 1_700_006_100_000 * MS
TURN = START + SECOND
END = START + 600 * SECOND
_LOTS = 10_000


def small_instrument(venue: str) -> Instrument:
    """BTCUSDT of a venue, spot where its name says so."""
    contract = Contract.SPOT if venue.endswith("_spot") else Contract.LINEAR
    return make_instrument(f"{venue}:BTCUSDT", contract=contract)


def small_feed(made: Instrument) -> Feed:
    """The market above, for an instrument with tick 0.1 and step 0.001."""
    rows = [
        (START, CLEAR, 0, 0, 0, 0),
        (START, LEVEL, BID, 1000, _LOTS, 0),
        (START, LEVEL, BID, 990, _LOTS, 0),
        (START, LEVEL, ASK, 1001, _LOTS, 1),
        (TURN, TRADE, -1, 1000, _LOTS, 1),
        (TURN, LEVEL, BID, 1000, 0, 0),
        (TURN, LEVEL, ASK, 991, _LOTS, 1),
        (TURN + 1, TRADE, -1, 990, 1, 1),
        (END, TRADE, -1, 990, 1, 1),
    ]
    time, kind, side, price, qty, last = np.array(rows, dtype=np.int64).T.copy()
    small = [column.astype(np.int8) for column in (kind, side, last)]
    return Feed(made, EventArray(time, time.copy(), small[0], small[1], small[2], price.copy(), qty.copy()))


class Connected(Venue, Protocol):
    """A venue behind a connection of its own, such as `CcxtVenue`."""

    @property
    def connected(self) -> bool:
        """Whether its stream is there."""
        ...

    @property
    def settled(self) -> bool:
        """Whether nothing is being asked and nothing waits to be asked."""
        ...

    def await_news(self, seconds: float) -> bool:
        """Whether there is something to poll, after at most so long."""
        ...

    def close(self) -> None:
        """Ends the connection."""
        ...


@dataclass
class Bench:
    """A running exchange with accounts, and venues that trade on it; `now` is the market's time.

    `connect(made, address, key, secret, **terms)` makes a venue that trades an instrument there.
    """

    exchange: Handle
    made: Instrument
    now: int = START
    connect: Callable[..., Any] | None = None
    venues: list[Any] = field(default_factory=list)
    said: dict[Any, list[VenueEvent]] = field(default_factory=dict)

    def account(self, key: str = "key-one", secret: str = "secret-one", cash: int = 100_000) -> Client:  # noqa: S107
        """A client of the exchange."""
        rules = BacktestConfig(price_band_pct=1, impact_bps=0)
        return self.exchange.open_account(self.made.venue, key, secret, Money(cash), rules)

    def venue(self, client: Client, *, secret: str | None = None, **terms: Any) -> Any:
        """A connection of this client; `secret` may be a wrong one. InvariantError without a `connect`."""
        if self.connect is None:
            raise InvariantError("this bench was made without a way to connect")
        made = self.connect(self.made, self.exchange.address, client.key, secret or client.secret, **terms)
        self.venues.append(made)
        self.said[made] = []
        return made

    def send(self, venue: Connected, side: Side, quantity: str, price: str, **more: Any) -> str:
        """Sends an order that the judge approved; its id."""
        order = approved_order(self.made, side, quantity, price, time=self.now, **more)
        venue.submit(order, self.now)
        return order.request.client_order_id

    def go(self, by_ns: int) -> None:
        """Lets the market live so much longer."""
        self.now += by_ns
        self.exchange.advance_to(self.now)

    def hear(self, venue: Connected, until: Callable[[], bool], tries: int = 1000) -> None:
        """Polls until something holds; InvariantError if it never does."""
        for _ in range(tries):
            self.said[venue] += venue.poll(self.now)
            if until():
                return
            venue.await_news(0.02)
        raise InvariantError(f"it was never heard; the last that was said is {self.said[venue][-3:]}")

    def ready(self, venue: Connected) -> None:
        """Waits until the client's stream is there and the first questions are answered."""
        self.hear(venue, lambda: venue.connected and venue.settled)

    def fills(self, venue: Connected, order: str) -> list[Fill]:
        """Fills of an order, as they were told."""
        return [e for e in self.said[venue] if isinstance(e, Fill) and e.client_order_id == order]

    def filled(self, venue: Connected, order: str) -> Quantity:
        """How much of an order was told to be filled."""
        return sum((fill.quantity for fill in self.fills(venue, order)), start=Quantity.zero())

    def statuses(self, venue: Connected, order: str) -> list[OrderStatus]:
        """Statuses of an order, as they were told."""
        return [e.status for e in self.said[venue] if isinstance(e, OrderUpdate) and e.client_order_id == order]

    def ledger(self, client: Client) -> dict[str, Any]:
        """The exchange's own books."""
        return self.exchange.do(lambda: ledger(client))


@contextmanager
def bench(
    feed: Feed | None = None,
    *,
    venue: str = "binance_usdm",
    seed: int = 0,
    connect: Callable[..., Any] | None = None,
) -> Iterator[Bench]:
    """An exchange with this market, by default the small one of `venue`; venues are closed when the block ends."""
    feed = feed or small_feed(small_instrument(venue))
    with served((feed,), seed=seed) as exchange:
        begin = exchange.server.clock.now_ns()
        exchange.advance_to(begin)
        found = Bench(exchange, feed.instrument, begin, connect)
        try:
            yield found
        finally:
            for connection in found.venues:
                connection.close()
