"""The local exchange answers a request as Binance USD-M does: its codes, its limits, its words."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from cryptoai.core.clock import MS, SECOND, ReplayClock
from cryptoai.core.config import BacktestConfig
from cryptoai.core.money import Money
from cryptoai.data_universe.events import ASK, BID
from cryptoai.data_universe.market_microstructure.book import Book
from cryptoai.testing.exchange.binance_usdm import BinanceUsdm
from cryptoai.testing.exchange.clock import MarketClock
from cryptoai.testing.exchange.faults import Faults
from cryptoai.testing.exchange.floor import Floor
from cryptoai.testing.exchange.limits import TooManyError, Weights
from cryptoai.testing.exchange.public import PublicMarket
from cryptoai.testing.exchange.small import END, START, small_feed
from cryptoai.testing.exchange.tapes import retold
from cryptoai.testing.exchange.wire import Asked, WireError
from cryptoai.testing.fakes import make_instrument
from cryptoai.testing.slices import head

NOW_MS = 1_800_000_000_000
KEY, SECRET = "key", "secret"
ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "99"}


class Wire:
    """Asks the dialect as a client would."""

    def __init__(self) -> None:
        machine = ReplayClock(NOW_MS * MS)
        clock = MarketClock(START, END, machine)
        feed = small_feed(make_instrument("binance_usdm:BTCUSDT"))
        self.floor = Floor("binance_usdm", (feed,), clock, Faults(np.random.default_rng(0)))
        self.dialect = BinanceUsdm(self.floor)
        self.client = self.floor.open_account(KEY, SECRET, Money(10_000), BacktestConfig(impact_bps=0))
        self.floor.advance()

    def signed(self, method: str, path: str, *, key: str = KEY, secret: str = SECRET, **params: Any) -> Any:
        text = urlencode({"timestamp": NOW_MS, **params})
        signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        return self.raw(method, path, f"{text}&signature={signature}", key)

    def raw(self, method: str, path: str, text: str, key: str = KEY) -> Any:
        params = dict(part.split("=", 1) for part in text.split("&") if part)
        headers = {"x-mbx-apikey": key} if key else {}
        came = self.dialect.machine_ms()
        return self.dialect.answer(Asked(method, f"/fapi{path}", params, text, headers, came))

    def code(self, *asked: Any, **params: Any) -> int:
        with pytest.raises(WireError) as refused:
            self.signed(*asked, **params)
        return refused.value.code

    def order(self, **changes: Any) -> Any:
        return self.signed("POST", "/v1/order", **{**ORDER, **changes})

    def order_code(self, **changes: Any) -> int:
        return self.code("POST", "/v1/order", **{**ORDER, **changes})


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_a_signature_must_be_of_this_text_by_this_secret(wire: Wire) -> None:
    """A wrong secret, a changed parameter, an unknown and an absent key each have their code."""
    assert wire.code("GET", "/v3/account", secret="other") == -1022
    assert wire.code("GET", "/v3/account", key="other") == -2015
    assert wire.code("GET", "/v3/account", key="") == -2014
    with pytest.raises(WireError, match=r"-1102 .*signature"):
        wire.raw("GET", "/v3/account", f"timestamp={NOW_MS}")
    assert wire.signed("GET", "/v3/account")["totalWalletBalance"] == "10000.00000000"


@pytest.mark.parametrize(
    ("late_ms", "window", "refused"),
    [(0, 5000, False), (5000, 5000, False), (5001, 5000, True), (9000, 10_000, False), (-999, 5000, False)],
)
def test_old_requests_are_refused(wire: Wire, late_ms: int, window: int, refused: bool) -> None:
    """Exactly recvWindow is in time, a millisecond more is not."""
    params = {"timestamp": NOW_MS - late_ms, "recvWindow": window}
    if refused:
        assert wire.code("GET", "/v3/account", **params) == -1021
    else:
        assert wire.signed("GET", "/v3/account", **params)


def test_requests_from_the_future_are_refused(wire: Wire) -> None:
    """A clock a second ahead is too far; the venue's own skew counts as well."""
    assert wire.code("GET", "/v3/account", timestamp=NOW_MS + 1000) == -1021
    wire.floor.faults.add("clock_skew", seconds=60.0)
    assert wire.code("GET", "/v3/account") == -1021


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol": "NOPE"}, -1121),
        ({"side": "HOLD"}, -1117),
        ({"type": "MAGIC"}, -1116),
        ({"type": "STOP_MARKET"}, -4120),
        ({"timeInForce": "DAY"}, -1115),
        ({"timeInForce": ""}, -1102),
        ({"quantity": "0"}, -4003),
        ({"quantity": "x"}, -1100),
        ({"quantity": "1.0001"}, -1111),
        ({"price": "99.05"}, -4014),
        ({"price": "90"}, None),
        ({"price": "106"}, -4016),
        ({"quantity": "0.05"}, -4164),
        ({"quantity": "5000"}, -2019),
        ({"timeInForce": "GTX", "price": "100.1"}, -5022),
        ({"reduceOnly": "true"}, -2022),
        ({"newClientOrderId": "has space"}, -4015),
        ({"positionSide": "LONG"}, -4061),
    ],
)
def test_every_filter_has_binances_code(wire: Wire, changes: dict[str, str], code: int | None) -> None:
    """One thing wrong at a time; nothing wrong is taken."""
    if code is None:
        assert wire.order(**changes)["status"] == "NEW"
    else:
        assert wire.order_code(**changes) == code
        assert wire.client.open_orders() == []


