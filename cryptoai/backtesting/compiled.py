"""The compiled tier: a strategy as a numba function, or as a Python callback, over the same matching rules.

For research that needs millions of rows a second: parameter scans, market making. `Session` holds one instrument's two
worlds: the exchange, which lives its tape in the exchange's order, and the desk, which knows each row when it became
known, and each answer when it came back. A strategy sees the desk only; what it sends reaches the exchange later.

    session = Session(prepare(events), Delays(10_000_000, 10_000_000))
    session.run(my_njit_strategy, params, every_ns=100_000_000)          # compiled
    while session.elapse(100_000_000): ...session.submit(...)            # Python callback

Nothing here passes the judge: it is no way to a venue and no evidence for a gate, those come from `run_backtest`. Money
is left to `fills`, in whole ticks and steps. The queue is that of `matching`: pessimistic unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

from cryptoai.backtesting.matching import (
    FILL_PRICE,
    FILLED,
    FILLS,
    LEFT,
    LOTS,
    MAKER,
    ORDER,
    PRICE,
    SIDE,
    TIME,
    State,
    Tape,
    add_resting,
    drop_resting,
    exchange_order,
    match,
    new_state,
    replay,
)
from cryptoai.backtesting.queue import FIFO
from cryptoai.core.errors import DataError
from cryptoai.data_universe.events import QUOTE, EventArray, Ints
from cryptoai.data_universe.jit import lean
from cryptoai.data_universe.market_microstructure.book import Arrays, Book, book_apply_row, book_best, book_known

__all__ = [
    "ASK_KIND",
    "IOC",
    "LIMIT",
    "MARKET",
    "POST_ONLY",
    "Delays",
    "Desk",
    "Session",
    "Tapes",
    "cancel",
    "open_lots",
    "order_price",
    "prepare",
    "submit",
]

LIMIT, POST_ONLY, IOC, MARKET = range(4)
"""Kinds of an order."""
ASK_KIND, ASK_STATUS, ASK_SIDE, ASK_PRICE, ASK_LEFT, ASK_ID = range(6)
"""Columns of `Desk.orders`, as the desk knows them."""
FREE, SENT, WORKING, CANCELLING = range(4)
"""Status of an order as the desk knows it; a finished one is free."""

(
    NOW, HELD, OUT, IN, SAID, HEARD, SUBMITTED, CANCELS, REJECTED, FREED, NEXT, LOCAL, DELAY_OUT, DELAY_BACK,
    FILLED_COUNT,
) = range(15)  # fmt: skip
"""Cells of `Desk.cells`: time, position in steps as known; ends of the wire to the exchange and of its answers, counted
and not wrapped; what was done so far; the number of free rows; where the two tapes are read; the delays; fills so far.
"""

WIRE_TIME, WIRE_ROW, WIRE_LOTS = range(3)
SAID_TIME, SAID_ROW, SAID_LOTS = range(3)
_SLOTS, _WIRE, _ANSWERS, _FAR = 1 << 10, 1 << 12, 1 << 14, 1 << 62


class Delays(NamedTuple):
    """One-way delays in ns: of an order to the exchange, of its answer back."""

    out_ns: int
    back_ns: int


class Tapes(NamedTuple):
    """The same rows twice: as the exchange lived them, and as they became known (54 bytes a row)."""

    exchange: Tape
    known: Tape


class Desk(NamedTuple):
    """What a strategy has: its own view of the book, its orders, and the wire. Read the book with `book_best` and
    friends; `cells[NOW]` is the time, `cells[HELD]` the position in steps."""

    book: Arrays
    cells: Ints
    orders: Ints
    wire: Ints
    answers: Ints
    free: Ints


class World(NamedTuple):
    """Everything that `elapse` moves forward."""

    desk: Desk
    book: Arrays
    state: State
    exchange: Tape
    known: Tape
    fills: Ints


def prepare(events: EventArray) -> Tapes:
    """The columns in both orders, without the best-quote rows, which change no book; events without any are shared."""
    keep, rows = events.kind != QUOTE, events
    if not keep.all():
        rows = EventArray(*(getattr(events, name)[keep] for name in events.__dataclass_fields__))
    return Tapes(exchange_order(rows), (rows.known_at, rows.kind, rows.side, rows.last, rows.price, rows.qty))


@lean
def submit(desk: Desk, side: int, price: int, lots: int, kind: int) -> int:
    """Sends an order; its id (never given twice), or -1 where there is no room for it. Price in ticks, 0 for MARKET."""
    cells, orders = desk.cells, desk.orders
    if cells[FREED] == 0 or cells[OUT] - cells[IN] >= len(desk.wire) or lots <= 0:
        return -1
    cells[FREED] -= 1
    cells[SUBMITTED] += 1
    row = desk.free[cells[FREED]]
    order = cells[SUBMITTED] * len(orders) + row
    orders[row, ASK_KIND], orders[row, ASK_STATUS], orders[row, ASK_ID] = kind, SENT, order
    orders[row, ASK_SIDE], orders[row, ASK_PRICE], orders[row, ASK_LEFT] = side, price, lots
    _send(desk, row, lots)
    return int(order)


@lean
def cancel(desk: Desk, order: int) -> bool:
    """Asks for a cancel, once; False if the order is not open, is being cancelled, or the wire has no room."""
    row = _row(desk, order)
    if row < 0 or desk.orders[row, ASK_STATUS] == CANCELLING or desk.cells[OUT] - desk.cells[IN] >= len(desk.wire):
        return False
    desk.orders[row, ASK_STATUS] = CANCELLING
    _send(desk, row, 0)
    desk.cells[CANCELS] += 1
    return True


@lean
def open_lots(desk: Desk, order: int) -> int:
    """What of an order is not filled as far as the desk knows; 0 once it is finished."""
    row = _row(desk, order)
    return int(desk.orders[row, ASK_LEFT]) if row >= 0 else 0


@lean
def order_price(desk: Desk, order: int) -> int:
    """In ticks; 0 once the order is finished."""
    row = _row(desk, order)
    return int(desk.orders[row, ASK_PRICE]) if row >= 0 else 0


@lean
def _row(desk: Desk, order: int) -> int:
    """Where an open order is kept, -1 if it is not: rows are used again, ids are not."""
    row = order & (len(desk.orders) - 1)
    return row if order >= 0 and desk.orders[row, ASK_ID] == order and desk.orders[row, ASK_STATUS] != FREE else -1


@lean
def _send(desk: Desk, row: int, lots: int) -> None:
    cells, at = desk.cells, desk.cells[OUT] & (len(desk.wire) - 1)
    desk.wire[at, WIRE_TIME], desk.wire[at, WIRE_ROW] = cells[NOW] + cells[DELAY_OUT], row
    desk.wire[at, WIRE_LOTS] = lots
    cells[OUT] += 1


@lean
def elapse(world: World, until: int) -> None:
    """Brings exchange and desk to `until`: arrivals and answers each in their own time."""
    desk, cells, time = world.desk, world.desk.cells, world.exchange[0]
    while True:
        waiting = cells[OUT] > cells[IN]
        arrival = desk.wire[cells[IN] & (len(desk.wire) - 1), WIRE_TIME] if waiting else _FAR
        stop = min(until, arrival)
        cells[NEXT] = replay(world.book, world.exchange, cells[NEXT], stop, world.state)
        _say_fills(world)
        if cells[NEXT] < len(time) and time[cells[NEXT]] <= stop:
            continue
        if arrival > until:
            break
        _arrive(world, arrival)
    _learn(world, until)
    cells[NOW] = until


@lean
def _arrive(world: World, now: int) -> None:
    """The oldest message on the wire: a new order, or a cancel where its quantity is 0."""
    desk, state = world.desk, world.state
    at = desk.cells[IN] & (len(desk.wire) - 1)
    desk.cells[IN] += 1
    row, lots = desk.wire[at, WIRE_ROW], desk.wire[at, WIRE_LOTS]
    if lots == 0:
        if drop_resting(state, row):
            _say(desk, now, row, 0)
        return
    orders, kind = state[1], desk.orders[row, ASK_KIND]
    side, price = desk.orders[row, ASK_SIDE], desk.orders[row, ASK_PRICE]
    orders[row] = 0
    orders[row, SIDE], orders[row, PRICE], orders[row, LOTS], orders[row, LEFT] = side, price, lots, lots
    far = book_best(world.book, -side)
    crosses = far > 0 and side * (price - far) >= 0
    if not book_known(world.book) or (kind == POST_ONLY and crosses):
        desk.cells[REJECTED] += 1
        _say(desk, now, row, 0)
        return
    if kind == MARKET or (kind != POST_ONLY and crosses):
        match(world.book, state, row, 0 if kind == MARKET else price, now)
        _say_fills(world)
    if orders[row, LEFT] > 0:
        if kind in (IOC, MARKET):
            _say(desk, now, row, 0)
        else:
            add_resting(world.book, state, row)


@lean
def _say(desk: Desk, now: int, row: int, lots: int) -> None:
    """The exchange's answer: a fill of so many steps, or with 0 the end of the order."""
    at = desk.cells[SAID] & (len(desk.answers) - 1)
    desk.answers[at, SAID_TIME], desk.answers[at, SAID_ROW] = now + desk.cells[DELAY_BACK], row
    desk.answers[at, SAID_LOTS] = lots
    desk.cells[SAID] += 1


