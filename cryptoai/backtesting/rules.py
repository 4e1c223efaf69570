"""What a real exchange would refuse: one sentence for each filter of the venue, or nothing.

`exchange.Exchange` asks before it takes an order. Pure: it sees the order and a picture of the market, and changes
nothing. The filters are those of Binance's exchangeInfo (PRICE_FILTER, LOT_SIZE, MIN_NOTIONAL, PERCENT_PRICE), which
other venues have too.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import OrderKind, OrderRequest
from cryptoai.core.money import Price

__all__ = ["Picture", "refusal"]


@dataclass(frozen=True, slots=True)
class Picture:
    """The market as the order meets it: the best opposite price (ticks, 0 if none), the mark, and our position."""

    known: bool
    far: int
    mark: Price | None
    held: int
    band: Decimal
    borrow: bool


def refusal(made: Instrument, request: OrderRequest, picture: Picture, time: int) -> str:
    """Why the order is refused, or nothing."""
    lots = made.lots(request.quantity)
    if lots <= 0 or made.quantity(lots) != request.quantity:
        return f"quantity {request.quantity} is not a positive multiple of the step {made.step}"
    for price in (request.price, request.trigger):
        if price is not None and not _on_tick(made, price):
            return f"price {price} is not a positive multiple of the tick {made.tick}"
    if not made.trades_at(time):
        return f"{made.id} is not listed"
    if request.trigger is not None:
        return ""
    if not picture.known:
        return "the book is unknown"
    return _position(made, request, lots, picture) or _price(made, request, picture)


def _on_tick(made: Instrument, price: Price) -> bool:
    ticks = made.ticks(price)
    return ticks > 0 and made.price(ticks) == price


def _position(made: Instrument, request: OrderRequest, lots: int, picture: Picture) -> str:
    held = picture.held
    if request.reduce_only and held * request.side.sign >= 0:
        return "reduce_only: there is no position to reduce"
    short = made.contract is Contract.SPOT and request.side.sign < 0 and lots > held
    if short and not picture.borrow:
        return f"insufficient balance: {made.quantity(held)} {made.base} held"
    return ""


def _price(made: Instrument, request: OrderRequest, picture: Picture) -> str:
    if picture.far == 0 and request.price is None:
        return "nobody stands on the other side"
    price = request.price or made.price(picture.far)
    crosses = picture.far > 0 and request.side.sign * (made.ticks(price) - picture.far) >= 0
    if request.kind is OrderKind.POST_ONLY and crosses:
        return f"post_only: {price} would take"
    worth = made.quote_notional(price, request.quantity)
    if not request.reduce_only and worth < made.min_notional:
        return f"notional {worth} is below the minimum {made.min_notional}"
    return _band(request, picture)


def _band(request: OrderRequest, picture: Picture) -> str:
    """A buyer may not bid far above the mark, nor a seller ask far below it."""
    if request.price is None or picture.mark is None:
        return ""
    edge = picture.mark.times(1 + request.side.sign * picture.band)
    if request.side.sign * (request.price.value - edge.value) <= 0:
        return ""
    return f"price {request.price} is more than {picture.band:%} from the mark {picture.mark}"
