"""The questions that are put to a venue, in ccxt's words, for every venue: look up, list, set terms, dead-man's switch.

Coroutines for `ccxt_link.Link` to run; each is one question, however many requests it takes. They raise what ccxt
raises, and must never send an order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ccxt.base import errors as ccxt_errors

from cryptoai.core.instruments import Contract, Instrument
from cryptoai.execution.adapters.ccxt_errors import Outcome, outcome

__all__ = [
    "Listed",
    "Paid",
    "apply_terms",
    "arm_dead_man",
    "funding_since",
    "holdings",
    "listed",
    "lookup",
    "open_orders",
    "trades",
]

_DIRECT = ("binance", "binanceusdm", "okx")
"""Venues that find an order by the client's id; of the others its open and closed orders are read."""
_FILTERS = {"bybit": "orderLinkId", "kraken": "cl_ord_id"}
_PAGE = 1000
_PAGES = 20


@dataclass(frozen=True, slots=True)
class Listed:
    """An instrument as ccxt names it. `size` is base units a contract: venues count some orders in contracts."""

    made: Instrument
    symbol: str
    size: Decimal
    contract: bool


def listed(client: Any, made: Instrument) -> Listed | None:
    """The market of an instrument by the venue's own symbol; None if the venue has none that fits."""
    contract = made.contract is not Contract.SPOT
    for market in client.markets.values():
        if market["id"] == made.symbol and bool(market["contract"]) == contract:
            linear = made.contract is Contract.LINEAR and market.get("contractSize")
            return Listed(
                made, market["symbol"], Decimal(str(market["contractSize"])) if linear else Decimal(1), contract
            )
    return None


async def lookup(client: Any, exchange: str, symbol: str, wire: str, exchange_id: str | None = None) -> Any:
    """The order with this id; None if the venue says that there is none."""
    try:
        if exchange_id is not None and exchange != "bybit":
            return await client.fetch_order(exchange_id, symbol)
        if exchange in _DIRECT:
            return await client.fetch_order("", symbol, {"clientOrderId": wire})
    except ccxt_errors.OrderNotFound:
        return None
    named = {_FILTERS[exchange]: wire} if exchange in _FILTERS else {}
    for ask in (client.fetch_open_orders, client.fetch_closed_orders, client.fetch_canceled_orders):
        if not client.has.get(_CAMEL[ask.__name__]):
            continue
        for order in await ask(symbol, params=dict(named)):
            if order.get("clientOrderId") == wire:
                return order
    return None


_CAMEL = {
    "fetch_open_orders": "fetchOpenOrders",
    "fetch_closed_orders": "fetchClosedOrders",
    "fetch_canceled_orders": "fetchCanceledOrders",
}


async def open_orders(client: Any, symbols: Sequence[str]) -> list[Any]:
    """Orders that wait, by symbol."""
    return [order for symbol in symbols for order in await client.fetch_open_orders(symbol)]


async def trades(client: Any, symbol: str, since_ms: int) -> list[Any]:
    """The account's trades from `since_ms` on, oldest first, page by page."""
    if client.id == "bybit":  # newest first, page by page behind a cursor
        return list(await client.fetch_my_trades(symbol, since_ms, None, {"paginate": True}))
    found: dict[str, Any] = {}
    for _ in range(_PAGES):
        page = await client.fetch_my_trades(symbol, since_ms, _PAGE)
        fresh = [trade for trade in page if str(trade["id"]) not in found]
        found |= {str(trade["id"]): trade for trade in fresh}
        if len(page) < _PAGE or not fresh:
            break
        since_ms = int(page[-1]["timestamp"])
    return list(found.values())


async def holdings(client: Any, markets: Sequence[Listed]) -> dict[str, Decimal]:
    """Signed base units by our instrument; spot counts all of the coin."""
    contracts = [market for market in markets if market.contract]
    held: dict[str, Decimal] = {}
    if contracts:
        by_symbol = {market.symbol: market for market in contracts}
        for position in await client.fetch_positions(list(by_symbol)):
            market = by_symbol[position["symbol"]]
            size = Decimal(str(position.get("contracts") or 0)) * market.size
            signed = -size if position.get("side") == "short" else size
            held[market.made.id] = held.get(market.made.id, Decimal(0)) + signed
    spot = [market for market in markets if not market.contract]
    if spot:
        total = (await client.fetch_balance()).get("total") or {}
        held |= {market.made.id: Decimal(str(total.get(market.made.base) or 0)) for market in spot}
    return held


async def apply_terms(client: Any, market: Listed, margin_mode: str, leverage: int) -> dict[str, Any]:
    """Sets one-way mode, margin mode and leverage, and reads back what the venue then says of them."""
    await _unless_same(client, "setPositionMode", client.set_position_mode, (False, market.symbol))
    await _unless_same(client, "setMarginMode", client.set_margin_mode, (margin_mode, market.symbol))
    await _unless_same(client, "setLeverage", client.set_leverage, (leverage, market.symbol))
    said: dict[str, Any] = await client.fetch_leverage(market.symbol)
    if client.id == "bybit":  # there the mode is the account's, and a position does not say it
        mode = (await client.privateGetV5AccountInfo())["result"]["marginMode"]
        said["marginMode"] = {"REGULAR_MARGIN": "cross", "ISOLATED_MARGIN": "isolated"}.get(mode, mode)
    return said


async def _unless_same(client: Any, name: str, ask: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if not client.has.get(name):
        return
    try:
        await ask(*arguments)
    except ccxt_errors.BaseError as error:
        if outcome(error) is not Outcome.SAME:
            raise


async def arm_dead_man(client: Any, exchange: str, markets: Sequence[Listed], after_ms: int) -> bool:
    """Asks the venue to cancel everything unless asked again within `after_ms`; False where it cannot."""
    if exchange == "binanceusdm":
        for market in markets:
            asked = {"symbol": market.made.symbol, "countdownTime": after_ms}
            await client.fapiPrivatePostCountdownCancelAll(asked)
        return True
    if client.has.get("cancelAllOrdersAfter"):
        await client.cancel_all_orders_after(after_ms)
        if exchange == "bybit":  # it watches only the streams that listen to it
            url = await client.get_url_by_market_type(markets[0].symbol, True, "watchOrders")
            await client.authenticate(url)
            await client.client(url).send({"op": "subscribe", "args": ["dcp.future"]})
        return True
    return False


@dataclass(frozen=True, slots=True)
class Paid:
    """A funding payment: `amount` > 0 is received; position (signed base units) and mark are those of now."""

    number: str
    time_ms: int
    amount: Decimal
    position: Decimal
    mark: Decimal


async def funding_since(client: Any, market: Listed, since_ms: int) -> list[Paid]:
    """Funding payments from `since_ms` on; none where the venue does not list them."""
    if not market.contract or not client.has.get("fetchFundingHistory"):
        return []
    rows = await client.fetch_funding_history(market.symbol, since_ms)
    if not rows:
        return []
    held = (await holdings(client, [market])).get(market.made.id, Decimal(0))
    rate = await client.fetch_funding_rate(market.symbol)
    mark = rate.get("markPrice") or (await client.fetch_ticker(market.symbol))["last"]
    return [
        Paid(str(row["id"]), int(row["timestamp"]), Decimal(str(row["amount"])), held, Decimal(str(mark)))
        for row in rows
    ]