@lean
def _say_fills(world: World) -> None:
    """Empties the matching kernel's list of fills into answers and the blotter."""
    counts, orders, filled, cells = world.state[0], world.state[1], world.state[4], world.desk.cells
    for n in range(counts[FILLS]):
        row, lots, at = filled[n, ORDER], filled[n, FILLED], cells[FILLED_COUNT]
        _say(world.desk, filled[n, TIME], row, lots)
        if at < len(world.fills):
            world.fills[at, 0], world.fills[at, 1] = filled[n, TIME], orders[row, SIDE]
            world.fills[at, 2], world.fills[at, 3] = filled[n, FILL_PRICE], lots
            world.fills[at, 4] = filled[n, MAKER]
        cells[FILLED_COUNT] += 1
    counts[FILLS] = 0


@lean
def _learn(world: World, until: int) -> None:
    """The desk's own news by `until`: the rows of the tape, then the answers."""
    time, kind, side, _, price, qty = world.known
    desk, cells = world.desk, world.desk.cells
    at = cells[LOCAL]
    while at < len(time) and time[at] <= until:
        book_apply_row(desk.book, kind[at], side[at], price[at], qty[at])
        at += 1
    cells[LOCAL] = at
    while cells[HEARD] < cells[SAID]:
        news = desk.answers[cells[HEARD] & (len(desk.answers) - 1)]
        if news[SAID_TIME] > until:
            break
        cells[HEARD] += 1
        _hear(desk, news[SAID_ROW], news[SAID_LOTS])