def test_a_reduce_only_order_needs_no_smallest_notional(wire: Wire) -> None:
    """With a position, 0.05 at 99 may be closed."""
    wire.order(price="100.1")
    closing = {"side": "SELL", "quantity": "0.04", "price": "101", "reduceOnly": "true"}
    assert wire.order(**closing)["status"] == "NEW"


def test_orders_are_found_by_either_id_and_missing_ones_have_two_codes(wire: Wire) -> None:
    """-2013 where one is asked for, -2011 where one is cancelled."""
    made = wire.order(newClientOrderId="mine")
    by_number = wire.signed("GET", "/v1/order", symbol="BTCUSDT", orderId=made["orderId"])
    by_name = wire.signed("GET", "/v1/order", symbol="BTCUSDT", origClientOrderId="mine")
    assert by_number == by_name
    assert by_name["clientOrderId"] == "mine"
    assert wire.code("GET", "/v1/order", symbol="BTCUSDT", orderId=1) == -2013
    assert wire.code("DELETE", "/v1/order", symbol="BTCUSDT", orderId=1) == -2011
    assert wire.order_code(newClientOrderId="mine") == -4116
    assert wire.signed("DELETE", "/v1/order", symbol="BTCUSDT", origClientOrderId="mine")["status"] == "CANCELED"
    assert wire.code("DELETE", "/v1/order", symbol="BTCUSDT", origClientOrderId="mine") == -2011


def test_margin_and_leverage_have_their_codes(wire: Wire) -> None:
    """No change, too much leverage, a position or an order in the way."""
    change = ("POST", "/v1/marginType")
    assert wire.code(*change, symbol="BTCUSDT", marginType="CROSSED") == -4046
    assert wire.code("POST", "/v1/leverage", symbol="BTCUSDT", leverage=21) == -4028
    wire.order()
    assert wire.code(*change, symbol="BTCUSDT", marginType="ISOLATED") == -4047
    wire.signed("DELETE", "/v1/allOpenOrders", symbol="BTCUSDT")
    wire.order(price="100.1")
    assert wire.code(*change, symbol="BTCUSDT", marginType="ISOLATED") == -4048


