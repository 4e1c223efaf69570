"""Our orders in ccxt's words, checked against what ccxt itself would send to each venue; no network.

The requests are caught behind ccxt's own `sign`, so that what is asserted is what would go out.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import ccxt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoai.core.errors import VenueError
from cryptoai.core.ids import client_order_id
from cryptoai.core.messages import OrderKind, OrderRequest, Side
from cryptoai.core.money import Price, Quantity
from cryptoai.execution.adapters.ccxt_orders import CcxtOrder, order_of, our_id, request_of, unfit, wire_id
from cryptoai.testing.fakes import make_instrument

UNIFIED = {"enableUnifiedMargin": False, "enableUnifiedAccount": True, "unifiedMarginStatus": 6}
IDS = st.text(alphabet="0123456789abcdef", min_size=32, max_size=32).map(lambda digits: f"cai-{digits}")
NAME = client_order_id("bot", "revision", 7, "x:BTC")
Venue = Literal["binanceusdm", "binance", "bybit", "okx", "kraken", "coinbase"]


class Caught(Exception):  # noqa: N818 - it is what was wanted
    """A request that ccxt was about to send."""


def client(name: str, *, contract: bool, size: str = "1") -> Any:
    """A ccxt client with one market and keys, whose requests are caught."""
    made = getattr(ccxt, name)({"apiKey": "key", "secret": "c2VjcmV0", "password": "word", "options": UNIFIED})
    made.number = str
    market = {
        "id": "BTC-ID",
        "symbol": "BTC/USDT:USDT" if contract else "BTC/USDT",
        "base": "BTC",
        "quote": "USDT",
        "settle": "USDT" if contract else None,
        "baseId": "BTC",
        "quoteId": "USDT",
        "type": "swap" if contract else "spot",
        "spot": not contract,
        "swap": contract,
        "contract": contract,
        "linear": True if contract else None,
        "inverse": False if contract else None,
        "contractSize": float(size) if contract else None,
        "active": True,
        "precision": {"amount": 0.001, "price": 0.1},
        "limits": {"amount": {"min": 0.001}, "cost": {"min": 5.0}},
        "info": {"orderTypes": ["LIMIT", "MARKET", "LIMIT_MAKER"]},
    }
    made.set_markets([made.safe_market_structure(market)])

    def fetch(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        raise Caught(url, body)

    made.fetch = fetch
    return made


def request(kind: OrderKind = OrderKind.LIMIT, **changes: Any) -> OrderRequest:
    priced = {"price": Price("60000.5") if kind.priced else None}
    rest = {"client_order_id": NAME, "decision": 7, "time": 0, "instrument": "x:BTC", "side": Side.BUY}
    return OrderRequest(**{"kind": kind, "quantity": Quantity("0.123"), **rest, **priced, **changes})


def sent(name: str, asked: OrderRequest, *, contract: bool, size: str = "1") -> dict[str, str]:
    """The parameters that ccxt would send, as text."""
    made = client(name, contract=contract, size=size)
    symbol = next(iter(made.markets))
    order = order_of(asked, symbol, name, contract=contract, size=Decimal(size))
    with pytest.raises(Caught) as caught:
        made.create_order(order.symbol, order.type, order.side, order.amount, order.price, order.params)
    url, body = caught.value.args
    if body and body.lstrip().startswith(("{", "[")):
        told = json.loads(body)
        row = told[0] if isinstance(told, list) else told
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in row.items()}
    return dict(parse_qsl(body or urlsplit(url).query))


@pytest.mark.parametrize(
    ("kind", "reduce", "wanted"),
    [
        (OrderKind.LIMIT, False, {"type": "LIMIT", "timeInForce": "GTC", "price": "60000.5", "quantity": "0.123"}),
        (OrderKind.POST_ONLY, False, {"type": "LIMIT", "timeInForce": "GTX"}),
        (OrderKind.IOC, True, {"type": "LIMIT", "timeInForce": "IOC", "reduceOnly": "true"}),
        (OrderKind.FOK, False, {"timeInForce": "FOK"}),
        (OrderKind.MARKET, True, {"type": "MARKET", "quantity": "0.123", "reduceOnly": "true"}),
    ],
)
def test_binance_usdm(kind: OrderKind, reduce: bool, wanted: dict[str, str]) -> None:
    """Post-only is GTX, the id is ours, digits are ours."""
    told = sent("binanceusdm", request(kind, reduce_only=reduce), contract=True)
    assert told["newClientOrderId"] == NAME
    assert {key: told[key].lower() if key == "reduceOnly" else told[key] for key in wanted} == wanted
    assert ("reduceOnly" in told) == reduce


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (OrderKind.LIMIT, {"type": "LIMIT", "timeInForce": "GTC"}),
        (OrderKind.POST_ONLY, {"type": "LIMIT_MAKER"}),
        (OrderKind.IOC, {"type": "LIMIT", "timeInForce": "IOC"}),
        (OrderKind.MARKET, {"type": "MARKET", "quantity": "0.123"}),
    ],
)
def test_binance_spot(kind: OrderKind, wanted: dict[str, str]) -> None:
    """Post-only is an order type of its own, and spot knows no reduce-only."""
    told = sent("binance", request(kind, reduce_only=True), contract=False)
    assert {key: told[key] for key in wanted} == wanted
    assert told["newClientOrderId"] == NAME
    assert "reduceOnly" not in told


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (OrderKind.LIMIT, {"orderType": "Limit", "price": "60000.5", "qty": "0.123"}),
        (OrderKind.POST_ONLY, {"orderType": "Limit", "timeInForce": "PostOnly"}),
        (OrderKind.IOC, {"timeInForce": "IOC"}),
        (OrderKind.FOK, {"timeInForce": "FOK"}),
        (OrderKind.MARKET, {"orderType": "Market", "qty": "0.123"}),
    ],
)
def test_bybit(kind: OrderKind, wanted: dict[str, str]) -> None:
    """One body for all kinds; reduce-only is a flag."""
    told = sent("bybit", request(kind, reduce_only=True), contract=True)
    assert told["orderLinkId"] == NAME
    assert {key: told[key] for key in wanted} == wanted
    assert told["reduceOnly"] == "true"


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (OrderKind.LIMIT, "limit"),
        (OrderKind.POST_ONLY, "post_only"),
        (OrderKind.IOC, "ioc"),
        (OrderKind.FOK, "fok"),
        (OrderKind.MARKET, "market"),
    ],
)
def test_okx_counts_contracts_and_takes_letters_and_digits_only(kind: OrderKind, wanted: str) -> None:
    """0.12 BTC are twelve contracts of 0.01; the id has 28 letters and digits and comes back as ours."""
    asked = request(kind, quantity=Quantity("0.12"), reduce_only=True)
    told = sent("okx", asked, contract=True, size="0.01")
    assert Decimal(told["sz"]) == 12
    assert told["ordType"] == wanted
    assert told["reduceOnly"] == "true"
    assert re.fullmatch(r"cai[0-9a-z]{25}", told["clOrdId"])
    assert our_id(told["clOrdId"], "okx") == NAME


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (OrderKind.LIMIT, {"ordertype": "limit", "price": "60000.5", "volume": "0.123"}),
        (OrderKind.POST_ONLY, {"ordertype": "limit", "oflags": "post"}),
        (OrderKind.IOC, {"ordertype": "limit", "timeinforce": "IOC"}),
        (OrderKind.MARKET, {"ordertype": "market", "volume": "0.123"}),
    ],
)
def test_kraken(kind: OrderKind, wanted: dict[str, str]) -> None:
    """The id is its 32 hexadecimal digits."""
    told = sent("kraken", request(kind), contract=False)
    assert {key: told[key] for key in wanted} == wanted
    assert told["cl_ord_id"] == NAME.removeprefix("cai-")
    assert our_id(told["cl_ord_id"], "kraken") == NAME


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (OrderKind.LIMIT, {"limit_limit_gtc": {"base_size": "0.123", "limit_price": "60000.5", "post_only": False}}),
        (OrderKind.POST_ONLY, {"limit_limit_gtc": {"base_size": "0.123", "limit_price": "60000.5", "post_only": True}}),
        (OrderKind.IOC, {"sor_limit_ioc": {"base_size": "0.123", "limit_price": "60000.5"}}),
    ],
)
def test_coinbase(kind: OrderKind, wanted: dict[str, Any]) -> None:
    """The kind is the name of the configuration; the id is ours."""
    told = sent("coinbase", request(kind), contract=False)
    assert json.loads(told["order_configuration"]) == wanted
    assert told["client_order_id"] == NAME


def test_stops_are_never_sent() -> None:
    """The bot watches them itself."""
    stop = request(OrderKind.STOP, trigger=Price(1))
    with pytest.raises(VenueError, match="watches its stops itself"):
        order_of(stop, "BTC/USDT:USDT", "binanceusdm", contract=True)


@pytest.mark.parametrize(
    ("amount", "price", "reason"),
    [
        ("0.123", "60000.5", ""),
        ("0.1234", "60000.5", "finer than the venue's step"),
        ("0.123", "60000.55", "finer than the venue's tick"),
        ("0.001", "100", "below the venue's minimum"),
        ("0.0005", "60000.5", "venue's s"),
    ],
)
def test_what_a_venue_would_round_or_refuse_is_not_sent(amount: str, price: str, reason: str) -> None:
    """One sentence for each; nothing where it fits."""
    made = client("bybit", contract=True)
    order = CcxtOrder("BTC/USDT:USDT", "limit", "buy", amount, price, {})
    told = unfit(order, made) if amount != "0.0005" else _refused(made, order)
    assert (reason in told) if reason else (told == "")


def _refused(made: Any, order: CcxtOrder) -> str:
    """ccxt itself raises for less than one step."""
    try:
        return unfit(order, made)
    except ccxt.InvalidOrder as error:
        return f"venue's s: {error}"


@given(name=IDS, venue=st.sampled_from(["okx", "kraken", "binanceusdm", "bybit", "coinbase"]))
def test_ids_come_back_as_they_went(name: str, venue: str) -> None:
    """For every id and venue, and within the characters that each venue takes."""
    wire = wire_id(name, venue)
    assert our_id(wire, venue) == name
    assert len(wire) <= 36
    assert venue != "okx" or (wire.isalnum() and len(wire) <= 32)


@pytest.mark.parametrize("venue", ["okx", "kraken"])
def test_ids_of_others_are_left_alone(venue: str) -> None:
    """What is not ours keeps its text, and cannot be sent as ours."""
    for foreign in ("web-123", "cai" + "z" * 25, "caiX", ""):
        assert our_id(foreign, venue) == (foreign or None)
    with pytest.raises(VenueError, match="not one of the bot's"):
        wire_id("by-hand", venue)


@given(
    kind=st.sampled_from([OrderKind.LIMIT, OrderKind.POST_ONLY, OrderKind.IOC, OrderKind.FOK, OrderKind.MARKET]),
    side=st.sampled_from(list(Side)),
    lots=st.integers(1, 10**9),
    ticks=st.integers(1, 10**9),
    reduce=st.booleans(),
)
def test_an_order_read_back_is_the_order_that_was_sent(
    kind: OrderKind, side: Side, lots: int, ticks: int, reduce: bool
) -> None:
    """Through ccxt's own order structure, for every kind, side and size."""
    made = make_instrument("x:BTC")
    price = made.price(ticks) if kind.priced else None
    asked = request(kind, side=side, quantity=made.quantity(lots), price=price, reduce_only=reduce, decision=0)
    order = order_of(asked, "BTC/USDT:USDT", "binanceusdm", contract=True)
    structure = {
        "clientOrderId": order.params["clientOrderId"],
        "side": order.side,
        "type": order.type,
        "amount": order.amount,
        "price": order.price,
        "postOnly": order.params.get("postOnly", False),
        "timeInForce": order.params.get("timeInForce", "GTC"),
        "reduceOnly": order.params.get("reduceOnly", False),
        "timestamp": 0,
    }
    assert request_of(structure, made, NAME) == asked
