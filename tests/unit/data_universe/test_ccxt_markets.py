"""Market descriptions through the unmodified ccxt, from a server on this machine that speaks the venues' APIs."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from cryptoai.core.errors import ConfigError, CryptoAIError, TransientError, VenueError
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.money import Money
from cryptoai.data_universe.adapters.ccxt_markets import CcxtMarkets, Described
from cryptoai.testing.loopback import Answer, Asked, loopback

MS = 1_000_000
NEVER = 4_133_404_800_000


def filters(tick: str, lot: str, **more: str) -> list[dict[str, str]]:
    return [
        {"filterType": "PRICE_FILTER", "tickSize": tick, "minPrice": tick, "maxPrice": "0"},
        {"filterType": "LOT_SIZE", "stepSize": lot, "minQty": lot, "maxQty": "1000"},
        *({"filterType": name, "notional": value, "minNotional": value} for name, value in more.items()),
    ]


def binance(symbol: str, base: str, quote: str, rows: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    return {"symbol": symbol, "status": "TRADING", "baseAsset": base, "quoteAsset": quote, "filters": rows} | more


def perpetual(margin: str, **more: Any) -> dict[str, Any]:
    return {
        "contractType": "PERPETUAL",
        "marginAsset": margin,
        "deliveryDate": NEVER,
        "onboardDate": 1569398400000,
    } | more


SPOT = [binance("BTCUSDT", "BTC", "USDT", filters("0.01000000", "0.00001000", NOTIONAL="5.00000000"))]
USDM = [
    binance("BTCUSDT", "BTC", "USDT", filters("0.10", "0.001", MIN_NOTIONAL="100"), **perpetual("USDT")),
    binance("ETHUSDT", "ETH", "USDT", filters("0.01", "0.001", MIN_NOTIONAL="20"), **perpetual("USDT")),
    binance("GONEUSDT", "GONE", "USDT", filters("0.1", "1"), **perpetual("USDT", deliveryDate=1723161600000)),
    binance("OVERUSDT", "OVER", "USDT", filters("0.1", "1"), **perpetual("USDT")) | {"status": "SETTLING"},
    binance("\u5e01USDT", "\u5e01", "USDT", filters("0.1", "1"), **perpetual("USDT")),
]
COINM = [
    binance("BTCUSD_PERP", "BTC", "USD", filters("0.1", "1"), contractSize=100, contractStatus="TRADING")
    | perpetual("BTC")
]
BRACKETS = [
    {
        "bracket": 1,
        "initialLeverage": 125,
        "notionalFloor": 0,
        "notionalCap": 50000,
        "maintMarginRatio": 0.004,
        "cum": 0.0,
    },
    {
        "bracket": 2,
        "initialLeverage": 100,
        "notionalFloor": 50000,
        "notionalCap": 600000,
        "maintMarginRatio": 0.005,
        "cum": 50.0,
    },
]
COIN_BRACKETS = [
    {"bracket": 1, "initialLeverage": 125, "qtyFloor": 0, "qtyCap": 5, "maintMarginRatio": 0.004, "cum": 0.0}
]
BINANCE = {
    "/api/v3/exchangeInfo": {"symbols": SPOT},
    "/fapi/v1/exchangeInfo": {"symbols": USDM},
    "/dapi/v1/exchangeInfo": {"symbols": COINM},
    "/fapi/v1/leverageBracket": [{"symbol": "BTCUSDT", "brackets": BRACKETS}],
    "/dapi/v2/leverageBracket": [{"symbol": "BTCUSD_PERP", "brackets": COIN_BRACKETS}],
}


def table(pages: dict[str, Any]) -> Callable[[Asked], Answer]:
    def reply(asked: Asked) -> Answer:
        found = pages.get(asked.path)
        if found is None:
            return Answer(b'{"code": -1, "msg": "no such path"}', 404)
        return Answer(json.dumps(found).encode(), headers={"Content-Type": "application/json"})

    return reply


def described(exchange: str, reply: Callable[[Asked], Answer], key: str = "") -> Described:
    with loopback(reply) as server:
        return CcxtMarkets(exchange, key=key, secret=key, base_url=server.url, timeout_s=2).describe()


def by_id(found: Described) -> dict[str, Instrument]:
    return {made.id: made for made in found.instruments}


def test_binance_descriptions_become_instruments() -> None:
    """Ticks, lots, least notionals and dates of all three market types, to the last digit."""
    found = described("binance", table(BINANCE))
    made = by_id(found)
    perp, spot, coin = (made[f"binance_{n}"] for n in ("usdm:BTCUSDT", "spot:BTCUSDT", "coinm:BTCUSD_PERP"))
    assert (perp.tick, perp.step, perp.min_notional) == (Decimal("0.1"), Decimal("0.001"), Money(100))
    assert (spot.tick, spot.step, spot.min_notional) == (Decimal("0.01"), Decimal("0.00001"), Money(5))
    assert (coin.contract, coin.contract_size, coin.min_notional) == (Contract.INVERSE, Decimal(100), Money(100))
    assert made["binance_usdm:ETHUSDT"].min_notional == Money(20)
    assert perp.listed == 1_569_398_400_000 * MS
    assert (perp.delisted, spot.listed) == (None, None)
    assert found.complete == {"binance_spot", "binance_usdm", "binance_coinm"}


def test_an_announced_end_is_the_delisting() -> None:
    """A perpetual with a delivery date ends then; one that settles already is not listed any more."""
    made = by_id(described("binance", table(BINANCE)))
    assert made["binance_usdm:GONEUSDT"].delisted == 1_723_161_600_000 * MS
    assert "binance_usdm:OVERUSDT" not in made


def test_a_market_that_cannot_be_named_is_refused() -> None:
    """The rest goes on, and the reason is kept."""
    found = described("binance", table(BINANCE))
    assert list(found.refused) == ["\u5e01USDT"]
    assert "letters" in found.refused["\u5e01USDT"]


def test_brackets_need_a_key_on_binance() -> None:
    """Without one nothing private is asked; with one, brackets carry the venue's own amounts."""
    assert by_id(described("binance", table(BINANCE)))["binance_usdm:BTCUSDT"].brackets == ()
    made = by_id(described("binance", table(BINANCE), key="k"))
    perp, coin = made["binance_usdm:BTCUSDT"], made["binance_coinm:BTCUSD_PERP"]
    assert perp.max_leverage == 125
    assert [(str(row.cap), str(row.maintenance_amount)) for row in perp.brackets] == [("50000", "0"), ("600000", "50")]
    assert perp.brackets[1].maintenance_rate == Decimal("0.005")
    assert coin.brackets[0].cap == Money(5)