@lean
def _hear(desk: Desk, row: int, lots: int) -> None:
    orders, cells = desk.orders, desk.cells
    cells[HELD] += orders[row, ASK_SIDE] * lots
    orders[row, ASK_LEFT] -= lots
    if lots == 0 or orders[row, ASK_LEFT] == 0:
        orders[row, ASK_STATUS] = FREE
        desk.free[cells[FREED]] = row
        cells[FREED] += 1
    elif orders[row, ASK_STATUS] == SENT:
        orders[row, ASK_STATUS] = WORKING


class Session:
    """One instrument, one strategy, from the tape's first row on.

    `fills` are int64[n, 5]: exchange time ns, side, price in ticks, steps, maker. DataError if the strategy filled more
    often than `max_fills`, or had more answers under way than there is room for.
    """

    def __init__(self, tapes: Tapes, delays: Delays, *, queue: int = FIFO, max_fills: int | None = None) -> None:
        if not len(tapes.known[0]) or min(delays) < 0:
            raise DataError("a session needs a tape with rows and delays of 0 ns or more")
        cells = np.zeros(15, np.int64)
        cells[[FREED, DELAY_OUT, DELAY_BACK]] = _SLOTS, delays.out_ns, delays.back_ns
        top = int(tapes.known[4].max())
        mine, theirs = Book(top + 1), Book(top + 1)
        desk = Desk(
            mine.arrays,
            cells,
            np.zeros((_SLOTS, 6), np.int64),
            np.zeros((_WIRE, 3), np.int64),
            np.zeros((_ANSWERS, 3), np.int64),
            np.arange(_SLOTS)[::-1].copy(),
        )
        room = max_fills or len(tapes.known[0]) // 8 + 4096
        state = new_state(_SLOTS, _SLOTS, _SLOTS * 2, queue)
        self.world = World(desk, theirs.arrays, state, tapes.exchange, tapes.known, np.zeros((room, 5), np.int64))
        self._books, self._orders, self._cells = (mine, theirs), desk.orders, cells
        self.end = int(max(tapes.known[0][-1], tapes.exchange[0][-1]))
        cells[NOW] = int(min(tapes.known[0][0], tapes.exchange[0][0]))

    def run(self, strategy: Callable[[Desk, Any], None], params: Any, every_ns: int) -> None:
        """Calls the njit function `strategy(desk, params)` every `every_ns` until the tape ends; `params` is any tuple
        or array that numba knows."""
        entry = _through_pointer(strategy, self.world.desk, params, self.world)
        entry(self.world, params, every_ns, self.end, strategy)
        self._check()

    def elapse(self, duration_ns: int) -> bool:
        """Lets time pass; False once the tape has ended."""
        now = self.now + duration_ns
        elapse(self.world, min(now, self.end))
        self._check()
        return now < self.end

    def submit(self, side: int, price: int, lots: int, kind: int = LIMIT) -> int:
        """As the compiled `submit`."""
        return int(submit(self.world.desk, side, price, lots, kind))

    def cancel(self, order: int) -> bool:
        """As the compiled `cancel`."""
        return bool(cancel(self.world.desk, order))

    @property
    def now(self) -> int:
        return self._cells.item(NOW)

    @property
    def position(self) -> int:
        """In steps, as the desk knows it."""
        return self._cells.item(HELD)

    @property
    def best(self) -> tuple[int, int]:
        """Best bid and ask in ticks as the desk knows them, 0 where there is none."""
        state = self.world.desk.book[0]
        return state.item(0), state.item(1)

    @property
    def book(self) -> Book:
        """The desk's book; read only."""
        return self._books[0]

    @property
    def actions(self) -> int:
        """Orders and cancels sent."""
        return int(self.world.desk.cells[SUBMITTED] + self.world.desk.cells[CANCELS])

    @property
    def rejected(self) -> int:
        return int(self.world.desk.cells[REJECTED])

    @property
    def fills(self) -> Ints:
        """int64[n, 5]: exchange time ns, side, price in ticks, steps, maker."""
        return self.world.fills[: self.world.desk.cells[FILLED_COUNT]]

    def open_lots(self, order: int) -> int:
        """As the compiled `open_lots`."""
        row = self._row(order)
        return self._orders.item(row, ASK_LEFT) if row >= 0 else 0

    def order_price(self, order: int) -> int:
        """As the compiled `order_price`."""
        row = self._row(order)
        return self._orders.item(row, ASK_PRICE) if row >= 0 else 0

    def _row(self, order: int) -> int:
        """As the compiled `_row`; read here, because handing the desk to compiled code costs more than reading it."""
        orders, row = self._orders, order & (_SLOTS - 1)
        return row if order >= 0 and orders.item(row, ASK_ID) == order and orders.item(row, ASK_STATUS) else -1

    def _check(self) -> None:
        cells = self._cells
        if cells.item(FILLED_COUNT) > len(self.world.fills):
            raise DataError(f"{cells[FILLED_COUNT]} fills are more than max_fills {len(self.world.fills)}; raise it")
        if cells.item(SAID) - cells.item(HEARD) > _ANSWERS:
            raise DataError("more answers were under way than a session keeps; send fewer orders or lower the delay")


@lean
def _loop(world: World, params: Any, every: int, end: int, strategy: Any) -> None:
    now = world.desk.cells[NOW]
    while now < end:
        now = min(now + every, end)
        elapse(world, now)
        if now < end:
            strategy(world.desk, params)


def _through_pointer(strategy: Any, desk: Desk, params: Any, world: World) -> Callable[..., None]:
    """`_loop` for a strategy that it calls by address: so the loop comes from the disk cache, whatever the strategy."""
    kind: Any = numba.typeof
    compiled: Any = _loop
    signature = types.void(kind(desk), kind(params))
    strategy.compile(signature)
    kinds = (kind(world), kind(params), types.int64, types.int64, types.FunctionType(signature))
    entry: Callable[..., None] = compiled.compile(kinds)
    return entry
