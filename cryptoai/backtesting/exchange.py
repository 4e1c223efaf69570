"""One instrument's simulated exchange: order requests reach it in its own time and are answered in its own time.

`venue.SimVenue` puts latency and the risk engine's seal around it; baselines trade on it directly. The rules of
matching are in `matching`; this module checks what a real exchange would refuse, and turns numbers into messages.
It must never look at an event later than the time it was advanced to.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptoai.backtesting.matching import (
    CAP,
    FILL_PRICE,
    FILLED,
    FILLS,
    LEFT,
    LOTS,
    MAKER,
    ORDER,
    POSITION,
    PRICE,
    RESTING,
    SIDE,
    TIME,
    Tape,
    add_resting,
    drop_resting,
    match,
    new_state,
    replay,
)
from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import Fill, OrderKind, OrderRequest, OrderStatus, OrderUpdate
from cryptoai.core.money import Price, Quantity
from cryptoai.data_universe.events import ASK, BID, EventArray
from cryptoai.data_universe.market_microstructure.book import Book

__all__ = ["Exchange"]

_ORDERS, _TAKEN, _FILLS = 256, 1024, 4096
_IMMEDIATE = (OrderKind.IOC, OrderKind.MARKET)


@dataclass(slots=True)
class _Order:
    """`row` is that of the kernel's table, -1 if the order never got there; `left` is in steps."""

    request: OrderRequest
    row: int
    left: int
    status: OrderStatus = OrderStatus.NEW
    fills: int = 0