def bybit_market(symbol: str, kind: str, settle: str, tick: str, lot: dict[str, str], **more: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "contractType": kind,
        "status": "Trading",
        "baseCoin": "BTC",
        "quoteCoin": "USD" if settle == "BTC" else "USDT",
        "settleCoin": settle,
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00"},
        "priceFilter": {"tickSize": tick, "minPrice": tick, "maxPrice": "199999"},
        "lotSizeFilter": lot,
    } | more


LINEAR = bybit_market(
    "BTCUSDT", "LinearPerpetual", "USDT", "0.10", {"qtyStep": "0.001", "minOrderQty": "0.001", "minNotionalValue": "5"}
)
INVERSE = bybit_market("BTCUSD", "InversePerpetual", "BTC", "0.50", {"qtyStep": "1", "minOrderQty": "10"})
SPOT_LOT = {"basePrecision": "0.000001", "quotePrecision": "0.0000001", "minOrderQty": "0.000011", "minOrderAmt": "5"}


def risk(symbol: str, row: int, cap: str, rates: str, leverage: str, deduction: str | None) -> dict[str, Any]:
    maintenance, initial = rates.split("/")
    extra = {} if deduction is None else {"mmDeduction": deduction}
    return {
        "id": row,
        "symbol": symbol,
        "riskLimitValue": cap,
        "maintenanceMargin": maintenance,
        "initialMargin": initial,
        "maxLeverage": leverage,
    } | extra


