"""Our orders in ccxt's words and back: kinds, exact amounts, client order ids, statuses, fills.

Pure, for every venue that ccxt knows; `ccxt_venue` sends what this makes. Amounts travel as text, so that no digit is
lost, and are refused where ccxt would round them: rounding an order is the judge's business. Ids are translated where a
venue takes other characters than ours, always so that the same order has the same id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cryptoai.core.clock import MS
from cryptoai.core.errors import DataError, VenueError
from cryptoai.core.ids import CLIENT_ORDER_PREFIX
from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import Fill, Liquidation, OrderKind, OrderRequest, OrderStatus, Side
from cryptoai.core.money import Money, Price, Quantity

__all__ = [
    "CcxtOrder",
    "fill_of",
    "liquidation_of",
    "order_of",
    "our_id",
    "request_of",
    "status_of",
    "unfit",
    "wire_id",
]

_OURS = re.compile(re.escape(CLIENT_ORDER_PREFIX) + r"[0-9a-f]{32}")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_OKX = "cai"
_ID_NAMES = {"coinbase": "client_order_id"}
"""What ccxt takes the client's order id by, where it is not clientOrderId: there it would make up one of its own."""
_STATUSES = {
    "open": OrderStatus.OPEN,
    "closed": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELLED,
    "canceling": OrderStatus.OPEN,
    "expired": OrderStatus.CANCELLED,
    "rejected": OrderStatus.REJECTED,
}
_TIMES = {OrderKind.IOC: "IOC", OrderKind.FOK: "FOK"}


@dataclass(frozen=True, slots=True)
class CcxtOrder:
    """The arguments of ccxt's create_order, amounts as text."""

    symbol: str
    type: str
    side: str
    amount: str
    price: str | None
    params: dict[str, Any]


def order_of(
    request: OrderRequest, symbol: str, exchange: str, *, contract: bool, size: Decimal = Decimal(1)
) -> CcxtOrder:
    """What is sent for a request; VenueError for a kind that is never sent to a venue.

    `size` is base units a contract, where the venue counts contracts. Reduce-only exists for contracts alone: on spot a
    sale can only reduce.
    """
    if request.kind.triggered:
        raise VenueError(f"order {request.client_order_id} is a {request.kind}; the bot watches its stops itself")
    params: dict[str, Any] = {_ID_NAMES.get(exchange, "clientOrderId"): wire_id(request.client_order_id, exchange)}
    if request.kind is OrderKind.POST_ONLY:
        params["postOnly"] = True
    elif request.kind in _TIMES:
        params["timeInForce"] = _TIMES[request.kind]
    if request.reduce_only and contract:
        params["reduceOnly"] = True
    market = request.kind is OrderKind.MARKET
    price = None if request.price is None else str(request.price)
    amount = str(Quantity(request.quantity.value / size))
    return CcxtOrder(symbol, "market" if market else "limit", str(request.side), amount, price, params)


def unfit(order: CcxtOrder, client: Any) -> str:
    """Why the venue would not take these amounts, or nothing: digits it does not know, or below its smallest."""
    market = client.market(order.symbol)
    amount = Decimal(order.amount)
    if Decimal(str(client.amount_to_precision(order.symbol, order.amount))) != amount:
        return f"quantity {order.amount} is finer than the venue's step for {order.symbol}"
    if order.price is not None and Decimal(str(client.price_to_precision(order.symbol, order.price))) != Decimal(
        order.price
    ):
        return f"price {order.price} is finer than the venue's tick for {order.symbol}"
    limits = market.get("limits") or {}
    least = (limits.get("amount") or {}).get("min")
    if least is not None and amount < Decimal(str(least)):
        return f"quantity {order.amount} is below the venue's smallest order {least}"
    worth = (limits.get("cost") or {}).get("min")
    exempt = order.price is None or order.params.get("reduceOnly")
    if worth is not None and not exempt and amount * Decimal(str(order.price)) < Decimal(str(worth)):
        return f"notional {amount * Decimal(str(order.price))} is below the venue's minimum {worth}"
    return ""


# ---------------------------------------------------------------------- ids


def wire_id(client_order_id: str, exchange: str) -> str:
    """Our id as the venue takes it: OKX knows letters and digits alone, Kraken hexadecimal ids of 32 digits."""
    if exchange not in ("okx", "kraken", "krakenfutures"):
        return client_order_id
    if not _OURS.fullmatch(client_order_id):
        raise VenueError(f"order id {client_order_id} cannot be written for {exchange}; it is not one of the bot's")
    digits = client_order_id.removeprefix(CLIENT_ORDER_PREFIX)
    return digits if exchange != "okx" else _OKX + _base36(int(digits, 16))


