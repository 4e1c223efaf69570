"""Bybit's words for instruments, books, orders, executions, positions and money.

Pure: `bybit` asks. It must never change what it describes.
"""

from __future__ import annotations

from typing import Any

from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import OrderKind, OrderStatus, Side
from cryptoai.core.money import Money, Price
from cryptoai.data_universe.events import ASK, BID
from cryptoai.testing.exchange.client import Client, Income, Made, Record
from cryptoai.testing.exchange.public import PublicMarket, PublicTrade
from cryptoai.testing.exchange.wire import fixed, ms, number, places

__all__ = [
    "book",
    "execution",
    "instrument",
    "levels",
    "margin",
    "order",
    "payment",
    "position",
    "public_trade",
    "ticker",
    "wallet",
]

_STATUSES = {
    OrderStatus.NEW: "New",
    OrderStatus.OPEN: "New",
    OrderStatus.PARTIAL: "PartiallyFilled",
    OrderStatus.FILLED: "Filled",
    OrderStatus.CANCELLED: "Cancelled",
    OrderStatus.REJECTED: "Rejected",
}
_TIMES = {OrderKind.IOC: "IOC", OrderKind.FOK: "FOK", OrderKind.POST_ONLY: "PostOnly", OrderKind.MARKET: "IOC"}


