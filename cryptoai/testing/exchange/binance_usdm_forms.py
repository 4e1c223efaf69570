"""Binance USD-M's words for orders, fills, positions and money, as REST and the user's stream show them.

Pure: `binance_usdm` asks. It must never change what it describes.
"""

from __future__ import annotations

from typing import Any

from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import OrderKind, Side
from cryptoai.core.money import Money
from cryptoai.testing.exchange.binance import status_of
from cryptoai.testing.exchange.client import Client, Income, Made, Record, Told
from cryptoai.testing.exchange.wire import IMMEDIATE, fixed, ms, number, places

__all__ = [
    "TIMES",
    "TYPES",
    "asset",
    "books",
    "brackets",
    "described",
    "executed",
    "income",
    "order",
    "position",
    "user_trade",
]

TYPES = ("LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
TIMES = ("GTC", "IOC", "FOK", "GTX")
_LARGEST = "1000"
_FOREVER_MS = 4_133_404_800_000


def described(made: Instrument) -> dict[str, Any]:
    tick, step = number(made.tick), number(made.step)
    lot = {"stepSize": step, "minQty": step, "maxQty": _LARGEST}
    return {
        "symbol": made.symbol,
        "pair": made.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _FOREVER_MS,
        "onboardDate": 0 if made.listed is None else ms(made.listed),
        "status": "TRADING",
        "baseAsset": made.base,
        "quoteAsset": made.quote,
        "marginAsset": made.quote,
        "pricePrecision": places(made.tick),
        "quantityPrecision": places(made.step),
        "orderTypes": list(TYPES),
        "timeInForce": list(TIMES),
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "4529764", "tickSize": tick},
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot},
            {"filterType": "MIN_NOTIONAL", "notional": number(made.min_notional)},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.05", "multiplierDown": "0.95"},
        ],
    }


def order(record: Record) -> dict[str, Any]:
    """An order as REST shows it."""
    wanted = record.wanted
    kind = "MARKET" if wanted.kind is OrderKind.MARKET else "LIMIT"
    return {
        "orderId": record.number,
        "symbol": record.made.symbol,
        "status": status_of(record),
        "clientOrderId": wanted.client_id,
        "price": number(wanted.price) if wanted.price is not None else "0",
        "avgPrice": fixed(record.average, 5),
        "origQty": number(wanted.quantity),
        "executedQty": number(record.filled),
        "cumQty": number(record.filled),
        "cumQuote": number(record.cost),
        "timeInForce": IMMEDIATE.get(wanted.kind, "GTC"),
        "type": kind,
        "origType": kind,
        "reduceOnly": wanted.reduce_only,
        "closePosition": False,
        "side": wanted.side.upper(),
        "positionSide": "BOTH",
        "stopPrice": "0",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "time": ms(record.created),
        "updateTime": ms(record.updated),
    }


def asset(client: Client, now_ms: int) -> dict[str, Any]:
    made = next(iter(client.instruments.values()))
    unrealised = sum((client.unrealised(symbol) for symbol in client.instruments), start=Money.zero())
    used = sum((client.margins(symbol)[0] for symbol in client.instruments), start=Money.zero())
    kept = sum((client.margins(symbol)[1] for symbol in client.instruments), start=Money.zero())
    free = client.wallet + unrealised - used
    texts = {
        "walletBalance": client.wallet,
        "balance": client.wallet,
        "unrealizedProfit": unrealised,
        "marginBalance": client.wallet + unrealised,
        "maintMargin": kept,
        "initialMargin": used,
        "positionInitialMargin": used,
        "openOrderInitialMargin": Money.zero(),
        "crossWalletBalance": client.wallet,
        "crossUnPnl": unrealised,
        "availableBalance": free,
        "maxWithdrawAmount": free,
    }
    row = {name: fixed(value) for name, value in texts.items()}
    return {"asset": made.settlement, **row, "updateTime": now_ms}


