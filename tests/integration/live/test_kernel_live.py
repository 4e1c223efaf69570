"""The kernel itself on a CcxtVenue: killed and started again under faults, its journal equals the exchange's books."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptoai.backtesting.market import Feed
from cryptoai.core.clock import MS, SECOND
from cryptoai.core.config import build
from cryptoai.core.ids import CLIENT_ORDER_PREFIX
from cryptoai.core.journal import Journal, read_journal
from cryptoai.core.messages import Fill, OrderRequest
from cryptoai.core.money import Money, Quantity
from cryptoai.core.state import StateVector
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import ASK, BID
from cryptoai.execution.adapters.ccxt_venue import CcxtVenue
from cryptoai.execution.kernel import Kernel
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.risk_engine.kill_switch import KillSwitch
from cryptoai.testing.exchange.small import Bench
from cryptoai.testing.fakes import FakeMarket, FakeModel, make_quote
from cryptoai.testing.slices import head

NAME = "binance_usdm:BTCUSDT"
STEP = 100 * MS
Open = Callable[..., AbstractContextManager[Bench]]
FAULTS = ("drop_ack", "error", "error_after", "duplicate", "reorder", "drop_message", "disconnect")
CONFIG = build(
    {
        "risk": {"max_position_pct": 0.5, "depth_share": 1.0, "max_drawdown_pct": 0.5, "cooldown_s": 0},
        "execution": {"decision_interval_ms": 200, "order_ttl_ms": 1000, "max_slippage_bps": 50},
    }
)


class Watched(FakeMarket):
    """The exchange's best prices, as of every step."""

    def __init__(self, market: Bench) -> None:
        super().__init__([])
        self._bench = market

    def advance(self, now_ns: int) -> None:
        super().advance(now_ns)
        book = self._bench.exchange.server.floors["binance_usdm"].markets["BTCUSDT"]
        bid, ask = self._bench.exchange.do(lambda: (book.best(BID), book.best(ASK)))
        if bid is None or ask is None:
            return
        made = self._bench.made
        quote = make_quote(made, now_ns, made.price(bid[0]).value, "10")
        self._quotes.setdefault(made.id, []).append(quote.model_copy(update={"ask": made.price(ask[0])}))


class PowerCutError(Exception):
    """The process ends here."""


class Cut:
    """A venue in a process that may end before an order is on the wire, or after it and before the answer is seen."""

    def __init__(self, venue: CcxtVenue) -> None:
        self._venue = venue
        self.cut = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._venue, name)

    def submit(self, order: ApprovedOrder, now_ns: int) -> None:
        if self.cut == "before":
            raise PowerCutError
        self._venue.submit(order, now_ns)
        if self.cut == "after":
            raise PowerCutError


class Bot:
    """A kernel that can be killed: nothing survives but its journal."""

    def __init__(self, market: Bench, path: Path, script: Callable[[StateVector], float]) -> None:
        self.market, self.path, self.script = market, path, script
        self.client = market.account(cash=100_000)
        self.start()

    def start(self) -> None:
        self.venue: CcxtVenue = self.market.venue(self.client, timeout_s=0.2, leverage=20)
        self.cutting = Cut(self.venue)
        self.journal = Journal(self.path, durable=False)
        self.kernel = Kernel(
            bot="bot",
            revision="fake-revision",
            instruments=(self.market.made,),
            config=CONFIG,
            market=Watched(self.market),
            venue=self.cutting,
            model=FakeModel(self.script),
            journal=self.journal,
            kill_switch=KillSwitch(),
        )
        self.kernel.resume(list(read_journal(self.path)))

    def kill(self) -> None:
        """As after kill -9: nothing is said to anybody."""
        self.venue.close()
        self.journal.close()

    def step(self) -> None:
        self.market.go(STEP)
        self.venue.await_news(0.01)
        self.kernel.step(self.market.now)

    def finish(self) -> None:
        """Cancels what is open and hears everything out."""
        self.kernel.finish(self.market.now)
        for _ in range(60):
            self.market.go(SECOND)
            self.venue.await_news(0.05)
            self.kernel.finish(self.market.now)
            if not self.kernel.orders.open() and self.venue.settled:
                return
        raise AssertionError(f"orders stay open: {[o.request.client_order_id for o in self.kernel.orders.open()]}")


def _books_agree(bot: Bot) -> int:
    """Asserts that the journal's orders, fills and position are the exchange's; how many fills there were."""
    books = bot.market.ledger(bot.client)
    records = list(read_journal(bot.path))
    sent = [OrderRequest.model_validate(r.body).client_order_id for r in records if r.kind == "order"]
    assert len(sent) == len(set(sent))
    there = [order["client_id"] for order in books["orders"]]
    assert len(there) == len(set(there))
    assert set(there) <= set(sent)
    assert all(name.startswith(CLIENT_ORDER_PREFIX) for name in there)
    told = [Fill.model_validate(r.body) for r in records if r.kind == "fill"]
    assert sorted(fill.fill_id for fill in told) == sorted(str(fill["id"]) for fill in books["fills"])
    held = sum((fill.signed for fill in told), start=Quantity.zero())
    assert str(held) == books["positions"]["BTCUSDT"]
    assert sum((fill.fee for fill in told), start=Money.zero()) == Money(books["fees"])
    assert not bot.kernel.blocked
    return len(told)


def _some_steps(bot: Bot, random: np.random.Generator) -> None:
    """Five to fifteen, or up to an order where the process is to end at one."""
    for _ in range(60 if bot.cutting.cut else int(random.integers(5, 15))):
        if random.random() < 0.25:
            path = str(random.choice(["/v1/order", "user"]))
            bot.market.exchange.faults.add(str(random.choice(FAULTS)), path=path, times=1)
        bot.step()


@pytest.mark.slow
def test_killed_under_faults_the_journal_is_the_exchanges(tmp_path: Path, open_bench: Open) -> None:
    """Twelve kills, between steps, before the wire and after it, and a fault every few steps: no order twice, no fill
    lost, fees and position to the digit."""
    random = np.random.default_rng(5)
    feed = Feed(instrument(NAME), head(NAME, 4000))
    with open_bench(feed, seed=5) as market:
        market.go(2 * SECOND)
        bot = Bot(market, tmp_path / "journal.jsonl", lambda state: (-1) ** (state.known_at // SECOND) * 0.5)
        cuts = 0
        for round_ in range(12):
            bot.cutting.cut = ("", "before", "after")[round_ % 3]
            try:
                _some_steps(bot, random)
            except PowerCutError:
                cuts += 1
            bot.kill()
            market.exchange.faults.heal()
            bot.start()
        assert cuts >= 4
        for _ in range(5):
            bot.step()
        bot.finish()
        assert _books_agree(bot) >= 5
        assert market.exchange.faults.counts
        bot.kill()


def test_a_start_takes_back_the_order_that_the_last_one_left(tmp_path: Path, open_bench: Open) -> None:
    """Killed with an order at the exchange: the next start cancels it, hears its end, and the books agree."""
    with open_bench() as market:
        bot = Bot(market, tmp_path / "journal.jsonl", lambda _: 0.5)
        for _ in range(8):
            bot.step()
        (left,) = bot.kernel.orders.open()
        bot.kill()
        bot.start()
        bot.step()
        statuses = {o["client_id"]: o["status"] for o in market.ledger(bot.client)["orders"]}
        assert statuses[left.request.client_order_id] == "cancelled"
        bot.finish()
        assert _books_agree(bot) >= 1
        bot.kill()