class Exchange:
    """The venue's side of one instrument. Times are the venue's; answers carry `latency_ns` on top as `known_at`.

    `tape` is `matching.exchange_order(events)`; it may be shared between exchanges, the book and the orders are not.
    Inverse contracts are refused: the account has no exact money for them.
    """

    def __init__(self, instrument: Instrument, events: EventArray, tape: Tape, latency_ns: int) -> None:
        if instrument.contract is Contract.INVERSE:
            raise DataError(f"{instrument.id} is an inverse contract, which the simulated venue does not settle")
        self._instrument, self._tape, self._latency = instrument, tape, latency_ns
        self._book = Book()
        self._book.reserve(events)
        self._state = new_state(_ORDERS, _TAKEN, _FILLS)
        self._next = 0
        self._orders: dict[str, _Order] = {}
        self._rows: list[_Order] = []
        self._answers: list[OrderUpdate | Fill] = []

    @property
    def book(self) -> Book:
        """The venue's own book at the time it was advanced to; read only."""
        return self._book

    @property
    def position(self) -> Quantity:
        return self._instrument.quantity(int(self._state[0][POSITION]))

    def advance(self, until_ns: int) -> None:
        """Lives through every event up to and including `until_ns`."""
        while True:
            self._next = replay(self._book.arrays, self._tape, self._next, until_ns, self._state)
            drained = self._drain()
            if not drained or self._next >= len(self._tape[0]):
                return

    def place(self, request: OrderRequest, time_ns: int) -> None:
        """The order arrives; `advance` to `time_ns` first. A known client order id changes nothing."""
        if request.client_order_id in self._orders:
            return
        order = self._orders[request.client_order_id] = _Order(request, -1, self._instrument.lots(request.quantity))
        refusal = self._refusal(request)
        if refusal:
            self._update(order, OrderStatus.REJECTED, time_ns, refusal)
            return
        self._enter(order)
        self._update(order, OrderStatus.OPEN, time_ns)
        worst = 0 if request.price is None else self._instrument.ticks(request.price)
        if request.kind is not OrderKind.POST_ONLY:
            match(self._book.arrays, self._state, order.row, worst, time_ns)
        if request.kind not in _IMMEDIATE and self._state[1][order.row, LEFT] > 0:
            add_resting(self._book.arrays, self._state, order.row)
        self._drain()
        if request.kind in _IMMEDIATE and not order.status.final:
            self._update(order, OrderStatus.CANCELLED, time_ns, f"{request.kind}: nothing more to take")

    def cancel(self, client_order_id: str, time_ns: int) -> None:
        """A cancel arrives; of an unknown or finished order it changes nothing."""
        order = self._orders.get(client_order_id)
        if order is not None and order.row >= 0 and drop_resting(self._state, order.row):
            self._update(order, OrderStatus.CANCELLED, time_ns, "cancelled")

    def answers(self) -> list[OrderUpdate | Fill]:
        """What was said since the last call, in order of time."""
        said, self._answers = self._answers, []
        return said

    def open_orders(self) -> list[OrderRequest]:
        """Requests of the orders that rest in the book, oldest first."""
        return [order.request for order in self._rows if not order.status.final]

    def _refusal(self, request: OrderRequest) -> str:
        """Why a real exchange would refuse the order, or nothing."""
        made, lots = self._instrument, self._instrument.lots(request.quantity)
        if lots <= 0 or made.quantity(lots) != request.quantity:
            return f"quantity {request.quantity} is not a positive multiple of the step {made.step}"
        if request.price is not None and not self._on_tick(request.price):
            return f"price {request.price} is not a positive multiple of the tick {made.tick}"
        if not self._book.known:
            return "the book is unknown"
        return self._refused_position(request, lots) or self._refused_price(request)

    def _on_tick(self, price: Price) -> bool:
        ticks = self._instrument.ticks(price)
        return ticks > 0 and self._instrument.price(ticks) == price

    def _refused_position(self, request: OrderRequest, lots: int) -> str:
        held = int(self._state[0][POSITION])
        if request.reduce_only and held * request.side.sign >= 0:
            return "reduce_only: there is no position to reduce"
        if self._instrument.contract is Contract.SPOT and request.side.sign < 0 and lots > held:
            return f"insufficient balance: {self.position} {self._instrument.base} held"
        return ""

    def _refused_price(self, request: OrderRequest) -> str:
        far = self._book.best_ask if request.side.sign > 0 else self._book.best_bid
        if far == 0 and request.price is None:
            return "nobody stands on the other side"
        price = request.price or self._instrument.price(far)
        crosses = far > 0 and request.side.sign * (self._instrument.ticks(price) - far) >= 0
        if request.kind is OrderKind.POST_ONLY and crosses:
            return f"post_only: {price} would take"
        if not request.reduce_only and price * request.quantity < self._instrument.min_notional:
            return f"notional {price * request.quantity} is below the minimum {self._instrument.min_notional}"
        return ""

    def _enter(self, order: _Order) -> None:
        """Gives the order a row of the kernel's table, which grows as needed."""
        counts, orders, resting, taken, fills = self._state
        if len(self._rows) == len(orders):
            more = new_state(2 * len(orders), 1, 1)
            more[1][: len(orders)], more[2][: len(orders)] = orders, resting
            self._state = (counts, more[1], more[2], taken, fills)
        request, made = order.request, self._instrument
        order.row = len(self._rows)
        self._rows.append(order)
        row = self._state[1][order.row]
        row[SIDE] = BID if request.side.sign > 0 else ASK
        row[PRICE] = 0 if request.price is None else made.ticks(request.price)
        row[LOTS] = row[LEFT] = order.left
        spot_sale = made.contract is Contract.SPOT and request.side.sign < 0
        row[CAP] = int(request.reduce_only or spot_sale)

    def _drain(self) -> bool:
        """Turns the kernel's fills into messages; False if there was none."""
        counts, _, _, _, fills = self._state
        count = int(counts[FILLS])
        for row in fills[:count]:
            self._filled(*(int(row[column]) for column in (ORDER, FILL_PRICE, FILLED, MAKER, TIME)))
        counts[FILLS] = 0
        if count:
            self._drop_capped(int(fills[count - 1, TIME]))
        return count > 0

    def _filled(self, row: int, ticks: int, lots: int, maker: int, time_ns: int) -> None:
        order, made = self._rows[row], self._instrument
        price, quantity = made.price(ticks), made.quantity(lots)
        order.fills += 1
        order.left -= lots
        self._answers.append(
            Fill(
                client_order_id=order.request.client_order_id,
                fill_id=f"{order.request.client_order_id}-{order.fills}",
                instrument=made.id,
                side=order.request.side,
                price=price,
                quantity=quantity,
                fee=made.fee(price, quantity, maker=maker == 1),
                maker=maker == 1,
                event_time=time_ns,
                known_at=time_ns + self._latency,
            )
        )
        order.status = OrderStatus.PARTIAL
        if order.left == 0:
            self._update(order, OrderStatus.FILLED, time_ns)

    def _drop_capped(self, time_ns: int) -> None:
        """Cancels resting orders that may only reduce, once there is nothing left to reduce."""
        counts, orders, resting, _, _ = self._state
        for row in [int(r) for r in resting[: int(counts[RESTING])]]:
            if orders[row, CAP] == 1 and orders[row, SIDE] * counts[POSITION] >= 0:
                drop_resting(self._state, row)
                self._update(self._rows[row], OrderStatus.CANCELLED, time_ns, "reduce_only: nothing left to reduce")

    def _update(self, order: _Order, status: OrderStatus, time_ns: int, reason: str = "") -> None:
        order.status = status
        self._answers.append(
            OrderUpdate(
                client_order_id=order.request.client_order_id,
                instrument=self._instrument.id,
                status=status,
                event_time=time_ns,
                known_at=time_ns + self._latency,
                reason=reason,
            )
        )
