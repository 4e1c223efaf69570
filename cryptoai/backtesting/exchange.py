"""One instrument's simulated exchange: order requests reach it in its own time and are answered in its own time.

`venue.SimVenue` puts latency, margin and the risk engine's seal around it; baselines trade on it directly. The rules of
matching are in `matching`, those of candles in `candles`; this module checks what a real exchange would refuse, wakes
stops, lets what the visible book cannot fill pay its impact, and turns numbers into messages.
It must never look at an event later than the time it was advanced to.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.desk import Desk
from cryptoai.backtesting.impact import Impact
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.matching import (
    AHEAD,
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
    add_resting,
    available,
    drop_resting,
    due_watches,
    fill_rest,
    match,
    new_state,
    watch,
)
from cryptoai.backtesting.queue import MODELS
from cryptoai.backtesting.rules import Picture, refusal
from cryptoai.backtesting.settlement import Marks
from cryptoai.backtesting.sources import source_of
from cryptoai.core.instruments import Contract
from cryptoai.core.messages import Fill, Liquidation, OrderKind, OrderRequest, OrderStatus, OrderUpdate, Side
from cryptoai.core.money import Price, Quantity
from cryptoai.data_universe.events import ASK, BID
from cryptoai.data_universe.market_microstructure.book import Book

__all__ = ["Exchange"]

_ORDERS, _TAKEN, _FILLS = 256, 1024, 4096
_IMMEDIATE = (OrderKind.IOC, OrderKind.FOK, OrderKind.MARKET)
_ANY_PRICE = 1 << 61

Answer = OrderUpdate | Fill | Liquidation


@dataclass(slots=True)
class _Order:
    """`row` is that of the kernel's table, -1 if the order never got there; `left` is in steps."""

    request: OrderRequest
    row: int
    left: int
    status: OrderStatus = OrderStatus.NEW
    fills: int = 0


