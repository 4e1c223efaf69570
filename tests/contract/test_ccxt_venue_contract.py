"""The venue contract through real ccxt and ccxt.pro, against the local exchange on loopback.

The suite is the very one of every other venue. One test of it cannot hold: the exchange has no latency of its own, the
network has.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cryptoai.backtesting.market import Feed
from cryptoai.core.config import BacktestConfig
from cryptoai.core.messages import OrderRequest, OrderStatus
from cryptoai.core.money import Money, Quantity
from cryptoai.execution.adapters.ccxt_link import Link, Login
from cryptoai.execution.adapters.ccxt_venue import CcxtVenue
from cryptoai.execution.ports import VenueEvent
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.testing.exchange.client import Client
from cryptoai.testing.exchange.threads import Handle, served
from cryptoai.testing.fakes import make_instrument
from cryptoai.testing.feed_exchange import moved

_SPEC = importlib.util.spec_from_file_location("venue_contract", Path(__file__).with_name("test_venue_contract.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
contract = importlib.util.module_from_spec(_SPEC)
sys.modules["venue_contract"] = contract
_SPEC.loader.exec_module(contract)

DOES_NOT_APPLY = {"test_latency_goes_both_ways"}
TESTS = [name for name in vars(contract) if name.startswith("test_")]
globals().update({name: getattr(contract, name) for name in TESTS if name not in DOES_NOT_APPLY})


class Stepped:
    """A venue whose exchange is brought to the time of every call, and heard out.

    What is known at a time is what the exchange had one latency before.
    """

    def __init__(self, venue: CcxtVenue, exchange: Handle, client: Client) -> None:
        self._venue, self._exchange, self._client = venue, exchange, client
        self._now = contract.START

    def submit(self, order: ApprovedOrder, now_ns: int) -> None:
        self._go(now_ns)
        self._venue.submit(order, now_ns)

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        self._go(now_ns)
        self._venue.cancel(client_order_id, now_ns)

    def poll(self, now_ns: int) -> list[VenueEvent]:
        self._go(now_ns)
        said = list(self._venue.poll(now_ns))
        for _ in range(1000):
            if self._heard():
                break
            self._venue.await_news(0.02)
            said += self._venue.poll(now_ns)
        return said

    def positions(self, now_ns: int) -> dict[str, Quantity]:
        self._go(now_ns)
        return self._venue.positions(now_ns)

    def open_orders(self, now_ns: int) -> list[OrderRequest]:
        self._go(now_ns)
        return self._venue.open_orders(now_ns)

    def _go(self, now_ns: int) -> None:
        self._now = max(self._now, now_ns - contract.LATENCY)
        self._exchange.advance_to(self._now)

    def _heard(self) -> bool:
        """Whether the venue told all that the exchange's books have."""
        tracked = self._venue._tracking.orders
        books = self._exchange.do(
            lambda: {r.wanted.client_id: (r.filled, r.open) for r in self._client.orders.values()}
        )
        ours = {n: tracked[n] for n in books if n in tracked}
        told = all((order.filled, not order.final) == books[n] for n, order in ours.items())
        begun = all(order.told is not OrderStatus.SENT or order.filled for order in ours.values())
        return told and begun and self._venue.settled


@pytest.fixture(params=["binance_usdm", "bybit_linear"])
def rig(request: pytest.FixtureRequest) -> Iterator[Any]:
    name = request.param
    tape = contract.simulated_rig().venue._lines[contract.NAME].exchange._source._events
    feed = Feed(make_instrument(f"{name}:BTCUSDT"), tape)
    with served((feed,)) as exchange:
        rules = BacktestConfig(price_band_pct=1, impact_bps=0)
        client = exchange.open_account(name, "test-key", "test-secret", Money(100_000), rules)
        exchange.advance_to(contract.START)
        link = Link(
            name,
            Login("test-key", "test-secret"),
            timeout_s=10,
            urls=lambda urls: moved(urls, exchange.address),
        )
        with CcxtVenue(link, (contract.INSTRUMENT,)) as venue:
            made = contract.Rig(Stepped(venue, exchange, client))
            made.listen(contract.START)
            yield made
