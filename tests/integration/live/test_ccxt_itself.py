"""The unmodified clients of ccxt and ccxt.pro against the local exchange: nothing but their addresses is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import ccxt
import ccxt.pro
import pytest

from cryptoai.core.clock import SECOND
from cryptoai.testing.exchange.server import DIALECTS
from cryptoai.testing.exchange.small import Bench, bench
from cryptoai.testing.feed_exchange import moved

CLIENTS = {"binance_usdm": "binanceusdm", "binance_spot": "binance", "bybit_linear": "bybit"}


def client(market: Bench, module: Any) -> Any:
    """As a user makes one, pointed at the local exchange."""
    made = getattr(module, CLIENTS[market.made.venue])({"apiKey": "key", "secret": "secret", "enableRateLimit": False})
    made.urls["api"] = moved(made.urls["api"], market.exchange.address)
    return made


def symbol(market: Bench) -> str:
    return "BTC/USDT" if market.made.venue.endswith("spot") else "BTC/USDT:USDT"


@pytest.mark.parametrize("venue", sorted(DIALECTS))
def test_a_day_by_rest(venue: str) -> None:
    """Markets, book, trades, balance, an order's whole life, fills, position: as ccxt's documentation has them."""
    with bench(venue=venue) as market:
        market.account("key", "secret", 10_000)
        made, name = client(market, ccxt), symbol(market)
        listed = made.load_markets()[name]
        assert (listed["precision"]["amount"], listed["precision"]["price"]) == (0.001, 0.1)
        assert made.fetch_order_book(name, 5)["bids"][0][:2] == [100.0, 10.0]
        assert made.fetch_balance()["USDT"]["total"] == 10_000
        resting = made.create_order(name, "limit", "buy", 1, 99.5, {"clientOrderId": "mine-1"})
        (waiting,) = made.fetch_open_orders(name)
        assert (waiting["id"], waiting["clientOrderId"], waiting["price"]) == (resting["id"], "mine-1", 99.5)
        made.cancel_order(resting["id"], name)
        assert made.fetch_open_orders(name) == []
        made.create_order(name, "limit", "buy", 2, 100.1)
        (trade,) = made.fetch_my_trades(name)
        assert (trade["price"], trade["amount"], trade["takerOrMaker"]) == (100.1, 2.0, "taker")
        market.go(2 * SECOND)
        assert {t["side"] for t in made.fetch_trades(name)} == {"sell"}
        if not venue.endswith("spot"):
            (position,) = [p for p in made.fetch_positions([name]) if p["contracts"]]
            assert (position["side"], position["contracts"], position["entryPrice"]) == ("long", 2.0, 100.1)


@pytest.mark.parametrize("venue", sorted(DIALECTS))
def test_a_day_by_stream(venue: str) -> None:
    """The book and trades of the market, and the client's own orders and fills, as they happen."""

    async def day(market: Bench) -> None:
        made, name = client(market, ccxt.pro), symbol(market)
        try:
            await made.load_markets()
            mine = asyncio.ensure_future(made.watch_orders())
            fills = asyncio.ensure_future(made.watch_my_trades())
            book = await _with(market, made.watch_order_book(name))
            assert book["bids"][0][0] in (100.0, 99.0)
            await _until(lambda: market.exchange.do(lambda: _owners(market)) >= 1)
            await made.create_order(name, "limit", "buy", 1, book["asks"][0][0] + 1)
            assert (await fills)[0]["amount"] == 1.0
            assert (await mine)[0]["side"] == "buy"
        finally:
            await made.close()

    with bench(venue=venue) as market:
        market.account("key", "secret", 10_000)
        asyncio.run(asyncio.wait_for(day(market), 20))


def _owners(market: Bench) -> int:
    return sum(stream.owner is not None for stream in market.exchange.server.streams)


async def _with(market: Bench, wanted: Coroutine[Any, Any, Any]) -> Any:
    """What a stream says, once the market moves."""
    asked = asyncio.ensure_future(wanted)
    loop = asyncio.get_running_loop()
    while not asked.done():
        await loop.run_in_executor(None, market.go, SECOND // 4)
        await asyncio.wait({asked}, timeout=0.05)
    return await asked


async def _until(holds: Any) -> None:
    """Asks until something holds, in a thread so that the client goes on."""
    loop = asyncio.get_running_loop()
    while not await loop.run_in_executor(None, holds):
        await asyncio.wait({asyncio.ensure_future(asyncio.sleep(0.02))})