def instrument(made: Instrument) -> dict[str, Any]:
    tick, step = number(made.tick), number(made.step)
    return {
        "symbol": made.symbol,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": made.base,
        "quoteCoin": made.quote,
        "settleCoin": made.quote,
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(places(made.tick)),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": str(made.max_leverage), "leverageStep": "0.01"},
        "priceFilter": {"minPrice": tick, "maxPrice": "1999999", "tickSize": tick},
        "lotSizeFilter": {
            "maxOrderQty": "1190",
            "minOrderQty": step,
            "qtyStep": step,
            "minNotionalValue": number(made.min_notional),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
    }


def levels(made: Instrument, rows: list[tuple[int, int]]) -> list[list[str]]:
    return [[number(made.price(price)), number(made.quantity(quantity))] for price, quantity in rows]


def book(market: PublicMarket, limit: int) -> dict[str, Any]:
    made, now = market.made, ms(market.now)
    sides = {"b": levels(made, market.levels(BID, limit)), "a": levels(made, market.levels(ASK, limit))}
    return {"s": made.symbol, **sides, "u": market.update, "seq": market.update, "ts": now, "cts": now}


def public_trade(made: Instrument, trade: PublicTrade, form: str) -> dict[str, Any]:
    """`form` is long for REST, short for streams."""
    price, size, side = number(made.price(trade.price)), number(made.quantity(trade.quantity)), _side(trade.bought)
    if form == "short":
        stamp = {"T": ms(trade.time), "s": made.symbol, "S": side, "i": str(trade.number), "BT": False}
        return {**stamp, "v": size, "p": price}
    row = {"execId": str(trade.number), "symbol": made.symbol, "price": price, "size": size, "side": side}
    return {**row, "time": str(ms(trade.time)), "isBlockTrade": False}


def _side(bought: bool) -> str:
    return "Buy" if bought else "Sell"


def ticker(market: PublicMarket, mark: Price | None) -> dict[str, Any]:
    made, bid, ask = market.made, market.best(BID) or (0, 0), market.best(ASK) or (0, 0)
    last = number(made.price(market.trades[-1].price if market.trades else 0))
    told = number(mark) if mark is not None else last
    return {
        "symbol": made.symbol,
        "lastPrice": last,
        "markPrice": told,
        "indexPrice": told,
        "bid1Price": number(made.price(bid[0])),
        "bid1Size": number(made.quantity(bid[1])),
        "ask1Price": number(made.price(ask[0])),
        "ask1Size": number(made.quantity(ask[1])),
        "fundingRate": "0.0001",
        "nextFundingTime": "0",
    }


def order(record: Record) -> dict[str, Any]:
    wanted = record.wanted
    market = wanted.kind is OrderKind.MARKET
    left = wanted.quantity - record.filled if record.open else wanted.quantity - wanted.quantity
    return {
        "category": "linear",
        "symbol": record.made.symbol,
        "orderId": str(record.number),
        "orderLinkId": wanted.client_id,
        "side": _side(wanted.side is Side.BUY),
        "orderType": "Market" if market else "Limit",
        "orderStatus": _STATUSES[record.status],
        "price": number(wanted.price) if wanted.price is not None else "0",
        "qty": number(wanted.quantity),
        "avgPrice": number(record.average) if record.filled else "",
        "leavesQty": number(left),
        "cumExecQty": number(record.filled),
        "cumExecValue": number(record.cost),
        "timeInForce": _TIMES.get(wanted.kind, "GTC"),
        "reduceOnly": wanted.reduce_only,
        "closeOnTrigger": False,
        "triggerPrice": "",
        "takeProfit": "",
        "stopLoss": "",
        "positionIdx": 0,
        "rejectReason": "EC_PostOnlyWillTakeLiquidity" if record.reason == "post_only" else "EC_NoError",
        "createdTime": str(ms(record.created)),
        "updatedTime": str(ms(record.updated)),
    }


def execution(made: Made) -> dict[str, Any]:
    fill = made.fill
    return {
        "category": "linear",
        "symbol": made.made.symbol,
        "execId": str(made.number),
        "orderId": str(made.order),
        "orderLinkId": made.client_id,
        "side": _side(fill.side is Side.BUY),
        "execPrice": number(fill.price),
        "execQty": number(fill.quantity),
        "execValue": number(fill.price * fill.quantity),
        "execFee": number(fill.fee),
        "feeRate": "0",
        "execType": "Trade",
        "execTime": str(ms(fill.event_time)),
        "isMaker": getattr(fill, "maker", False),
        "closedSize": "0",
    }


def payment(row: Income) -> dict[str, Any]:
    """At Bybit a funding fee is an execution, and above zero is paid."""
    return {
        "symbol": row.made.symbol,
        "execId": str(row.number),
        "execType": "Funding",
        "execFee": number(-row.amount),
        "execTime": str(ms(row.time)),
    }


def position(client: Client, symbol: str, now_ms: int) -> dict[str, Any]:
    made, held, entry = client.instruments[symbol], client.position(symbol), client.entry(symbol)
    mark = client.mark(symbol) or made.price(0)
    used, kept = client.margins(symbol)
    return {
        "symbol": symbol,
        "side": "" if not held else _side(held.value > 0),
        "size": number(abs(held)),
        "avgPrice": number(entry) if entry is not None else "0",
        "positionValue": number(abs(made.value(mark, held))),
        "leverage": str(client.leverage[symbol]),
        "markPrice": number(mark),
        "unrealisedPnl": fixed(client.unrealised(symbol)),
        "positionIM": fixed(used),
        "positionMM": fixed(kept),
        "positionIdx": 0,
        "tradeMode": 0,
        "liqPrice": "",
        "autoAddMargin": 0,
        "positionStatus": "Normal",
        "createdTime": str(now_ms),
        "updatedTime": str(now_ms),
    }


def margin(client: Client) -> str:
    return "ISOLATED_MARGIN" if client.isolated else "REGULAR_MARGIN"


def wallet(client: Client) -> dict[str, Any]:
    made = next(iter(client.instruments.values()))
    unrealised = sum((client.unrealised(symbol) for symbol in client.instruments), start=Money.zero())
    used = sum((client.margins(symbol)[0] for symbol in client.instruments), start=Money.zero())
    equity = client.wallet + unrealised
    coin = {
        "coin": made.settlement,
        "equity": fixed(equity),
        "walletBalance": fixed(client.wallet),
        "totalPositionIM": fixed(used),
        "totalOrderIM": "0",
        "unrealisedPnl": fixed(unrealised),
        "locked": "0",
        "borrowAmount": "0",
        "availableToWithdraw": "",
    }
    totals = {"totalEquity": fixed(equity), "totalWalletBalance": fixed(client.wallet)}
    return {"accountType": "UNIFIED", **totals, "totalAvailableBalance": fixed(equity - used), "coin": [coin]}
