"""Bybit v5 as the local exchange speaks it: linear perpetuals of a unified account in one-way mode.

As at Bybit, an order is acknowledged before it is judged by the book: a post-only order that would take is accepted and
then cancelled. Differences from the real one: limits count one unit a request. It must never trade: the floor does.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from cryptoai.core.clock import MS, SECOND
from cryptoai.core.messages import OrderKind, Side
from cryptoai.core.money import Price, Quantity
from cryptoai.data_universe.events import ASK, BID
from cryptoai.testing.exchange import bybit_forms as forms
from cryptoai.testing.exchange.client import Client, Record, Refused, Told, Wanted
from cryptoai.testing.exchange.floor import Floor
from cryptoai.testing.exchange.public import PublicMarket
from cryptoai.testing.exchange.streams import Stream
from cryptoai.testing.exchange.wire import Asked, WireError, ms, number

__all__ = ["Bybit"]

Params = Mapping[str, str]
Handler = Callable[..., Any]

_WINDOW_MS = 5000
_AHEAD_MS = 1000
_KINDS = {"GTC": OrderKind.LIMIT, "IOC": OrderKind.IOC, "FOK": OrderKind.FOK, "PostOnly": OrderKind.POST_ONLY}
_REFUSALS = (
    ("quantity", 10001, "Qty invalid"),
    ("reduce_only", 110017, "orderQty will be truncated to zero: reduce-only rule not satisfied"),
    ("notional", 110094, "Order does not meet minimum order value"),
    ("insufficient", 110007, "ab not enough for new order"),
    ("rate limit", 10006, "Too many visits. Exceeded the API Rate Limit."),
    ("nobody", 110003, "Order price exceeds the allowable range."),
    ("price", 110003, "Order price exceeds the allowable range."),
    ("the book is unknown", 10016, "Server error."),
    ("duplicate", 110072, "OrderLinkedID is duplicate"),
    ("unknown", 110001, "order not exists or too late to cancel"),
    ("margin with", 3400045, "Set margin mode failed"),
)


class Bybit:
    """Paths below /v5."""

    prefix = "/v5"
    weight_limit = 7200

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self._windows: dict[str, int] = {}
        self._guarded: dict[str, set[Stream]] = {}
        self._public: dict[tuple[str, str], Handler] = {
            ("GET", "/market/time"): lambda _: {"timeSecond": str(self.machine_ms() // 1000)},
            ("GET", "/market/instruments-info"): self._instruments,
            ("GET", "/market/orderbook"): self._orderbook,
            ("GET", "/market/recent-trade"): self._recent,
            ("GET", "/market/tickers"): self._tickers,
        }
        self._private: dict[tuple[str, str], Handler] = {**self._order_routes(), **self._account_routes()}

    def _order_routes(self) -> dict[tuple[str, str], Handler]:
        return {
            ("POST", "/order/create"): self._create,
            ("POST", "/order/amend"): self._amend,
            ("POST", "/order/cancel"): self._cancel,
            ("POST", "/order/cancel-all"): self._cancel_all,
            ("GET", "/order/realtime"): self._realtime,
            ("GET", "/order/history"): self._history,
            ("GET", "/execution/list"): self._executions,
            ("POST", "/order/disconnected-cancel-all"): self._dead_man,
        }

    def _account_routes(self) -> dict[tuple[str, str], Handler]:
        return {
            ("GET", "/user/query-api"): lambda *_: {"unified": 0, "uta": 1, "readOnly": 0},
            ("GET", "/asset/coin/query-info"): lambda *_: {"rows": []},
            ("GET", "/account/info"): lambda c, _: {"marginMode": forms.margin(c), "unifiedMarginStatus": 6},
            ("POST", "/account/set-margin-mode"): self._margin_mode,
            ("GET", "/account/wallet-balance"): self._wallet,
            ("GET", "/position/list"): self._positions,
            ("POST", "/position/set-leverage"): self._leverage,
            ("POST", "/position/switch-mode"): self._switch_mode,
        }

    # ------------------------------------------------------------------ requests

    def answer(self, asked: Asked) -> Any:
        """The reply to a request; WireError where Bybit refuses."""
        key = asked.method, asked.path.removeprefix(self.prefix)
        try:
            if key in self._public:
                return self._said(self._public[key](asked.params))
            if key not in self._private:
                raise WireError(10001, f"Request path {asked.path} is not found", 404)
            return self._said(self._private[key](self._checked(asked), asked.params))
        except Refused as refused:
            raise _refusal(refused.reason) from None
        except (ValueError, ArithmeticError):
            raise WireError(10001, "params error", 200) from None

    def weight(self, asked: Asked) -> int:  # noqa: ARG002 - every request costs the same
        return 1

    def error(self, error: WireError) -> Any:
        return {**self._said({}), "retCode": error.code, "retMsg": error.message}

    def too_many(self, weight_limit: int) -> WireError:  # noqa: ARG002 - Bybit does not say it
        return WireError(10006, "Too many visits. Exceeded the API Rate Limit.", 403)

    def unavailable(self) -> Any:
        return {**self._said({}), "retCode": 10016, "retMsg": "Server error."}

    def machine_ms(self) -> int:
        skew = self.floor.faults.standing("clock_skew")
        return ms(self.floor.clock.machine.now_ns()) + round(1000 * skew.seconds if skew else 0)

    def _said(self, result: Any) -> dict[str, Any]:
        return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": self.machine_ms()}

    def _checked(self, asked: Asked) -> Client:
        """Whose request it is; WireError unless key, time and signature are right."""
        headers = asked.headers
        client = self.floor.clients.get(headers.get("x-bapi-api-key", ""))
        if client is None:
            raise WireError(10003, "API key is invalid.", 200)
        stamp, window = headers.get("x-bapi-timestamp", ""), headers.get("x-bapi-recv-window", str(_WINDOW_MS))
        late = asked.came - int(stamp) if stamp.isdigit() else None
        if late is None or late > int(window) or late <= -_AHEAD_MS:
            raise WireError(10002, "invalid request, please check your server timestamp or recv_window param", 200)
        _check(client, f"{stamp}{client.key}{window}{asked.signed}", headers.get("x-bapi-sign", ""))
        return client

    def _market(self, params: Params) -> PublicMarket:
        symbol = params.get("symbol", "")
        if params.get("category", "linear") != "linear" or symbol not in self.floor.markets:
            raise WireError(10001, "params error: symbol invalid", 200)
        return self.floor.markets[symbol]

    # ------------------------------------------------------------------ public

    def _instruments(self, params: Params) -> Any:
        here = params.get("category") == "linear" and params.get("status", "Trading") == "Trading"
        rows = [forms.instrument(market.made) for market in self.floor.markets.values()] if here else []
        return {"category": params.get("category", "linear"), "list": rows, "nextPageCursor": ""}

    def _orderbook(self, params: Params) -> Any:
        return forms.book(self._market(params), int(params.get("limit", "25")))

    def _recent(self, params: Params) -> Any:
        market = self._market(params)
        newest = list(market.trades)[-int(params.get("limit", "500")) :]
        rows = [forms.public_trade(market.made, trade, "long") for trade in reversed(newest)]
        return {"category": "linear", "list": rows}

    def _tickers(self, params: Params) -> Any:
        markets = [self._market(params)] if "symbol" in params else list(self.floor.markets.values())
        rows = [forms.ticker(market, self.floor.mark(market.made.symbol)) for market in markets]
        return {"category": "linear", "list": rows}

    # ------------------------------------------------------------------ orders

    def _create(self, client: Client, params: Params) -> Any:
        made = self._market(params).made
        market = params.get("orderType") == "Market"
        kind = OrderKind.MARKET if market else _KINDS.get(params.get("timeInForce", "GTC"))
        if kind is None or params.get("side") not in ("Buy", "Sell"):
            raise WireError(10001, "params error: side or timeInForce invalid", 200)
        price = None if market else Price(_exact(params, "price", made.tick))
        quantity = Quantity(_exact(params, "qty", made.step))
        name = params.get("orderLinkId") or f"sim-{client.number()}"
        reduce = params.get("reduceOnly", "").lower() == "true"
        wanted = Wanted(name[:36], Side(params["side"].lower()), kind, quantity, price, reduce)
        return _acknowledged(self._placed(client, made.symbol, wanted))

    @staticmethod
    def _placed(client: Client, symbol: str, wanted: Wanted) -> Record:
        try:
            return client.place(symbol, wanted)
        except Refused as refused:
            if not refused.reason.startswith("post_only"):
                raise
            return client.stillborn(symbol, wanted, "post_only")

    def _amend(self, client: Client, params: Params) -> Any:
        record = self._found(client, params)
        made, wanted = record.made, record.wanted
        if wanted.price is None:
            raise Refused("unknown")
        quantity = Quantity(_exact(params, "qty", made.step)) if params.get("qty") else wanted.quantity
        price = Price(_exact(params, "price", made.tick)) if params.get("price") else wanted.price
        if (quantity, price) == (wanted.quantity, wanted.price):
            raise WireError(
                10001, "The order remains unchanged as the parameters entered match the existing ones.", 200
            )
        return _acknowledged(client.amend(record, quantity, price))

    def _cancel(self, client: Client, params: Params) -> Any:
        return _acknowledged(client.cancel(self._found(client, params)))

    def _cancel_all(self, client: Client, params: Params) -> Any:
        symbols = [self._market(params).made.symbol] if params.get("symbol") else list(client.instruments)
        gone = [record for symbol in symbols for record in client.cancel_all(symbol)]
        return {"list": [_acknowledged(record) for record in gone], "success": "1"}

    def _found(self, client: Client, params: Params) -> Record:
        numbered = params.get("orderId", "")
        told = int(numbered) if numbered.isdigit() else None
        record = client.find(self._market(params).made.symbol, told, params.get("orderLinkId"))
        if record is None:
            raise Refused("unknown")
        return record

    def _realtime(self, client: Client, params: Params) -> Any:
        return _page(params, [forms.order(r) for r in _named(client.open_orders(params.get("symbol")), params)])

    def _history(self, client: Client, params: Params) -> Any:
        ended = [r for r in client.orders.values() if not r.open and params.get("symbol") in (None, r.made.symbol)]
        rows = [forms.order(record) for record in _named(ended, params)]
        wanted = params.get("orderStatus")
        return _page(params, [row for row in rows if wanted in (None, row["orderStatus"])])

    def _executions(self, client: Client, params: Params) -> Any:
        begin = int(params.get("startTime", "0")) * MS
        if params.get("execType") == "Funding":
            paid = [row for row in client.incomes if row.kind == "FUNDING_FEE" and row.time >= begin]
            return _page(params, [forms.payment(row) for row in paid])
        made = [
            m for m in client.trades if m.fill.event_time >= begin and params.get("symbol") in (None, m.made.symbol)
        ]
        return _page(params, [forms.execution(m) for m in made])

    def _dead_man(self, client: Client, params: Params) -> Any:
        window = params.get("timeWindow", "")
        if not window.isdigit() or not 3 <= int(window) <= 300:
            raise WireError(10001, "params error: timeWindow must be from 3 to 300", 200)
        self._windows[client.key] = int(window)
        return {}

    # ------------------------------------------------------------------ account

    def _wallet(self, client: Client, _: Params) -> Any:
        return {"list": [forms.wallet(client)]}

    def _positions(self, client: Client, params: Params) -> Any:
        for symbol in client.instruments:
            if (mark := self.floor.mark(symbol)) is not None:
                client.mark_at(symbol, mark)
        symbols = [self._market(params).made.symbol] if params.get("symbol") else list(client.instruments)
        now = ms(self.floor.clock.now_ns())
        rows = [forms.position(client, symbol, now) for symbol in symbols]
        return {"category": "linear", "list": rows, "nextPageCursor": ""}

    def _leverage(self, client: Client, params: Params) -> Any:
        made, told = self._market(params).made, params.get("buyLeverage", "")
        leverage = int(Decimal(told)) if told.replace(".", "").isdigit() else 0
        if told != params.get("sellLeverage") or not 1 <= leverage <= made.max_leverage:
            raise WireError(10001, "params error: leverage invalid", 200)
        if client.leverage[made.symbol] == leverage:
            raise WireError(110043, "leverage not modified", 200)
        client.set_leverage(made.symbol, leverage)
        return {}

    def _margin_mode(self, client: Client, params: Params) -> Any:
        isolated = params.get("setMarginMode") == "ISOLATED_MARGIN"
        if client.isolated != isolated:
            client.set_isolated(isolated=isolated)
        return {"reasons": []}

    def _switch_mode(self, _: Client, params: Params) -> Any:
        if params.get("mode") != "0":
            raise WireError(110029, "hedge mode is not supported on this exchange", 200)
        raise WireError(110025, "Position mode is not modified", 200)

    # ------------------------------------------------------------------ streams

    def hears(self, path: str) -> bool:
        return path.startswith("/v5/")

    def greet(self, stream: Stream, path: str, query: dict[str, str]) -> None:
        """Whose it is says the client by signing."""

    def heard(self, stream: Stream, asked: dict[str, Any]) -> list[Any]:
        """A ping, a signature or a subscription; a book is told whole at once."""
        op, args = asked.get("op"), [str(arg) for arg in asked.get("args") or []]
        reply = {"success": True, "ret_msg": "", "conn_id": "local", "req_id": asked.get("req_id", ""), "op": op}
        if op == "ping":
            return [reply | {"ret_msg": "pong"}]
        if op == "auth":
            return [self._authenticated(stream, args, reply)]
        if op == "unsubscribe":
            stream.names -= set(args)
        elif op == "subscribe":
            stream.names |= set(args)
            self._guard(stream)
        books = [name for name in args if op == "subscribe" and name.startswith("orderbook.")]
        return [reply, *(self._whole(name) for name in books if name.rsplit(".", 1)[-1] in self.floor.markets)]

    def left(self, stream: Stream) -> None:
        """A client's stream is gone: with the dead-man's switch on and nobody else there, its time begins."""
        client = stream.owner
        watching = self._guarded.get(client.key) if client is not None else None
        if client is None or watching is None or stream not in watching:
            return
        watching.discard(stream)
        if not watching and client.key in self._windows:
            due = self.floor.clock.now_ns() + self._windows[client.key] * SECOND
            client.deadlines = dict.fromkeys(client.instruments, due)

    def public_messages(self) -> Iterator[tuple[str, Any]]:
        """Trades, and changes of the book at every depth."""
        for market in self.floor.markets.values():
            symbol, now = market.made.symbol, ms(market.now)
            trades = [forms.public_trade(market.made, trade, "short") for trade in market.new_trades()]
            if trades:
                name = f"publicTrade.{symbol}"
                yield name, {"topic": name, "type": "snapshot", "ts": now, "data": trades}
            changed = market.changes()
            if any(changed.values()):
                market.told = market.update
                sides = {"b": forms.levels(market.made, changed[BID]), "a": forms.levels(market.made, changed[ASK])}
                data = {"s": symbol, **sides, "u": market.update, "seq": market.update}
                for depth in (1, 50, 200, 500, 1000):
                    name = f"orderbook.{depth}.{symbol}"
                    yield name, {"topic": name, "type": "delta", "ts": now, "cts": now, "data": data}

    def private_messages(self, client: Client, told: Told) -> list[Any]:  # noqa: ARG002 - the event says it all
        said: list[Any] = []
        if told.fill is not None:
            said.append(self._topic("execution", told, forms.execution(told.fill)))
        if told.order is not None:
            said.append(self._topic("order", told, forms.order(told.order)))
        return said

    @staticmethod
    def _topic(name: str, told: Told, row: dict[str, Any]) -> dict[str, Any]:
        return {"id": str(told.time), "topic": name, "creationTime": ms(told.time), "data": [row]}

    def _authenticated(self, stream: Stream, args: list[str], reply: dict[str, Any]) -> dict[str, Any]:
        key, expires, signature = (*args, "", "", "")[:3]
        try:
            client = self.floor.clients.get(key)
            if client is None or not expires.isdigit() or int(expires) < self.machine_ms():
                raise WireError(10003, "API key is invalid.")
            _check(client, f"GET/realtime{expires}", signature)
        except WireError as error:
            return reply | {"success": False, "ret_msg": error.message, "ret_code": error.code}
        stream.owner = client
        return reply

    def _guard(self, stream: Stream) -> None:
        """The dead-man's switch watches streams that listen to it; one that is there stops its time."""
        if stream.owner is not None and any(name.startswith("dcp") for name in stream.names):
            self._guarded.setdefault(stream.owner.key, set()).add(stream)
            stream.owner.deadlines.clear()

    def _whole(self, name: str) -> dict[str, Any]:
        market = self.floor.markets[name.rsplit(".", 1)[-1]]
        data, now = forms.book(market, int(name.split(".")[1])), ms(market.now)
        return {"topic": name, "type": "snapshot", "ts": now, "cts": now, "data": data}