class Exchange:
    """The venue's side of one instrument. Times are the venue's; an answer's `known_at` adds its way back.

    With a `desk` the venue's money, volume and order rate count; without one nobody is short of anything.
    """

    def __init__(self, feed: Feed, assume: Assumptions, desk: Desk | None = None) -> None:
        self._made, self._assume, self._rules, self._desk = feed.instrument, assume, assume.rules, desk
        self._book = Book()
        self._source = source_of(feed, assume.rules)
        self._source.reserve(self._book)
        self._marks = Marks(feed.facts_of("mark"), assume.rules, self._source.moments)
        self._impact = Impact(assume.rules)
        model = MODELS[assume.rules.queue]
        self._state = new_state(_ORDERS, _TAKEN, _FILLS, model, assume.rules.queue_power)
        self._band = Decimal(repr(assume.rules.price_band_pct))
        self._now = 0
        self._orders: dict[str, _Order] = {}
        self._rows: list[_Order] = []
        self._open: dict[str, _Order] = {}
        self._asleep: list[_Order] = []
        self._answers: list[Answer] = []

    # ------------------------------------------------------------------ what is

    @property
    def book(self) -> Book:
        """The venue's own book at the time it was advanced to; read only."""
        return self._book

    @property
    def position(self) -> Quantity:
        return self._made.quantity(int(self._state[0][POSITION]))

    @property
    def busy(self) -> bool:
        """Whether an order waits here."""
        return bool(self._open)

    def mark(self, *, settles: bool = False) -> Price | None:
        """The mark at the time it was advanced to: the tape's while fresh, else the candle's price, else the mid.

        `settles`: as a payment of this moment is settled on.
        """
        told = self._marks.settled(self._now) if settles else self._marks.at(self._now)
        if told is not None:
            return told
        price = self._source.price()
        if price is not None:
            return Price(price)
        bid, ask = self._book.best_bid, self._book.best_ask
        if not self._book.known or not 0 < bid < ask:
            return None
        return (self._made.price(bid) + self._made.price(ask)).times(Decimal("0.5"))

    def next_mark(self) -> int:
        """When the mark is looked at next."""
        return self._marks.next(self._now)

    def open_orders(self) -> list[OrderRequest]:
        """Requests of the orders that wait, oldest first."""
        return [order.request for order in self._open.values()]

    def answers(self) -> list[Answer]:
        """What was said since the last call, in order of time."""
        said, self._answers = self._answers, []
        return said

    # ------------------------------------------------------------------ time

    def advance(self, until_ns: int) -> None:
        """Lives through every event up to and including `until_ns`."""
        while self._asleep and (mark_time := self.next_mark()) <= until_ns:
            self._live(mark_time)
            self._wake_on_mark()
        self._live(until_ns)

    def _live(self, until_ns: int) -> None:
        while self._source.step(self._book, self._state, until_ns, self._hurts()):
            self._now = max(self._now, self._source.now)
            self._settle_step()
        self._now = max(self._now, until_ns)
        self._settle_step()

    def _settle_step(self) -> None:
        self._drain()
        if self._asleep:
            self._wake(set(due_watches(self._state)))

    def _hurts(self) -> int:
        """-1 if a fall hurts us, 1 if a rise does: the position's side, else the opposite of the waiting orders'."""
        held = int(self._state[0][POSITION])
        if held:
            return -1 if held > 0 else 1
        return 1 if sum(order.request.side.sign for order in self._open.values()) > 0 else -1

    # ------------------------------------------------------------------ orders

    def place(self, request: OrderRequest, time_ns: int) -> None:
        """The order arrives; `advance` to `time_ns` first. A known client order id changes nothing."""
        if request.client_order_id in self._orders:
            return
        order = self._orders[request.client_order_id] = _Order(request, -1, self._made.lots(request.quantity))
        refused = self._refusal(request, time_ns)
        if refused:
            self._update(order, OrderStatus.REJECTED, time_ns, refused)
            return
        self._enter(order)
        self._update(order, OrderStatus.OPEN, time_ns)
        if request.trigger is not None:
            self._sleep(order)
        elif request.kind is OrderKind.FOK and (there := self._fillable(order)) < order.left:
            self._update(order, OrderStatus.CANCELLED, time_ns, f"fok: {self._made.quantity(there)} can be had")
        else:
            self._execute(order, time_ns)

    def cancel(self, client_order_id: str, time_ns: int, reason: str = "cancelled") -> bool:
        """A cancel arrives; of an unknown or finished order it changes nothing and is False."""
        order = self._orders.get(client_order_id)
        if order is None or order.row < 0 or order.status.final:
            return False
        drop_resting(self._state, order.row)
        self._forget(order)
        self._update(order, OrderStatus.CANCELLED, time_ns, reason)
        return True

    def replace(self, client_order_id: str, request: OrderRequest, time_ns: int) -> None:
        """Cancels one order and places another in the same moment; if the first is gone the second is rejected.

        Where the venue's rule says so, the same price and no larger quantity keep the place in the queue.
        """
        old = self._orders.get(client_order_id)
        row = old.row if old is not None else -1
        keeps = self._rules.amend_keeps_queue and old is not None and self._fits_in(old, request)
        ahead = int(self._state[1][row, AHEAD]) if keeps else 0
        if not self.cancel(client_order_id, time_ns, f"replaced by {request.client_order_id}"):
            order = self._orders.setdefault(request.client_order_id, _Order(request, -1, 0))
            self._update(order, OrderStatus.REJECTED, time_ns, f"{client_order_id} is not open and cannot be replaced")
            return
        self.place(request, time_ns)
        new = self._orders[request.client_order_id]
        if keeps and new.row >= 0 and not new.status.final:
            orders = self._state[1]
            orders[new.row, AHEAD] = min(int(orders[new.row, AHEAD]), ahead)

    def force_close(self, lots: int, worst_ticks: int, time_ns: int) -> list[tuple[Price, Quantity]]:
        """Closes so many steps of the position at `worst_ticks` or better (0: any price), what the book does not give
        there at `worst_ticks` itself, or the touch: (price, quantity) of each part. The venue tells us, not we."""
        side = Side.SELL if self._state[0][POSITION] > 0 else Side.BUY
        name = f"liquidation-{len(self._rows)}"
        request = OrderRequest(
            client_order_id=name,
            decision=0,
            time=time_ns,
            instrument=self._made.id,
            side=side,
            kind=OrderKind.MARKET,
            quantity=self._made.quantity(lots),
            price=None,
            reduce_only=True,
        )
        order = _Order(request, -1, lots)
        self._enter(order)
        order.status = OrderStatus.FILLED
        if self._book.known:
            match(self._book.arrays, self._state, order.row, self._worst(side, worst_ticks), time_ns)
        if self._state[1][order.row, LEFT] > 0:
            fill_rest(self._state, order.row, worst_ticks or self._touch(side), time_ns)
        return self._parts(order)

    # ------------------------------------------------------------------ inside

    def _refusal(self, request: OrderRequest, time_ns: int) -> str:
        far = self._book.best_ask if request.side is Side.BUY else self._book.best_bid
        mark = self.mark()
        picture = Picture(
            self._book.known, far, mark, int(self._state[0][POSITION]), self._band, self._rules.spot_short
        )
        refused = self._desk.refuse_rate(time_ns) if self._desk is not None else ""
        refused = refused or refusal(self._made, request, picture, time_ns)
        if refused or self._desk is None:
            return refused
        if mark is not None:
            self._desk.account.mark(self._made.id, mark)
        price = request.price or request.trigger or (self._made.price(far) if far else None)
        return self._desk.refuse_margin(request, price, self._opening(request)) if price is not None else ""

    def _opening(self, request: OrderRequest) -> Quantity:
        """How much of the order would enlarge the position, with what waits on its side already."""
        sign, held = request.side.sign, int(self._state[0][POSITION])
        if request.reduce_only:
            return Quantity.zero()
        waiting = (order for order in self._open.values() if order.request.side is request.side)
        ahead = sum(order.left for order in waiting if not order.request.reduce_only)
        lots = self._made.lots(request.quantity)
        closing = max(0, -sign * held)
        return self._made.quantity(max(0, ahead + lots - closing))

    def _execute(self, order: _Order, time_ns: int) -> None:
        request = order.request
        if request.kind is OrderKind.MARKET:
            self._take(order, time_ns, self._edge(request.side))
            return
        if request.kind is not OrderKind.POST_ONLY and request.price is not None:
            match(self._book.arrays, self._state, order.row, self._made.ticks(request.price), time_ns)
        if request.kind not in _IMMEDIATE and self._state[1][order.row, LEFT] > 0:
            add_resting(self._book.arrays, self._state, order.row)
        self._drain()
        if request.kind in _IMMEDIATE and not order.status.final:
            self._update(order, OrderStatus.CANCELLED, time_ns, f"{request.kind}: nothing more to take")

    def _take(self, order: _Order, time_ns: int, edge: int) -> None:
        """A market order: the book down to the price band, then its impact, then the rest is cancelled."""
        if order.request.reduce_only and int(self._state[0][POSITION]) * order.request.side.sign >= 0:
            self._update(order, OrderStatus.CANCELLED, time_ns, "reduce_only: nothing left to reduce")
            return
        match(self._book.arrays, self._state, order.row, self._worst(order.request.side, edge), time_ns)
        self._past_the_book(order, time_ns, edge)
        self._drain()
        if not order.status.final:
            self._update(order, OrderStatus.CANCELLED, time_ns, f"{order.request.kind}: nothing more to take")

    def _past_the_book(self, order: _Order, time_ns: int, edge: int) -> None:
        side = order.request.side.sign
        prices, depths = self._book.top(-side, self._book.count(-side))
        left = int(self._state[1][order.row, LEFT])
        if order.request.reduce_only:
            left = min(left, -side * int(self._state[0][POSITION]))
        if not left or not self._impact.on or not len(prices):
            return
        last = (int(prices[-1]), int(depths.sum()))
        ticks = self._impact.ticks(side, left, last, time_ns, self._source.impact())
        if side * (last[0] - edge) <= 0 and side * (ticks - edge) <= 0:
            fill_rest(self._state, order.row, ticks, time_ns)
            self._impact.took(side, left, time_ns)

    def _fillable(self, order: _Order) -> int:
        """What a fill-or-kill order would get at once."""
        request = order.request
        ticks = self._made.ticks(request.price) if request.price is not None else 0
        side = request.side.sign
        there = int(available(self._book.arrays, self._state, side, self._worst(request.side, ticks)))
        return min(there, -side * int(self._state[0][POSITION])) if self._state[1][order.row, CAP] else there

    def _edge(self, side: Side) -> int:
        """The furthest price of a market order in ticks, by the venue's band around the mark."""
        mark = self.mark()
        if mark is None:
            return _ANY_PRICE if side is Side.BUY else 1
        far = mark.value * (1 + side.sign * self._band) / self._made.tick
        return max(1, int(far.to_integral_value(ROUND_FLOOR if side is Side.BUY else ROUND_CEILING)))

    def _worst(self, side: Side, ticks: int) -> int:
        return ticks if ticks > 0 else (_ANY_PRICE if side is Side.BUY else 1)

    def _touch(self, side: Side) -> int:
        touch = self._book.best_ask if side is Side.BUY else self._book.best_bid
        mark = self.mark()
        return touch or (self._made.ticks(mark) if mark is not None else 1)

    def _fits_in(self, old: _Order, request: OrderRequest) -> bool:
        same = (old.request.side, old.request.price) == (request.side, request.price)
        return same and old.row >= 0 and not old.status.final and self._made.lots(request.quantity) <= old.left

    # ------------------------------------------------------------------ triggers

    def _sleep(self, order: _Order) -> None:
        """Waits for its trigger; one that is reached already goes at once."""
        request = order.request
        upward = request.side.sign if request.kind is OrderKind.STOP else -request.side.sign
        self._asleep.append(order)
        if request.trigger is not None and request.trigger_on == "last":
            watch(self._state, order.row, upward, self._made.ticks(request.trigger))
        else:
            self._wake_on_mark()

    def _wake_on_mark(self) -> None:
        mark, due = self.mark(), set()
        for order in self._asleep if mark is not None else ():
            request = order.request
            upward = request.side.sign if request.kind is OrderKind.STOP else -request.side.sign
            on_mark = request.trigger is not None and request.trigger_on == "mark"
            if on_mark and mark is not None and upward * (mark.value - request.trigger.value) >= 0:  # type: ignore[union-attr]
                due.add(order.row)
        self._wake(due)

    def _wake(self, rows: set[int]) -> None:
        """Sends on what was reached; where the book is unknown, behind the first trade after it is known again."""
        for order in [order for order in self._asleep if order.row in rows]:
            if self._book.known:
                self._forget(order)
                self._take(order, self._now, self._edge(order.request.side))
            else:
                watch(self._state, order.row, 1, 0)

    def _forget(self, order: _Order) -> None:
        self._asleep = [other for other in self._asleep if other is not order]
        watch(self._state, order.row, 0, 0)

    # ------------------------------------------------------------------ answers

    def _enter(self, order: _Order) -> None:
        """Gives the order a row of the kernel's table, which grows as needed."""
        counts, orders, resting, taken, fills, watches, exponent = self._state
        if len(self._rows) == len(orders):
            more = new_state(2 * len(orders), 1, 1)
            more[1][: len(orders)], more[2][: len(orders)], more[5][: len(orders)] = orders, resting, watches
            self._state = (counts, more[1], more[2], taken, fills, more[5], exponent)
        request, made = order.request, self._made
        order.row = len(self._rows)
        self._rows.append(order)
        row = self._state[1][order.row]
        row[SIDE] = BID if request.side is Side.BUY else ASK
        row[PRICE] = 0 if request.price is None else made.ticks(request.price)
        row[LOTS] = row[LEFT] = order.left
        covered = made.contract is Contract.SPOT and request.side is Side.SELL and not self._rules.spot_short
        row[CAP] = int(request.reduce_only or covered)

    def _parts(self, order: _Order) -> list[tuple[Price, Quantity]]:
        """The fills of a forced order, taken out before they become answers of an order of ours."""
        counts, fills = self._state[0], self._state[4]
        count = int(counts[FILLS])
        ours = [row for row in fills[:count].tolist() if row[ORDER] == order.row]
        rest = np.array([row for row in fills[:count].tolist() if row[ORDER] != order.row], np.int64).reshape(-1, 5)
        fills[: len(rest)], counts[FILLS] = rest, len(rest)
        order.left -= sum(row[FILLED] for row in ours)
        return [(self._made.price(row[FILL_PRICE]), self._made.quantity(row[FILLED])) for row in ours]

    def say(self, liquidation: Liquidation) -> None:
        """Puts the venue's word among the answers."""
        self._answers.append(liquidation)
        self._drop_capped(liquidation.event_time)

    def _drain(self) -> None:
        """Turns the kernel's fills into messages."""
        counts, fills = self._state[0], self._state[4]
        count = int(counts[FILLS])
        for row in fills[:count]:
            self._filled(*(int(row[column]) for column in (ORDER, FILL_PRICE, FILLED, MAKER, TIME)))
        counts[FILLS] = 0
        if count:
            self._drop_capped(int(fills[count - 1, TIME]))

    def _filled(self, row: int, ticks: int, lots: int, maker: int, time_ns: int) -> None:
        order, made = self._rows[row], self._made
        price, quantity = made.price(ticks), made.quantity(lots)
        volume = self._desk.volume(time_ns) if self._desk is not None else None
        order.fills += 1
        order.left -= lots
        fill = Fill(
            client_order_id=order.request.client_order_id,
            fill_id=f"{order.request.client_order_id}-{order.fills}",
            instrument=made.id,
            side=order.request.side,
            price=price,
            quantity=quantity,
            fee=made.fee(price, quantity, maker=maker == 1, volume=volume),
            maker=maker == 1,
            event_time=time_ns,
            known_at=self._assume.latency.known(time_ns),
        )
        if self._desk is not None:
            self._desk.took(fill)
        self._answers.append(fill)
        order.status = OrderStatus.PARTIAL
        if order.left == 0:
            self._update(order, OrderStatus.FILLED, time_ns)

    def _drop_capped(self, time_ns: int) -> None:
        """Cancels resting orders that may only reduce, once there is nothing left to reduce."""
        counts, orders, resting = self._state[:3]
        for row in [int(r) for r in resting[: int(counts[RESTING])]]:
            if orders[row, CAP] == 1 and orders[row, SIDE] * counts[POSITION] >= 0:
                drop_resting(self._state, row)
                self._update(self._rows[row], OrderStatus.CANCELLED, time_ns, "reduce_only: nothing left to reduce")

    def _update(self, order: _Order, status: OrderStatus, time_ns: int, reason: str = "") -> None:
        order.status = status
        if status.final:
            self._open.pop(order.request.client_order_id, None)
        elif order.row >= 0:
            self._open[order.request.client_order_id] = order
        self._answers.append(
            OrderUpdate(
                client_order_id=order.request.client_order_id,
                instrument=self._made.id,
                status=status,
                event_time=time_ns,
                known_at=self._assume.latency.known(time_ns),
                reason=reason,
            )
        )