def position(client: Client, symbol: str, now_ms: int) -> dict[str, Any]:
    made, held, entry = client.instruments[symbol], client.position(symbol), client.entry(symbol)
    mark = client.mark(symbol) or made.price(0)
    used, kept = client.margins(symbol)
    unrealised = fixed(client.unrealised(symbol))
    return {
        "symbol": symbol,
        "positionSide": "BOTH",
        "positionAmt": number(held),
        "entryPrice": number(entry) if entry is not None else "0.0",
        "breakEvenPrice": number(entry) if entry is not None else "0.0",
        "markPrice": number(mark),
        "unRealizedProfit": unrealised,
        "unrealizedProfit": unrealised,
        "liquidationPrice": "0",
        "leverage": str(client.leverage[symbol]),
        "marginType": "isolated" if client.isolated else "cross",
        "isolated": client.isolated,
        "isolatedMargin": fixed(used) if client.isolated else "0",
        "isolatedWallet": fixed(used) if client.isolated else "0",
        "notional": fixed(made.value(mark, held)),
        "initialMargin": fixed(used),
        "maintMargin": fixed(kept),
        "positionInitialMargin": fixed(used),
        "openOrderInitialMargin": "0",
        "adl": 0,
        "bidNotional": "0",
        "askNotional": "0",
        "marginAsset": made.settlement,
        "updateTime": now_ms,
    }


def executed(told: Told) -> dict[str, Any]:
    assert told.order is not None  # noqa: S101 - asked of orders only
    shown, fill = order(told.order), told.fill
    row = {
        "s": shown["symbol"],
        "c": shown["clientOrderId"],
        "S": shown["side"],
        "o": shown["type"],
        "f": shown["timeInForce"],
        "q": shown["origQty"],
        "p": shown["price"],
        "ap": shown["avgPrice"],
        "sp": "0",
        "x": told.what,
        "X": shown["status"],
        "i": shown["orderId"],
        "z": shown["executedQty"],
        "l": "0",
        "L": "0",
        "n": "0",
        "N": told.order.made.settlement,
        "T": ms(told.time),
        "t": 0,
        "b": "0",
        "a": "0",
        "m": False,
        "R": shown["reduceOnly"],
        "wt": "CONTRACT_PRICE",
        "ot": shown["type"],
        "ps": "BOTH",
        "cp": False,
        "rp": "0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": "NONE",
        "pm": "NONE",
        "gtd": 0,
    }
    if fill is not None:
        done = fill.fill
        row |= {"l": number(done.quantity), "L": number(done.price), "n": number(done.fee), "t": fill.number}
        row |= {"m": getattr(done, "maker", False), "rp": fixed(fill.realised)}
    return row


def books(client: Client, told: Told) -> dict[str, Any]:
    made = told.fill.made if told.fill is not None else next(iter(client.instruments.values()))
    change = fixed(told.income.amount) if told.income is not None else "0"
    balance = {"a": made.settlement, "wb": fixed(client.wallet), "cw": fixed(client.wallet), "bc": change}
    if told.income is not None:
        return {"m": told.income.kind, "B": [balance], "P": []}
    entry, held = client.entry(made.symbol), client.position(made.symbol)
    shown = {
        "s": made.symbol,
        "pa": number(held),
        "ep": number(entry) if entry is not None else "0",
        "bep": "0",
        "cr": fixed(client.desk.account.realised),
        "up": fixed(client.unrealised(made.symbol)),
        "mt": "isolated" if client.isolated else "cross",
        "iw": "0",
        "ps": "BOTH",
    }
    return {"m": "ORDER", "B": [balance], "P": [shown]}


def user_trade(made: Made) -> dict[str, Any]:
    fill = made.fill
    return {
        "id": made.number,
        "orderId": made.order,
        "symbol": made.made.symbol,
        "side": fill.side.upper(),
        "price": number(fill.price),
        "qty": number(fill.quantity),
        "quoteQty": number(fill.price * fill.quantity),
        "realizedPnl": fixed(made.realised),
        "commission": number(fill.fee),
        "commissionAsset": made.made.settlement,
        "marginAsset": made.made.settlement,
        "time": ms(fill.event_time),
        "positionSide": "BOTH",
        "buyer": fill.side is Side.BUY,
        "maker": getattr(fill, "maker", False),
    }


def income(row: Income) -> dict[str, Any]:
    body = {"symbol": row.made.symbol, "incomeType": row.kind, "income": fixed(row.amount), "info": row.kind}
    return body | {"asset": row.made.settlement, "time": ms(row.time), "tranId": row.number, "tradeId": ""}


def brackets(made: Instrument) -> list[dict[str, Any]]:
    first = {"bracket": 1, "initialLeverage": made.max_leverage, "notionalFloor": 0, "notionalCap": 10**12, "cum": 0}
    rows = [
        {
            "bracket": place + 1,
            "initialLeverage": b.max_leverage,
            "notionalCap": float(b.cap),
            "notionalFloor": float(b.floor),
            "maintMarginRatio": float(b.maintenance_rate),
            "cum": float(b.maintenance_amount),
        }
        for place, b in enumerate(made.brackets)
    ]
    return rows or [first | {"maintMarginRatio": 0.5 / made.max_leverage}]
