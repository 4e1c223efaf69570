"""Binance USD-M futures as the local exchange speaks it: one-way mode, single-asset margin.

Conditional orders live behind another endpoint at Binance and are refused with Binance's own code. It must never trade:
the floor does.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from cryptoai.core.clock import MS
from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import OrderKind, Side
from cryptoai.testing.exchange.binance import (
    Binance,
    Route,
    amount,
    client_id,
    found,
    needed,
    since,
    sizes,
)
from cryptoai.testing.exchange.binance_usdm_forms import (
    TYPES,
    asset,
    books,
    brackets,
    described,
    executed,
    income,
    order,
    position,
    user_trade,
)
from cryptoai.testing.exchange.client import Client, Told, Wanted
from cryptoai.testing.exchange.floor import Floor
from cryptoai.testing.exchange.wire import WireError, ms, number

__all__ = ["BinanceUsdm"]

Params = Mapping[str, str]

_KINDS = {"GTC": OrderKind.LIMIT, "IOC": OrderKind.IOC, "FOK": OrderKind.FOK, "GTX": OrderKind.POST_ONLY}


class BinanceUsdm(Binance):
    """Paths below /fapi."""

    prefix = "/fapi"
    weight_limit = 2400
    refusals = (
        ("quantity", -1111, "Precision is over the maximum defined for this asset."),
        ("reduce_only", -2022, "ReduceOnly Order is rejected."),
        ("post_only", -5022, "Due to the order could not be executed as maker, the Post Only order will be rejected."),
        ("notional", -4164, "Order's notional must be no smaller than the minimum (unless you choose reduce only)."),
        ("insufficient", -2019, "Margin is insufficient."),
        ("rate limit", -1015, "Too many new orders."),
        ("nobody", -4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."),
        ("price", -4016, "Limit price is too far from the mark price."),
        ("the book is unknown", -1001, "Internal error; unable to process your request. Please try again."),
        ("duplicate", -4116, "ClientOrderId is duplicated."),
        ("unknown", -2011, "Unknown order sent."),
        ("same margin", -4046, "No need to change margin type."),
        ("margin with orders", -4047, "Margin type cannot be changed if there exists open orders."),
        ("margin with position", -4048, "Margin type cannot be changed if there exists position."),
    )

    def __init__(self, floor: Floor) -> None:
        super().__init__(floor)
        public = {(method, f"/v1{path}"): route for (method, path), route in self.routes.items()}
        self.routes = public | self._order_routes() | self._account_routes() | self._listen_routes()
        self.routes["GET", "/v1/premiumIndex"] = Route(self._premium)
        self.routes["GET", "/v2/ticker/price"] = self.routes["GET", "/v1/ticker/price"]

    def _order_routes(self) -> dict[tuple[str, str], Route]:
        return {
            ("POST", "/v1/order"): Route(self._create, 1, "signed"),
            ("PUT", "/v1/order"): Route(self._amend, 1, "signed"),
            ("DELETE", "/v1/order"): Route(self._cancel, 1, "signed"),
            ("GET", "/v1/order"): Route(lambda c, p: order(found(c, p, -2013)), 1, "signed"),
            ("GET", "/v1/openOrder"): Route(self._open_order, 1, "signed"),
            ("GET", "/v1/openOrders"): Route(self._open_orders, 1, "signed"),
            ("GET", "/v1/allOrders"): Route(self._all_orders, 5, "signed"),
            ("DELETE", "/v1/allOpenOrders"): Route(self._cancel_all, 1, "signed"),
            ("POST", "/v1/countdownCancelAll"): Route(self._countdown, 10, "signed"),
            ("GET", "/v1/userTrades"): Route(self._user_trades, 5, "signed"),
        }

    def _account_routes(self) -> dict[tuple[str, str], Route]:
        routes = {
            ("POST", "/v1/leverage"): Route(self._leverage, 1, "signed"),
            ("POST", "/v1/marginType"): Route(self._margin_type, 1, "signed"),
            ("GET", "/v1/positionSide/dual"): Route(lambda *_: {"dualSidePosition": False}, 30, "signed"),
            ("POST", "/v1/positionSide/dual"): Route(self._one_way, 1, "signed"),
            ("GET", "/v1/symbolConfig"): Route(self._symbol_config, 5, "signed"),
            ("GET", "/v1/leverageBracket"): Route(self._brackets, 1, "signed"),
            ("GET", "/v1/commissionRate"): Route(self._commission, 20, "signed"),
            ("GET", "/v1/income"): Route(self._income, 30, "signed"),
        }
        for version in ("v2", "v3"):
            routes["GET", f"/{version}/account"] = Route(self._account, 5, "signed")
            routes["GET", f"/{version}/balance"] = Route(lambda c, _: [asset(c, self._now())], 5, "signed")
            routes["GET", f"/{version}/positionRisk"] = Route(self._position_risk, 5, "signed")
        return routes

    def _listen_routes(self) -> dict[tuple[str, str], Route]:
        return {
            ("POST", "/v1/listenKey"): Route(lambda c, _: {"listenKey": self.listen_key(c)}, 1, "key"),
            ("PUT", "/v1/listenKey"): Route(self._keep_listening, 1, "key"),
            ("DELETE", "/v1/listenKey"): Route(self._stop_listening, 1, "key"),
        }

    # ------------------------------------------------------------------ public

    def described(self, made: Instrument) -> dict[str, Any]:
        return described(made)

    def _now(self) -> int:
        return ms(self.floor.clock.now_ns())

    def stamped(self) -> dict[str, Any]:
        now = ms(self.floor.clock.now_ns())
        return {"E": now, "T": now}

    def _premium(self, params: Params) -> Any:
        rows = []
        for market in self._asked_markets(params):
            mark = self.floor.mark(market.made.symbol)
            text = number(mark) if mark is not None else "0"
            row = {"symbol": market.made.symbol, "markPrice": text, "indexPrice": text, "lastFundingRate": "0.0001"}
            now = self.floor.clock.now_ns()
            span = 8 * 3600 * 1_000_000_000
            rows.append(row | {"time": ms(now), "nextFundingTime": ms(now - now % span + span)})
        return rows[0] if "symbol" in params else rows

    # ------------------------------------------------------------------ orders

    def _create(self, client: Client, params: Params) -> Any:
        made = self.market(params).made
        kind, price = _kind(params)
        quantity, limit = sizes(made, amount(params, "quantity"), price, -4014)
        name = client_id(params, f"sim-{self._listen()}")
        wanted = Wanted(name, _side(params), kind, quantity, limit, params.get("reduceOnly", "").lower() == "true")
        if params.get("positionSide", "BOTH") != "BOTH":
            raise WireError(-4061, "Order's position side does not match user's setting.")
        return order(client.place(made.symbol, wanted))

    def _amend(self, client: Client, params: Params) -> Any:
        record = found(client, params, -2013)
        if record.wanted.kind not in (OrderKind.LIMIT, OrderKind.POST_ONLY) or not record.open:
            raise WireError(-2013, "Order does not exist.")
        quantity, price = sizes(record.made, amount(params, "quantity"), amount(params, "price"), -4014)
        if price is None or (record.wanted.quantity, record.wanted.price) == (quantity, price):
            raise WireError(-5027, "No need to modify the order.")
        return order(client.amend(record, quantity, price))

    def _cancel(self, client: Client, params: Params) -> Any:
        return order(client.cancel(found(client, params, -2011)))

    def _cancel_all(self, client: Client, params: Params) -> Any:
        client.cancel_all(self.market(params).made.symbol)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def _countdown(self, client: Client, params: Params) -> Any:
        symbol, wait = self.market(params).made.symbol, needed(params, "countdownTime")
        client.deadlines.pop(symbol, None)
        if int(wait):
            client.deadlines[symbol] = self.floor.clock.now_ns() + int(wait) * MS
        return {"symbol": symbol, "countdownTime": wait}

    def _open_order(self, client: Client, params: Params) -> Any:
        record = found(client, params, -2013)
        if not record.open:
            raise WireError(-2013, "Order does not exist.")
        return order(record)

    def _open_orders(self, client: Client, params: Params) -> Any:
        symbol = self.market(params).made.symbol if "symbol" in params else None
        return [order(record) for record in client.open_orders(symbol)]

    def _all_orders(self, client: Client, params: Params) -> Any:
        symbol, (begin, end) = self.market(params).made.symbol, since(params)
        asked = [r for r in client.orders.values() if r.made.symbol == symbol and begin <= r.created <= end]
        return [order(record) for record in asked][-int(params.get("limit", "500")) :]

    def _user_trades(self, client: Client, params: Params) -> Any:
        symbol, (begin, end) = self.market(params).made.symbol, since(params)
        first, order = int(params.get("fromId", "0")), params.get("orderId")
        asked = [
            made
            for made in client.trades
            if made.made.symbol == symbol and begin <= made.fill.event_time <= end and made.number >= first
        ]
        chosen = [made for made in asked if order is None or made.order == int(order)]
        limit = int(params.get("limit", "500"))
        return [user_trade(made) for made in (chosen[:limit] if first or begin else chosen[-limit:])]

    # ------------------------------------------------------------------ account

    def _account(self, client: Client, _: Params) -> Any:
        self._mark(client)
        held = asset(client, self._now())
        totals = {f"total{name[0].upper()}{name[1:]}": value for name, value in held.items() if isinstance(value, str)}
        positions = [position(client, symbol, self._now()) for symbol in client.instruments]
        head = {"canTrade": True, "canDeposit": False, "canWithdraw": False, "feeTier": 0, "multiAssetsMargin": False}
        return {
            **head,
            **totals,
            "availableBalance": held["availableBalance"],
            "maxWithdrawAmount": held["maxWithdrawAmount"],
            "assets": [held],
            "positions": positions,
        }

    def _position_risk(self, client: Client, params: Params) -> Any:
        self._mark(client)
        symbols = [self.market(params).made.symbol] if "symbol" in params else list(client.instruments)
        return [position(client, symbol, self._now()) for symbol in symbols]

    def _mark(self, client: Client) -> None:
        for symbol in client.instruments:
            mark = self.floor.mark(symbol)
            if mark is not None:
                client.mark_at(symbol, mark)

    def _leverage(self, client: Client, params: Params) -> Any:
        made, wanted = self.market(params).made, needed(params, "leverage")
        if not wanted.isdigit() or not 1 <= int(wanted) <= made.max_leverage:
            raise WireError(-4028, f"Leverage {wanted} is not valid")
        client.set_leverage(made.symbol, int(wanted))
        return {"symbol": made.symbol, "leverage": int(wanted), "maxNotionalValue": "1000000000"}

    def _margin_type(self, client: Client, params: Params) -> Any:
        self.market(params)
        wanted = needed(params, "marginType")
        if wanted not in ("ISOLATED", "CROSSED"):
            raise WireError(-4047, "Invalid margin type.")
        client.set_isolated(isolated=wanted == "ISOLATED")
        return {"code": 200, "msg": "success"}

    def _one_way(self, client: Client, params: Params) -> Any:  # noqa: ARG002 - the same for every client
        if needed(params, "dualSidePosition").lower() != "false":
            raise WireError(-4068, "Position side cannot be changed: this exchange knows one-way mode only.")
        raise WireError(-4059, "No need to change position side.")

    def _symbol_config(self, client: Client, params: Params) -> Any:
        symbols = [self.market(params).made.symbol] if "symbol" in params else list(client.instruments)
        mode = "ISOLATED" if client.isolated else "CROSSED"
        shared = {"marginType": mode, "isAutoAddMargin": False, "maxNotionalValue": "1000000000"}
        return [{"symbol": symbol, "leverage": client.leverage[symbol], **shared} for symbol in symbols]

    def _brackets(self, client: Client, params: Params) -> Any:
        symbols = [self.market(params).made.symbol] if "symbol" in params else list(client.instruments)
        rows = [{"symbol": symbol, "brackets": brackets(client.instruments[symbol])} for symbol in symbols]
        return rows[0] if "symbol" in params else rows

    def _commission(self, _: Client, params: Params) -> Any:
        made = self.market(params).made
        rates = {"makerCommissionRate": number(made.maker_fee), "takerCommissionRate": number(made.taker_fee)}
        return {"symbol": made.symbol, **rates}

    def _income(self, client: Client, params: Params) -> Any:
        begin, end = since(params)
        kind, symbol = params.get("incomeType"), params.get("symbol")
        rows = [row for row in client.incomes if begin <= row.time <= end and kind in (None, row.kind)]
        return [income(row) for row in rows if symbol in (None, row.made.symbol)]

    # ------------------------------------------------------------------ stream

    def _keep_listening(self, client: Client, _: Params) -> Any:
        if client not in self.keys.values():
            raise WireError(-1125, "This listenKey does not exist.")
        return {"listenKey": self.listen_key(client)}

    def _stop_listening(self, client: Client, _: Params) -> Any:
        self.keys = {key: owner for key, owner in self.keys.items() if owner is not client}
        return {}

    def hears(self, path: str) -> bool:
        return path.startswith(("/private/", "/public/", "/market/"))

    def private_messages(self, client: Client, told: Told) -> list[Any]:
        stamps = {"E": ms(told.time), "T": ms(told.time)}
        said = []
        if told.order is not None:
            said.append({"e": "ORDER_TRADE_UPDATE", **stamps, "o": executed(told)})
        if told.fill is not None or told.income is not None:
            said.append({"e": "ACCOUNT_UPDATE", **stamps, "a": books(client, told)})
        return said


def _kind(params: Params) -> tuple[OrderKind, Decimal | None]:
    name = needed(params, "type")
    if name == "MARKET":
        return OrderKind.MARKET, None
    if name in TYPES and name != "LIMIT":
        raise WireError(-4120, "Order type not supported for this endpoint. Please use the Algo Order API instead.")
    if name != "LIMIT":
        raise WireError(-1116, "Invalid orderType.")
    held = needed(params, "timeInForce")
    if held not in _KINDS:
        raise WireError(-1115, "Invalid timeInForce.")
    return _KINDS[held], amount(params, "price")


def _side(params: Params) -> Side:
    name = needed(params, "side")
    if name not in ("BUY", "SELL"):
        raise WireError(-1117, "Invalid side.")
    return Side(name.lower())
