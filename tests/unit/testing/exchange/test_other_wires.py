"""The local exchange answers as Binance spot and Bybit do: their codes, their words, their signatures."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, ClassVar
from urllib.parse import urlencode

import numpy as np
import pytest

from cryptoai.core.clock import MS, ReplayClock
from cryptoai.core.config import BacktestConfig
from cryptoai.core.money import Money
from cryptoai.testing.exchange.binance_spot import BinanceSpot
from cryptoai.testing.exchange.bybit import Bybit
from cryptoai.testing.exchange.clock import MarketClock
from cryptoai.testing.exchange.faults import Faults
from cryptoai.testing.exchange.floor import Floor
from cryptoai.testing.exchange.small import END, START, small_feed, small_instrument
from cryptoai.testing.exchange.streams import Stream
from cryptoai.testing.exchange.wire import Asked, WireError

NOW_MS = 1_800_000_000_000
KEY, SECRET = "key", "secret"


def _floor(venue: str) -> Floor:
    clock = MarketClock(START, END, ReplayClock(NOW_MS * MS))
    floor = Floor(venue, (small_feed(small_instrument(venue)),), clock, Faults(np.random.default_rng(0)))
    floor.open_account(KEY, SECRET, Money(10_000), BacktestConfig(impact_bps=0))
    floor.advance()
    return floor


def _sign(text: str, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class Spot:
    """Asks the spot dialect as a client would."""

    LIMIT: ClassVar = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "1",
        "price": "99",
    }

    def __init__(self) -> None:
        self.floor = _floor("binance_spot")
        self.dialect = BinanceSpot(self.floor)

    def ask(self, method: str, path: str, **params: Any) -> Any:
        text = urlencode({"timestamp": NOW_MS, **params})
        text += f"&signature={_sign(text)}"
        fields = dict(part.split("=", 1) for part in text.split("&"))
        return self.dialect.answer(Asked(method, f"/api{path}", fields, text, {"x-mbx-apikey": KEY}, NOW_MS))

    def order(self, **changes: Any) -> Any:
        return self.ask("POST", "/v3/order", **{k: v for k, v in {**self.LIMIT, **changes}.items() if v is not None})

    def code(self, **changes: Any) -> tuple[int, str]:
        with pytest.raises(WireError) as refused:
            self.order(**changes)
        return refused.value.code, refused.value.message


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"quantity": "1.0001"}, -1013, "LOT_SIZE"),
        ({"price": "99.05"}, -1013, "PRICE_FILTER"),
        ({"quantity": "0.01"}, -1013, "NOTIONAL"),
        ({"price": "106"}, -1013, "PERCENT_PRICE"),
        ({"type": "LIMIT_MAKER", "price": "100.1", "timeInForce": None}, -2010, "immediately match"),
        ({"quantity": "500"}, -2010, "insufficient balance"),
        ({"side": "SELL", "price": "101"}, -2010, "insufficient balance"),
        ({"type": "STOP_LOSS"}, -1116, "triggered"),
        ({"timeInForce": "GTX"}, -1115, "timeInForce"),
    ],
)
def test_spot_has_its_own_codes(changes: dict[str, str], code: int, word: str) -> None:
    """One thing wrong at a time."""
    told, message = Spot().code(**changes)
    assert told == code
    assert word in message


def test_spot_moves_coins_and_money() -> None:
    """Three bought at 100.1 for 300.3 and their fee; what an order holds is locked; all of it can be sold again."""
    spot = Spot()
    told = spot.order(quantity="3", price="100.1")
    assert (told["status"], told["cummulativeQuoteQty"], len(told["fills"])) == ("FILLED", "300.30000000", 1)
    spot.order(side="SELL", quantity="2", price="101")
    money, coins = spot.ask("GET", "/v3/account")["balances"]
    assert money["free"] == "9699.54985000"
    assert (coins["free"], coins["locked"]) == ("1.00000000", "2.00000000")
    assert spot.ask("DELETE", "/v3/openOrders", symbol="BTCUSDT")[0]["status"] == "CANCELED"
    assert spot.order(side="SELL", quantity="3", price="100")["status"] == "FILLED"


def test_a_spot_stream_belongs_to_who_signed_it() -> None:
    """The signature is of the parameters in the order of their names; a wrong one has its code and owns nothing."""
    spot = Spot()
    for secret, status in ((SECRET, 200), ("other", 400)):
        params: dict[str, Any] = {"apiKey": KEY, "timestamp": NOW_MS, "recvWindow": 5000}
        params["signature"] = _sign(f"apiKey={KEY}&recvWindow=5000&timestamp={NOW_MS}", secret)
        stream = Stream(None, spot.dialect)
        (reply,) = spot.dialect.heard(
            stream, {"id": "1", "method": "userDataStream.subscribe.signature", "params": params}
        )
        assert reply["status"] == status
        assert (stream.owner is not None) == (status == 200)


class Unified:
    """Asks Bybit as a client would."""

    LIMIT: ClassVar = {
        "category": "linear",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "orderType": "Limit",
        "qty": "1",
        "price": "99",
    }

    def __init__(self) -> None:
        self.floor = _floor("bybit_linear")
        self.dialect = Bybit(self.floor)

    def ask(
        self, method: str, path: str, params: dict[str, Any], *, secret: str = SECRET, stamp: int = NOW_MS
    ) -> dict[str, Any]:
        text = json.dumps(params) if method == "POST" else urlencode(params)
        headers = {"x-bapi-api-key": KEY, "x-bapi-timestamp": str(stamp), "x-bapi-recv-window": "5000"}
        headers["x-bapi-sign"] = _sign(f"{stamp}{KEY}5000{text}", secret)
        fields = {name: v if isinstance(v, str) else json.dumps(v) for name, v in params.items()}
        told: dict[str, Any] = self.dialect.answer(Asked(method, f"/v5{path}", fields, text, headers, NOW_MS))
        return told

    def order(self, **changes: Any) -> dict[str, Any]:
        return self.ask("POST", "/order/create", {**self.LIMIT, **changes})

    def code(self, method: str, path: str, params: dict[str, Any], **how: Any) -> int:
        with pytest.raises(WireError) as refused:
            self.ask(method, path, params, **how)
        return refused.value.code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol": "NOPE"}, 10001),
        ({"side": "Hold"}, 10001),
        ({"qty": "1.0001"}, 10001),
        ({"price": "99.05"}, 10001),
        ({"qty": "0.01"}, 110094),
        ({"qty": "5000"}, 110007),
        ({"price": "106"}, 110003),
        ({"reduceOnly": True}, 110017),
    ],
)
def test_bybit_has_its_own_codes(changes: dict[str, Any], code: int) -> None:
    """One thing wrong at a time."""
    wire = Unified()
    assert wire.code("POST", "/order/create", {**wire.LIMIT, **changes}) == code


def test_bybit_judges_key_time_and_signature() -> None:
    """10004 for another secret, 10002 for an old stamp, and for one from the future."""
    wire = Unified()
    assert wire.code("GET", "/account/info", {}, secret="other") == 10004
    assert wire.code("GET", "/account/info", {}, stamp=NOW_MS - 5001) == 10002
    assert wire.code("GET", "/account/info", {}, stamp=NOW_MS + 1000) == 10002
    assert wire.ask("GET", "/account/info", {})["result"]["marginMode"] == "REGULAR_MARGIN"


def test_bybit_accepts_a_post_only_order_and_then_cancels_it() -> None:
    """It is acknowledged with a number, and history says why it ended."""
    wire = Unified()
    told = wire.order(timeInForce="PostOnly", price="100.1", orderLinkId="mine")
    assert told["retCode"] == 0
    (ended,) = wire.ask("GET", "/order/history", {"category": "linear", "symbol": "BTCUSDT"})["result"]["list"]
    assert (ended["orderId"], ended["orderStatus"]) == (told["result"]["orderId"], "Cancelled")
    assert ended["rejectReason"] == "EC_PostOnlyWillTakeLiquidity"


def test_bybits_orders_are_amended_cancelled_and_missed() -> None:
    """The amended order keeps its number; one that is gone is 110001."""
    wire = Unified()
    told = wire.order(orderLinkId="mine")["result"]
    here = {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "mine"}
    assert wire.ask("POST", "/order/amend", {**here, "price": "98", "qty": "2"})["result"] == told
    (open_order,) = wire.ask("GET", "/order/realtime", here)["result"]["list"]
    assert (open_order["price"], open_order["qty"], open_order["orderId"]) == ("98", "2", told["orderId"])
    wire.ask("POST", "/order/cancel", here)
    assert wire.code("POST", "/order/cancel", here) == 110001
    assert wire.ask("GET", "/order/realtime", here)["result"]["list"] == []


def test_bybits_pages_follow_the_cursor() -> None:
    """Three orders in pages of two: the cursor leads to the third and ends there."""
    wire = Unified()
    for price in ("97", "98", "99"):
        wire.order(price=price)
    asked: dict[str, Any] = {"category": "linear", "symbol": "BTCUSDT", "limit": "2"}
    first = wire.ask("GET", "/order/realtime", asked)["result"]
    second = wire.ask("GET", "/order/realtime", {**asked, "cursor": first["nextPageCursor"]})["result"]
    assert [order["price"] for order in first["list"] + second["list"]] == ["99", "98", "97"]
    assert second["nextPageCursor"] == ""


def test_bybits_leverage_and_margin_mode() -> None:
    """Changed, not modified, and refused with a position."""
    wire = Unified()
    ask = {"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "3", "sellLeverage": "3"}
    assert wire.ask("POST", "/position/set-leverage", ask)["retCode"] == 0
    assert wire.code("POST", "/position/set-leverage", ask) == 110043
    assert wire.code("POST", "/position/set-leverage", {**ask, "buyLeverage": "50", "sellLeverage": "50"}) == 10001
    wire.order(price="100.1")
    assert wire.code("POST", "/account/set-margin-mode", {"setMarginMode": "ISOLATED_MARGIN"}) == 3400045
    (held,) = wire.ask("GET", "/position/list", {"category": "linear", "symbol": "BTCUSDT"})["result"]["list"]
    assert (held["side"], held["size"], held["avgPrice"], held["leverage"]) == ("Buy", "1", "100.1", "3")