def our_id(wire: str | None, exchange: str) -> str | None:
    """The id of ours that the venue's text stands for; the text itself where it is nobody's of us."""
    if not wire or exchange not in ("okx", "kraken", "krakenfutures"):
        return wire or None
    if exchange == "okx":
        digits = wire.removeprefix(_OKX)
        ours = wire.startswith(_OKX) and len(digits) == 25 and set(digits) <= set(_DIGITS)
        return f"{CLIENT_ORDER_PREFIX}{int(digits, 36):032x}" if ours and int(digits, 36) < 1 << 128 else wire
    return f"{CLIENT_ORDER_PREFIX}{wire}" if re.fullmatch(r"[0-9a-f]{32}", wire) else wire


def _base36(value: int) -> str:
    text = ""
    for _ in range(25):
        value, digit = divmod(value, 36)
        text = _DIGITS[digit] + text
    return text


# ---------------------------------------------------------------------- answers


def status_of(order: Mapping[str, Any]) -> OrderStatus | None:
    """Where ccxt says that an order stands; None if it does not say."""
    status = _STATUSES.get(str(order.get("status")))
    if status is OrderStatus.OPEN and _amount(order, "filled") > 0:
        return OrderStatus.PARTIAL
    return status


def request_of(
    order: Mapping[str, Any], instrument: Instrument, client_order_id: str, size: Decimal = Decimal(1)
) -> OrderRequest:
    """The request that an order at the venue must have been; DataError if it is none of the kinds that we know."""
    price = order.get("price")
    kind = _kind(order)
    try:
        return OrderRequest(
            client_order_id=client_order_id,
            decision=0,
            time=int(order.get("timestamp") or 0) * MS,
            instrument=instrument.id,
            side=Side(str(order["side"])),
            kind=kind,
            quantity=Quantity(_amount(order, "amount") * size),
            price=None if kind is OrderKind.MARKET or price is None else Price(str(price)),
            reduce_only=bool(order.get("reduceOnly")),
        )
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise DataError(f"the venue's order {client_order_id} cannot be read: {error}") from None


def fill_of(
    trade: Mapping[str, Any], request: OrderRequest, instrument: Instrument, known_at: int, size: Decimal = Decimal(1)
) -> Fill:
    """A fill of ours; DataError if the venue's trade cannot be read. Its fee is in the settlement currency."""
    try:
        price, quantity = Price(str(trade["price"])), Quantity(_amount(trade, "amount") * size)
        maker = trade.get("takerOrMaker") == "maker"
        return Fill(
            client_order_id=request.client_order_id,
            fill_id=str(trade["id"]),
            instrument=instrument.id,
            side=request.side,
            price=price,
            quantity=quantity,
            fee=_fee(trade, instrument, price, quantity, maker=maker),
            maker=maker,
            event_time=int(trade["timestamp"]) * MS,
            known_at=known_at,
        )
    except (ValueError, KeyError, TypeError, ArithmeticError, AttributeError) as error:
        raise DataError(f"the venue's trade {trade.get('id')} cannot be read: {error}") from None


def liquidation_of(fill: Fill, reason: str) -> Liquidation:
    """The same trade where the venue's own order made it."""
    return Liquidation(
        instrument=fill.instrument,
        side=fill.side,
        price=fill.price,
        quantity=fill.quantity,
        fee=fill.fee,
        event_time=fill.event_time,
        known_at=fill.known_at,
        reason=reason,
    )


def _kind(order: Mapping[str, Any]) -> OrderKind:
    held = str(order.get("timeInForce") or "GTC")
    if order.get("type") == "market":
        return OrderKind.MARKET
    if order.get("postOnly") or held in ("PO", "GTX"):
        return OrderKind.POST_ONLY
    return {"IOC": OrderKind.IOC, "FOK": OrderKind.FOK}.get(held, OrderKind.LIMIT)


def _amount(record: Mapping[str, Any], name: str) -> Decimal:
    return Decimal(str(record.get(name) or 0))


def _fee(trade: Mapping[str, Any], made: Instrument, price: Price, quantity: Quantity, *, maker: bool) -> Money:
    """What was paid: as told in the settlement currency or in coin, else as the instrument's own rate says."""
    fee = trade.get("fee") or {}
    cost, currency = fee.get("cost"), fee.get("currency")
    if cost is not None and currency == made.settlement:
        return Money(str(cost))
    if cost is not None and currency == made.base:
        return Money(Decimal(str(cost)) * price.value)
    return made.fee(price, quantity, maker=maker)
