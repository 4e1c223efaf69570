"""Binance spot as the local exchange speaks it.

Differences from the real one: fees are taken in the quote currency on both sides, as the backtest keeps its books; an
order cannot be replaced in one request; market orders are sized in the base currency. It must never trade: the floor
does.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import OrderKind, Side
from cryptoai.core.money import Money
from cryptoai.testing.exchange.binance import Binance, Route, amount, client_id, found, needed, since, sizes, status_of
from cryptoai.testing.exchange.client import Client, Made, Record, Told, Wanted
from cryptoai.testing.exchange.floor import Floor
from cryptoai.testing.exchange.streams import Stream
from cryptoai.testing.exchange.wire import Asked, WireError, fixed, ms, number, places

__all__ = ["BinanceSpot"]

Params = Mapping[str, str]

_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
_KINDS = {"GTC": OrderKind.LIMIT, "IOC": OrderKind.IOC, "FOK": OrderKind.FOK}
_TIMES = {OrderKind.IOC: "IOC", OrderKind.FOK: "FOK"}
_FILTER = "Filter failure: "


class BinanceSpot(Binance):
    """Paths below /api."""

    prefix = "/api"
    weight_limit = 6000
    refusals = (
        ("quantity", -1013, f"{_FILTER}LOT_SIZE"),
        ("post_only", -2010, "Order would immediately match and take."),
        ("notional", -1013, f"{_FILTER}NOTIONAL"),
        ("insufficient", -2010, "Account has insufficient balance for requested action."),
        ("rate limit", -1015, "Too many new orders."),
        ("nobody", -2010, "There is nobody to trade with."),
        ("price", -1013, f"{_FILTER}PERCENT_PRICE_BY_SIDE"),
        ("the book is unknown", -1001, "Internal error; unable to process your request. Please try again."),
        ("duplicate", -2010, "Duplicate order sent."),
        ("unknown", -2011, "Unknown order sent."),
    )

    def __init__(self, floor: Floor) -> None:
        super().__init__(floor)
        public = {(method, f"/v3{path}"): route for (method, path), route in self.routes.items()}
        self.routes = public | {
            ("GET", "/v3/account"): Route(self._account, 20, "signed"),
            ("POST", "/v3/order"): Route(self._create, 1, "signed"),
            ("DELETE", "/v3/order"): Route(self._cancel, 1, "signed"),
            ("GET", "/v3/order"): Route(lambda c, p: _order(found(c, p, -2013)), 4, "signed"),
            ("GET", "/v3/openOrders"): Route(self._open_orders, 6, "signed"),
            ("DELETE", "/v3/openOrders"): Route(self._cancel_all, 1, "signed"),
            ("GET", "/v3/allOrders"): Route(self._all_orders, 20, "signed"),
            ("GET", "/v3/myTrades"): Route(self._my_trades, 20, "signed"),
        }

    def described(self, made: Instrument) -> dict[str, Any]:
        tick, step = number(made.tick), number(made.step)
        return {
            "symbol": made.symbol,
            "status": "TRADING",
            "baseAsset": made.base,
            "baseAssetPrecision": 8,
            "quoteAsset": made.quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": list(_TYPES),
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "permissions": ["SPOT"],
            "permissionSets": [["SPOT"]],
            "baseCommissionPrecision": places(made.step),
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick},
                {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000", "stepSize": step},
                {"filterType": "NOTIONAL", "minNotional": number(made.min_notional), "maxNotional": "9000000"},
            ],
        }

    # ------------------------------------------------------------------ orders

    def _create(self, client: Client, params: Params) -> Any:
        made = self.market(params).made
        kind, price = _kind(params)
        quantity, limit = sizes(made, amount(params, "quantity"), price, -1013, -1013)
        side = needed(params, "side")
        if side not in ("BUY", "SELL"):
            raise WireError(-1117, "Invalid side.")
        name = client_id(params, f"sim-{self._listen()}")
        record = client.place(made.symbol, Wanted(name, Side(side.lower()), kind, quantity, limit))
        fills = [made for made in client.trades if made.order == record.number]
        return {**_order(record), "transactTime": ms(record.updated), "fills": [_fill(fill) for fill in fills]}

    def _cancel(self, client: Client, params: Params) -> Any:
        record = client.cancel(found(client, params, -2011))
        return {**_order(record), "origClientOrderId": record.wanted.client_id}

    def _cancel_all(self, client: Client, params: Params) -> Any:
        gone = client.cancel_all(self.market(params).made.symbol)
        if not gone:
            raise WireError(-2011, "Unknown order sent.")
        return [_order(record) for record in gone]

    def _open_orders(self, client: Client, params: Params) -> Any:
        symbol = self.market(params).made.symbol if "symbol" in params else None
        return [_order(record) for record in client.open_orders(symbol)]

    def _all_orders(self, client: Client, params: Params) -> Any:
        symbol, (begin, end) = self.market(params).made.symbol, since(params)
        asked = [r for r in client.orders.values() if r.made.symbol == symbol and begin <= r.created <= end]
        return [_order(record) for record in asked][-int(params.get("limit", "500")) :]

    def _my_trades(self, client: Client, params: Params) -> Any:
        symbol, (begin, end) = self.market(params).made.symbol, since(params)
        order, limit = params.get("orderId"), int(params.get("limit", "500"))
        asked = [made for made in client.trades if made.made.symbol == symbol and begin <= made.fill.event_time <= end]
        chosen = [made for made in asked if order is None or made.order == int(order)]
        return [_trade(made) for made in (chosen[:limit] if begin else chosen[-limit:])]

    # ------------------------------------------------------------------ account

    def _account(self, client: Client, _: Params) -> Any:
        rates = {"maker": "0", "taker": "0", "buyer": "0", "seller": "0"}
        head = {"canTrade": True, "canWithdraw": False, "canDeposit": False, "accountType": "SPOT"}
        rows = _balances(client)
        return {**head, "commissionRates": rates, "balances": rows, "updateTime": ms(self.floor.clock.now_ns())}

    # ------------------------------------------------------------------ streams

    def hears(self, path: str) -> bool:
        return path.startswith(("/ws", "/stream"))

    def heard(self, stream: Stream, asked: dict[str, Any]) -> list[Any]:
        if asked.get("method") != "userDataStream.subscribe.signature":
            return super().heard(stream, asked)
        try:
            stream.owner = self._signed(asked.get("params") or {})
        except WireError as error:
            return [{"id": asked.get("id"), "status": error.status, "error": self.error(error)}]
        return [{"id": asked.get("id"), "status": 200, "result": {"subscriptionId": 0}}]

    def _signed(self, params: dict[str, Any]) -> Client:
        """Whose signature it is; the text that is signed are the parameters in the order of their names."""
        text = {name: str(value) for name, value in params.items()}
        body = "&".join(f"{name}={value}" for name, value in sorted(text.items()) if name != "signature")
        headers = {"x-mbx-apikey": text.get("apiKey", "")}
        return self._checked(Asked("", "", text, body, headers, self.machine_ms()), Route(_nobody, 1, "signed"))

    def private_messages(self, client: Client, told: Told) -> list[Any]:
        said: list[dict[str, Any]] = []
        if told.order is not None:
            said.append(_report(told.order, told))
        rows = [{"a": row["asset"], "f": row["free"], "l": row["locked"]} for row in _balances(client)]
        said.append({"e": "outboundAccountPosition", "E": ms(told.time), "u": ms(told.time), "B": rows})
        return [{"subscriptionId": 0, "event": event} for event in said]


def _nobody(*_: Any) -> None:
    """The route of a signature alone."""


def _kind(params: Params) -> tuple[OrderKind, Decimal | None]:
    name = needed(params, "type")
    if name == "MARKET":
        return OrderKind.MARKET, None
    if name == "LIMIT_MAKER":
        return OrderKind.POST_ONLY, amount(params, "price")
    if name != "LIMIT":
        known = name in _TYPES
        raise WireError(-1116, "Invalid orderType." if not known else "This exchange takes no triggered orders.")
    held = needed(params, "timeInForce")
    if held not in _KINDS:
        raise WireError(-1115, "Invalid timeInForce.")
    return _KINDS[held], amount(params, "price")


def _balances(client: Client) -> list[dict[str, str]]:
    """Money and coins; what waits in orders is locked."""
    made = next(iter(client.instruments.values()))
    money = client.desk.account.cash
    orders = client.open_orders()
    bids = sum((_rest(r) for r in orders if r.wanted.side is Side.BUY), start=Money.zero())
    rows = [{"asset": made.quote, "free": fixed(money - bids), "locked": fixed(bids)}]
    for symbol, coin in client.instruments.items():
        asks = [r for r in orders if r.made is coin and r.wanted.side is Side.SELL]
        locked = sum((r.wanted.quantity.value - r.filled.value for r in asks), start=Decimal(0))
        held = client.position(symbol).value
        rows.append({"asset": coin.base, "free": fixed(held - locked), "locked": fixed(locked)})
    return rows


def _rest(record: Record) -> Money:
    """What the unfilled part of a bid would cost."""
    price = record.wanted.price
    return Money.zero() if price is None else price * (record.wanted.quantity - record.filled)


def _order(record: Record) -> dict[str, Any]:
    wanted = record.wanted
    kinds = {OrderKind.MARKET: "MARKET", OrderKind.POST_ONLY: "LIMIT_MAKER"}
    return {
        "symbol": record.made.symbol,
        "orderId": record.number,
        "orderListId": -1,
        "clientOrderId": wanted.client_id,
        "price": fixed(wanted.price) if wanted.price is not None else "0.00000000",
        "origQty": fixed(wanted.quantity),
        "executedQty": fixed(record.filled),
        "cummulativeQuoteQty": fixed(record.cost),
        "status": status_of(record),
        "timeInForce": _TIMES.get(wanted.kind, "GTC"),
        "type": kinds.get(wanted.kind, "LIMIT"),
        "side": wanted.side.upper(),
        "stopPrice": "0.00000000",
        "time": ms(record.created),
        "updateTime": ms(record.updated),
        "isWorking": record.open,
    }


def _fill(made: Made) -> dict[str, Any]:
    fill = made.fill
    row = {"price": fixed(fill.price), "qty": fixed(fill.quantity), "commission": fixed(fill.fee)}
    return {**row, "commissionAsset": made.made.settlement, "tradeId": made.number}


def _trade(made: Made) -> dict[str, Any]:
    fill, row = made.fill, _fill(made)
    row.pop("tradeId")
    return {
        **row,
        "symbol": made.made.symbol,
        "id": made.number,
        "orderId": made.order,
        "quoteQty": fixed(fill.price * fill.quantity),
        "time": ms(fill.event_time),
        "isBuyer": fill.side is Side.BUY,
        "isMaker": getattr(fill, "maker", False),
        "isBestMatch": True,
    }


def _report(record: Record, told: Told) -> dict[str, Any]:
    order, fill = _order(record), told.fill
    row: dict[str, Any] = {
        "s": order["symbol"],
        "S": order["side"],
        "f": order["timeInForce"],
        "q": order["origQty"],
        "p": order["price"],
        "e": "executionReport",
        "E": ms(told.time),
        "c": order["clientOrderId"],
        "o": order["type"],
        "P": "0.00000000",
        "F": "0.00000000",
        "g": -1,
        "C": order["clientOrderId"] if told.what == "CANCELED" else "",
        "x": told.what,
        "X": order["status"],
        "r": "NONE",
        "i": order["orderId"],
        "l": "0.00000000",
        "z": order["executedQty"],
        "L": "0.00000000",
        "n": "0",
        "N": None,
        "T": ms(told.time),
        "t": -1,
        "w": record.open,
        "m": False,
        "O": ms(record.created),
        "Z": order["cummulativeQuoteQty"],
        "Y": "0.00000000",
        "Q": "0.00000000",
    }
    if fill is not None:
        done = fill.fill
        row |= {"l": fixed(done.quantity), "L": fixed(done.price), "n": fixed(done.fee), "t": fill.number}
        row |= {"N": record.made.settlement, "m": getattr(done, "maker", False), "Y": fixed(done.price * done.quantity)}
    return row
