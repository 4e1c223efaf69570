"""What Binance's spot and USD-M dialects share: signed requests, refusals, public market data, streams of it.

`server` hands it one request at a time. Amounts are decimal texts, times milliseconds. What differs between the two is
in `binance_usdm` and `binance_spot`. It must never trade: the floor does.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from cryptoai.core.clock import MS
from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import OrderStatus
from cryptoai.core.money import Price, Quantity
from cryptoai.data_universe.events import ASK, BID
from cryptoai.testing.exchange.client import Client, Record, Refused, Told
from cryptoai.testing.exchange.floor import Floor
from cryptoai.testing.exchange.public import PublicMarket, PublicTrade
from cryptoai.testing.exchange.streams import Stream
from cryptoai.testing.exchange.wire import Asked, WireError, ms, number

__all__ = ["Binance", "Route"]

Handler = Callable[..., Any]

_CLIENT_ID = re.compile(r"[.A-Za-z0-9:/_-]{1,36}")
_AHEAD_MS = 1000
_WINDOW_MS = 5000
_LONGEST_WINDOW_MS = 60_000
_OFF = {
    -1013: "Filter failure: ",
    -1111: "Precision is over the maximum defined for this asset.",
    -4014: "Price not increased by tick size.",
}
_STATUSES = {
    OrderStatus.NEW: "NEW",
    OrderStatus.OPEN: "NEW",
    OrderStatus.PARTIAL: "PARTIALLY_FILLED",
    OrderStatus.FILLED: "FILLED",
    OrderStatus.REJECTED: "REJECTED",
}


@dataclass(frozen=True, slots=True)
class Route:
    """`security`: none, key (API key only) or signed."""

    handler: Handler
    weight: int = 1
    security: str = "none"


class Binance(ABC):
    """Base of both dialects. `refusals` are (start of the simulator's sentence, code, Binance's sentence)."""

    prefix = ""
    refusals: tuple[tuple[str, int, str], ...] = ()
    weight_limit = 2400

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.keys: dict[str, Client] = {}
        self._listen = itertools.count(1).__next__
        self.routes: dict[tuple[str, str], Route] = self._public_routes()

    # ------------------------------------------------------------------ requests

    def answer(self, asked: Asked) -> Any:
        """The reply to a request; WireError where Binance refuses."""
        route = self._route(asked)
        client = self._checked(asked, route) if route.security != "none" else None
        try:
            return route.handler(asked.params) if client is None else route.handler(client, asked.params)
        except Refused as refused:
            raise self.refusal(refused.reason) from None
        except (ValueError, ArithmeticError):
            raise WireError(-1100, "Illegal characters found in a parameter.") from None

    def weight(self, asked: Asked) -> int:
        """Units that a request costs."""
        return self._route(asked).weight

    def refusal(self, reason: str) -> WireError:
        """Binance's words for the simulator's."""
        for start, code, message in self.refusals:
            if reason.startswith(start):
                return WireError(code, message)
        return WireError(-1000, f"An unknown error occurred while processing the request: {reason}")

    def error(self, error: WireError) -> Any:
        """Body of a refusal."""
        return {"code": error.code, "msg": error.message}

    def too_many(self, weight_limit: int) -> WireError:
        return WireError(-1003, f"Too many requests; current limit is {weight_limit} request weight per 1 MINUTE.", 429)

    def unavailable(self) -> Any:
        """Body of a 5xx."""
        return {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}

    def _route(self, asked: Asked) -> Route:
        route = self.routes.get((asked.method, asked.path.removeprefix(self.prefix)))
        if route is None:
            raise WireError(-5000, f"Path {asked.path}, Method {asked.method} is invalid", 404)
        return route

    def _checked(self, asked: Asked, route: Route) -> Client:
        """Whose request it is; WireError unless key, time and signature are right."""
        key = asked.headers.get("x-mbx-apikey", "")
        if not key:
            raise WireError(-2014, "API-key format invalid.", 401)
        client = self.floor.clients.get(key)
        if client is None:
            raise WireError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if route.security == "signed":
            self._check_time(asked.params, asked.came)
            self._check_signature(client, asked)
        return client

    @staticmethod
    def _check_time(params: Mapping[str, str], came: int) -> None:
        stamp, window = needed(params, "timestamp"), params.get("recvWindow", str(_WINDOW_MS))
        if not stamp.isdigit() or not window.isdigit() or int(window) > _LONGEST_WINDOW_MS:
            raise WireError(-1131, "recvWindow must be less than 60000")
        if int(stamp) >= came + _AHEAD_MS:
            raise WireError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if came - int(stamp) > int(window):
            raise WireError(-1021, "Timestamp for this request is outside of the recvWindow.")

    @staticmethod
    def _check_signature(client: Client, asked: Asked) -> None:
        told = needed(asked.params, "signature")
        text = asked.signed.replace(f"&signature={told}", "").removeprefix(f"signature={told}&")
        right = hmac.new(client.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right, told):
            raise WireError(-1022, "Signature for this request is not valid.")

    # ------------------------------------------------------------------ public

    def _public_routes(self) -> dict[tuple[str, str], Route]:
        return {
            ("GET", "/ping"): Route(lambda _: {}),
            ("GET", "/time"): Route(lambda _: {"serverTime": self.machine_ms()}),
            ("GET", "/exchangeInfo"): Route(self._exchange_info),
            ("GET", "/depth"): Route(self._depth, 5),
            ("GET", "/trades"): Route(self._trades, 5),
            ("GET", "/aggTrades"): Route(self._agg_trades, 20),
            ("GET", "/ticker/bookTicker"): Route(self._best, 2),
            ("GET", "/ticker/price"): Route(self._last),
        }

    def machine_ms(self) -> int:
        """The venue's clock, with its skew."""
        skew = self.floor.faults.standing("clock_skew")
        return ms(self.floor.clock.machine.now_ns()) + round(1000 * skew.seconds if skew else 0)

    def market(self, params: Mapping[str, str]) -> PublicMarket:
        """The market of `symbol`."""
        symbol = needed(params, "symbol")
        if symbol not in self.floor.markets:
            raise WireError(-1121, "Invalid symbol.")
        return self.floor.markets[symbol]

    @abstractmethod
    def described(self, made: Instrument) -> dict[str, Any]:
        """One market of exchangeInfo."""

    def stamped(self) -> dict[str, Any]:
        """What a depth snapshot carries beside the levels."""
        return {}

    def _exchange_info(self, _: Mapping[str, str]) -> Any:
        weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self.weight_limit}
        symbols = [self.described(market.made) for market in self.floor.markets.values()]
        return {"timezone": "UTC", "serverTime": self.machine_ms(), "rateLimits": [weight], "symbols": symbols}

    def _depth(self, params: Mapping[str, str]) -> Any:
        market = self.market(params)
        limit = int(params.get("limit", "500"))
        sides = {
            name: _levels(market.made, market.levels(side, limit)) for side, name in ((BID, "bids"), (ASK, "asks"))
        }
        return {"lastUpdateId": market.told, **self.stamped(), **sides}

    def _trades(self, params: Mapping[str, str]) -> Any:
        market = self.market(params)
        return [_trade(market.made, trade) for trade in self._newest(market, params)]

    def _agg_trades(self, params: Mapping[str, str]) -> Any:
        market = self.market(params)
        return [
            {"a": t.number, "f": t.number, "l": t.number, "T": ms(t.time), "m": not t.bought, "M": True}
            | {"p": number(market.made.price(t.price)), "q": number(market.made.quantity(t.quantity))}
            for t in self._newest(market, params)
        ]

    @staticmethod
    def _newest(market: PublicMarket, params: Mapping[str, str]) -> list[PublicTrade]:
        return list(market.trades)[-int(params.get("limit", "500")) :]

    def _best(self, params: Mapping[str, str]) -> Any:
        rows = [self._touch(market) for market in self._asked_markets(params)]
        return rows[0] if "symbol" in params else rows

    def _last(self, params: Mapping[str, str]) -> Any:
        rows = [{"symbol": m.made.symbol, "price": number(self._price(m))} for m in self._asked_markets(params)]
        return rows[0] if "symbol" in params else rows

    def _asked_markets(self, params: Mapping[str, str]) -> list[PublicMarket]:
        return [self.market(params)] if "symbol" in params else list(self.floor.markets.values())

    @staticmethod
    def _price(market: PublicMarket) -> Price:
        return market.made.price(market.trades[-1].price if market.trades else 0)

    @staticmethod
    def _touch(market: PublicMarket) -> dict[str, Any]:
        made, row = market.made, {"symbol": market.made.symbol}
        for side, name in ((BID, "bid"), (ASK, "ask")):
            price, quantity = market.best(side) or (0, 0)
            row |= {f"{name}Price": number(made.price(price)), f"{name}Qty": number(made.quantity(quantity))}
        return row

    # ------------------------------------------------------------------ streams

    def listen_key(self, client: Client) -> str:
        """The client's key of its stream; the same while it lasts."""
        known = next((key for key, owner in self.keys.items() if owner is client), None)
        if known is None:
            text = f"{self.floor.venue}|{client.key}|{self._listen()}"
            known = hashlib.sha256(text.encode()).hexdigest()
            self.keys[known] = client
        return known

    @abstractmethod
    def hears(self, path: str) -> bool:
        """Whether a WebSocket at this path is one of this dialect."""

    def greet(self, stream: Stream, path: str, query: dict[str, str]) -> None:
        """A listen key in the address says whose a new stream is."""
        stream.owner = self.keys.get(query.get("listenKey", path.rsplit("/", 1)[-1]))

    def left(self, stream: Stream) -> None:  # noqa: B027 - most dialects keep nothing
        """A stream is gone, and nothing hangs on it."""

    def heard(self, stream: Stream, asked: dict[str, Any]) -> list[Any]:
        """Takes in a subscription; the reply."""
        names = {str(name).partition("@100ms")[0].lower() for name in asked.get("params") or []}
        if asked.get("method") == "SUBSCRIBE":
            stream.names |= names
        elif asked.get("method") == "UNSUBSCRIBE":
            stream.names -= names
        return [{"result": None, "id": asked.get("id")}]

    def public_messages(self) -> Iterator[tuple[str, Any]]:
        """(stream, message) of what changed in the markets since the last call."""
        for market in self.floor.markets.values():
            made, now = market.made, ms(market.now)
            lower, stamps = made.symbol.lower(), {"E": now, "T": now, "s": made.symbol}
            for trade in market.new_trades():
                row: dict[str, Any] = {"p": number(made.price(trade.price)), "q": number(made.quantity(trade.quantity))}
                row |= {"E": now, "T": ms(trade.time), "s": made.symbol, "m": not trade.bought, "X": "MARKET"}
                yield f"{lower}@trade", {"e": "trade", "t": trade.number, **row}
                yield (
                    f"{lower}@aggTrade",
                    {"e": "aggTrade", "a": trade.number, "f": trade.number, "l": trade.number, **row},
                )
            changed = market.changes()
            if any(changed.values()):
                ids = {"U": market.told + 1, "u": market.update, "pu": market.told}
                market.told = market.update
                sides = {"b": _levels(made, changed[BID]), "a": _levels(made, changed[ASK])}
                yield f"{lower}@depth", {"e": "depthUpdate", **stamps, **ids, **sides}
                yield (
                    f"{lower}@bookTicker",
                    {"e": "bookTicker", "u": market.update, **stamps, **self._short_touch(market)},
                )

    def _short_touch(self, market: PublicMarket) -> dict[str, str]:
        row = self._touch(market)
        return {"b": row["bidPrice"], "B": row["bidQty"], "a": row["askPrice"], "A": row["askQty"]}

    @abstractmethod
    def private_messages(self, client: Client, told: Told) -> list[Any]:
        """What the client's stream says of one event."""