def test_lower_leverage_takes_more_margin(wire: Wire) -> None:
    """Of 10,000, 150 at 100.1 can be opened at 2 times leverage and not at 1."""
    big = {"quantity": "150", "price": "100.1", "timeInForce": "IOC"}
    wire.signed("POST", "/v1/leverage", symbol="BTCUSDT", leverage=1)
    assert wire.order_code(**big) == -2019
    wire.signed("POST", "/v1/leverage", symbol="BTCUSDT", leverage=2)
    assert wire.order(**big)["executedQty"] == "10"


def test_the_wallet_is_what_was_paid_in_less_fees(wire: Wire) -> None:
    """Ten bought at 100.1 with 5 bps; the mark gives the rest of the margin balance."""
    wire.order(quantity="10", price="100.1")
    account = wire.signed("GET", "/v3/account")
    (asset,) = account["assets"]
    assert asset["walletBalance"] == "9999.49950000"
    assert asset["unrealizedProfit"] == "-0.50000000"
    assert account["positions"][0]["entryPrice"] == "100.1"


def test_a_countdown_cancels_and_zero_stops_it(wire: Wire) -> None:
    """Orders of the symbol go when the countdown is over, unless it was set anew or taken away."""
    ask = ("POST", "/v1/countdownCancelAll")
    for wait, after, status in ((5000, 4, "NEW"), (5000, 4, "NEW"), (0, 60, "NEW"), (1000, 2, "CANCELED")):
        if not wire.client.open_orders():
            wire.order(newClientOrderId=f"c{wait}", price="90")
        wire.signed(*ask, symbol="BTCUSDT", countdownTime=wait)
        wire.floor.clock.advance_to(wire.floor.clock.now_ns() + after * SECOND)
        wire.floor.advance()
        assert wire.signed("GET", "/v1/allOrders", symbol="BTCUSDT")[-1]["status"] == status


def test_too_much_weight_is_429_and_going_on_is_418() -> None:
    """The minute's rest first, then a ban that outlasts the minute."""
    weights = Weights(10)
    minute = 60 * SECOND
    assert weights.take("me", 10, 5 * SECOND) == 10
    answers = []
    for _ in range(6):
        with pytest.raises(TooManyError) as refused:
            weights.take("me", 1, 5 * SECOND)
        answers.append((refused.value.status, refused.value.seconds))
    assert answers == [(429, 55)] * 5 + [(418, 120)]
    assert weights.take("other", 1, 5 * SECOND) == 1
    with pytest.raises(TooManyError):
        weights.take("me", 1, minute + 1)
    assert weights.take("me", 1, 5 * SECOND + 2 * minute) == 1


def test_equal_seeds_give_equal_faults() -> None:
    """And another seed gives others."""

    def struck(seed: int) -> list[bool]:
        faults = Faults(np.random.default_rng(seed))
        faults.add("error", chance=0.5)
        return [faults.strikes("error") is not None for _ in range(64)]

    assert struck(1) == struck(1)
    assert struck(1) != struck(2)


def test_the_public_book_is_that_of_the_tape() -> None:
    """After seconds of the shipped tape the levels are those of the project's own book."""
    made = make_instrument("binance_usdm:BTCUSDT")
    events = head("binance_usdm:BTCUSDT", 2000)
    market = PublicMarket(type(small_feed(made))(made, events))
    market.advance(int(events.event_time.max()))
    book = Book()
    book.apply(events)
    for side in (BID, ASK):
        prices, quantities = book.top(side, 50)
        assert market.levels(side, 50) == list(zip(prices.tolist(), quantities.tolist(), strict=True))


def test_a_tape_can_be_told_again_from_another_time() -> None:
    """Twice as long, a second between, the first row when it is asked for."""
    events = small_feed(make_instrument()).events
    twice = retold(events, 2, 5 * SECOND)
    assert len(twice) == 2 * len(events)
    assert twice.event_time[0] == 5 * SECOND
    assert twice.event_time[len(events)] == 5 * SECOND + (END - START) + SECOND
    assert np.array_equal(twice.price[len(events) :], events.price)