def _check(client: Client, text: str, signature: str) -> None:
    right = hmac.new(client.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(right, signature):
        raise WireError(10004, "error sign! please check your signature generation algorithm.", 200)


def _refusal(reason: str) -> WireError:
    for start, code, message in _REFUSALS:
        if reason.startswith(start):
            return WireError(code, message, 200)
    return WireError(10016, f"Server error: {reason}", 200)


def _exact(params: Params, name: str, step: Decimal) -> Decimal:
    """An amount above zero in whole steps."""
    try:
        value = Decimal(params.get(name, ""))
    except InvalidOperation:
        raise WireError(10001, f"params error: {name} invalid", 200) from None
    if not value.is_finite() or value <= 0 or value % step:
        raise WireError(10001, f"{name.capitalize()} invalid", 200)
    return value


def _acknowledged(record: Record) -> dict[str, str]:
    return {"orderId": str(record.number), "orderLinkId": record.wanted.client_id}


def _named(records: list[Record], params: Params) -> list[Record]:
    """Newest first, of one id if it is given."""
    link, numbered = params.get("orderLinkId"), params.get("orderId")
    rows = [r for r in records if link in (None, r.wanted.client_id) and numbered in (None, number(Decimal(r.number)))]
    return rows[::-1]


def _page(params: Params, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A page of at most 100 rows; the cursor is where the next begins."""
    begin, limit = int(params.get("cursor") or 0), min(int(params.get("limit", "50")), 100)
    after = str(begin + limit) if begin + limit < len(rows) else ""
    return {"category": "linear", "list": rows[begin : begin + limit], "nextPageCursor": after}