def _levels(made: Instrument, levels: list[tuple[int, int]]) -> list[list[str]]:
    return [[number(made.price(price)), number(made.quantity(quantity))] for price, quantity in levels]


def _trade(made: Instrument, trade: PublicTrade) -> dict[str, Any]:
    price, quantity = made.price(trade.price), made.quantity(trade.quantity)
    row = {"id": trade.number, "price": number(price), "qty": number(quantity), "quoteQty": number(price * quantity)}
    return row | {"time": ms(trade.time), "isBuyerMaker": not trade.bought, "isBestMatch": True}


def needed(params: Mapping[str, str], name: str) -> str:
    """A parameter that must be there."""
    if not params.get(name):
        raise WireError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return params[name]


def amount(params: Mapping[str, str], name: str) -> Decimal:
    """A parameter that is a number above zero."""
    try:
        value = Decimal(needed(params, name))
    except InvalidOperation:
        raise WireError(-1100, f"Illegal characters found in parameter '{name}'.") from None
    if not value.is_finite() or value <= 0:
        raise WireError(-4003 if name == "quantity" else -4001, f"{name.capitalize()} less than or equal to zero.")
    return value


def sizes(
    made: Instrument, quantity: Decimal, price: Decimal | None, off_tick: int, off_step: int = -1111
) -> tuple[Quantity, Price | None]:
    """Exact amounts; `off_step` for digits finer than the step, `off_tick` for a price between ticks."""
    if made.quantity(made.lots(Quantity(quantity))).value != quantity:
        raise WireError(off_step, f"{_OFF[off_step]}LOT_SIZE" if off_step == -1013 else _OFF[off_step])
    if price is not None and made.price(made.ticks(Price(price))).value != price:
        raise WireError(off_tick, f"{_OFF[off_tick]}PRICE_FILTER" if off_tick == -1013 else _OFF[off_tick])
    return Quantity(quantity), None if price is None else Price(price)


def client_id(params: Mapping[str, str], fallback: str) -> str:
    """The client's id of a new order."""
    told = params.get("newClientOrderId", fallback)
    if not _CLIENT_ID.fullmatch(told):
        raise WireError(-4015, "Client order id is not valid.")
    return told


def found(client: Client, params: Mapping[str, str], missing: int) -> Record:
    """The order that the parameters name; WireError `missing` if there is none."""
    number_of, client_of = params.get("orderId"), params.get("origClientOrderId")
    if number_of is None and client_of is None:
        raise WireError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    record = client.find(needed(params, "symbol"), int(number_of) if number_of else None, client_of)
    if record is None:
        raise WireError(missing, "Order does not exist." if missing == -2013 else "Unknown order sent.")
    return record


def status_of(record: Record) -> str:
    """Binance's word for where an order stands."""
    if record.status is OrderStatus.CANCELLED:
        return "CANCELED" if record.reason in ("", "cancelled") else "EXPIRED"
    return _STATUSES[record.status]


def since(params: Mapping[str, str]) -> tuple[int, int]:
    """(from, to) in ns of a question about the past."""
    return int(params.get("startTime", "0")) * MS, int(params.get("endTime", str(1 << 50))) * MS