RISK = {
    "linear": [
        [risk("BTCUSDT", 1, "2000000", "0.005/0.01", "100.00", "")],
        [risk("BTCUSDT", 2, "10000000", "0.0056/0.0111", "90.00", "1200")],
    ],
    "inverse": [
        [risk("BTCUSD", 1, "150", "0.5/1", "100.00", None), risk("BTCUSD", 2, "300", "1/2", "50.00", None)],
    ],
}


def bybit(asked: Asked) -> Answer:
    """v5: one page of instruments for each category, brackets in pages with a cursor."""
    category = asked.query.get("category", "")
    if asked.path.endswith("/risk-limit"):
        page = int(asked.query.get("cursor", "0"))
        rows = RISK[category][page] if page < len(RISK[category]) else []
        more = str(page + 1) if page + 1 < len(RISK[category]) else ""
        body = {"category": category, "list": rows, "nextPageCursor": more}
    else:
        rows = {
            "spot": [
                {"symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "status": "Trading"}
                | {"lotSizeFilter": SPOT_LOT, "priceFilter": {"tickSize": "0.01"}}
            ],
            "linear": [LINEAR],
            "inverse": [INVERSE],
        }[category]
        body = {"category": category, "list": [] if "status" in asked.query else rows, "nextPageCursor": ""}
    return Answer(json.dumps({"retCode": 0, "retMsg": "OK", "result": body, "time": 1}).encode())


def test_bybit_descriptions_become_instruments() -> None:
    """Three categories; the inverse contract is one dollar although its least order is ten."""
    made = by_id(described("bybit", bybit))
    assert sorted(made) == ["bybit_inverse:BTCUSD", "bybit_linear:BTCUSDT", "bybit_spot:BTCUSDT"]
    linear, inverse, spot = made["bybit_linear:BTCUSDT"], made["bybit_inverse:BTCUSD"], made["bybit_spot:BTCUSDT"]
    assert (linear.tick, linear.step, linear.min_notional) == (Decimal("0.1"), Decimal("0.001"), Money(5))
    assert (inverse.contract_size, inverse.step) == (1, 1)
    assert (spot.step, spot.min_notional) == (Decimal("0.000001"), Money(5))
    assert linear.listed == 1_585_526_400_000 * MS


def test_bybit_brackets_come_in_pages_and_two_units() -> None:
    """Fractions with a deduction, and older answers in per cent without one, whose amounts are computed."""
    made = by_id(described("bybit", bybit))
    linear, inverse = made["bybit_linear:BTCUSDT"].brackets, made["bybit_inverse:BTCUSD"].brackets
    assert [row.maintenance_amount for row in linear] == [Money(0), Money(1200)]
    assert [row.maintenance_rate for row in inverse] == [Decimal("0.005"), Decimal("0.01")]
    assert inverse[0].maintenance(Money(150)) == inverse[1].maintenance(Money(150))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(b'{"code": -1003, "msg": "too many requests"}', 429), TransientError),
        (Answer(b"bad gateway", 502), TransientError),
        (Answer(hang=True), TransientError),
        (Answer(b'{"code": -2015, "msg": "Invalid API-key"}', 401), ConfigError),
        (Answer(b'{"code": -1100, "msg": "Illegal characters"}', 400), VenueError),
        (Answer(b"<html>"), TransientError),
    ],
    ids=["busy", "gateway", "silent", "key", "refused", "no JSON"],
)
def test_a_refusal_is_one_of_ours(answer: Answer, kind: type[CryptoAIError]) -> None:
    """No error of ccxt leaves the adapter, and what may pass on another try is said to be so."""
    with loopback(lambda _: answer) as server, pytest.raises(kind, match="binance"):
        CcxtMarkets("binance", base_url=server.url, timeout_s=0.3).describe()


def test_an_exchange_that_nobody_knows() -> None:
    """The message says what an id looks like."""
    with pytest.raises(ConfigError, match="'mtgox'"):
        CcxtMarkets("mtgox")
