"""The matching rules of the simulated exchange, compiled: one instrument's events in, fills of our orders out.

`exchange.Exchange` is its only caller; everything but a queue model's exponent is whole ticks, steps and nanoseconds.
The rules, pessimistic wherever the tape does not say:

Taking. An order walks the opposite side level by level. What it takes of a level stays taken until the tape sets that
level anew, so two of our orders never take the same displayed quantity. The tape itself does not react to us.

Queue. A resting order stands behind everything displayed at its price when it arrives (`ahead`). A trade at its price
by the opposite aggressor first shortens `ahead`, what is left over fills us: 100 ahead, trades of 80, 30 and 50 fill
an order of 50 with 0, 10 and 40. Quantity that joins the level stands behind us. Quantity that leaves it without a
trade is divided by the queue model (`queue`). A trade beyond our price proves that our level was eaten up: `ahead`
becomes 0 and the trade fills us. Where after a whole message the opposite side stands at or beyond our price, its
displayed quantity fills us at our price. A traded unit and a displayed unit each fill us once, over all of our orders.

Unknown book. From a GAP to the next CLEAR nothing can be taken; resting orders keep `ahead` and fill by trades only.

Triggers. A trade that reaches a watched price stops the replay behind it, so that the caller can act at that moment.

Ties. Events of a nanosecond come before an order that arrives in it. Our own orders never trade with each other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryptoai.backtesting.queue import FIFO, TOUCH, left_in_front
from cryptoai.data_universe.events import ASK, BID, CLEAR, GAP, LEVEL, TRADE, Bytes, EventArray, Ints
from cryptoai.data_universe.jit import lean
from cryptoai.data_universe.market_microstructure.book import (
    Arrays,
    book_apply_row,
    book_behind,
    book_best,
    book_count,
    book_known,
    book_qty,
)

__all__ = [
    "AHEAD",
    "CAP",
    "FILLED",
    "FILLS",
    "FILL_PRICE",
    "LEFT",
    "LOTS",
    "MAKER",
    "MODEL",
    "ORDER",
    "POSITION",
    "PRICE",
    "RESTING",
    "SIDE",
    "TIME",
    "WATCHES",
    "State",
    "Tape",
    "add_resting",
    "available",
    "drop_resting",
    "due_watches",
    "exchange_order",
    "fill_rest",
    "match",
    "new_state",
    "replay",
    "watch",
]

Tape = tuple[Ints, Bytes, Bytes, Bytes, Ints, Ints]
"""(time int64[n], kind, side, last int8[n], price, qty int64[n]) in the exchange's order."""

SIDE, PRICE, LOTS, LEFT, AHEAD, CAP, TRADED = range(7)
"""Columns of `orders`; LEFT is what is not filled yet; CAP is 1 if fills may only shrink the position; TRADED is what
traded at its price since the level was last set."""

ORDER, FILL_PRICE, FILLED, MAKER, TIME = range(5)
"""Columns of `fills`."""

RESTING, TAKEN, FILLS, POSITION, SNAPSHOT, WATCHES, MODEL = range(7)
"""Cells of `counts`: lengths of lists, our position in steps, whether a snapshot is under way, and the queue model."""

WATCHED, UPWARD, TRIGGER, DUE = range(4)
"""Columns of `watches`: the order, 1 if prices at or above TRIGGER reach it and -1 if those at or below, and whether
one has."""

State = tuple[Ints, Ints, Ints, Ints, Ints, Ints, npt.NDArray[np.float64]]
"""(counts int64[7], orders int64[k, 7], resting int64[k], taken int64[m, 3], fills int64[f, 5], watches int64[w, 4],
exponent float64[1] of the queue model).

`resting` lists rows of `orders` in the order of price and time; `taken` holds (side, price, steps) that we took.
"""

_MARKET_BUY = 1 << 62


def new_state(orders: int, taken: int, fills: int, model: int = FIFO, exponent: float = 1.0) -> State:
    """An empty state with room for so many orders, taken levels and fills not yet read."""
    zeros = np.zeros
    counts = zeros(7, np.int64)
    counts[MODEL] = model
    return (
        counts,
        zeros((orders, 7), np.int64),
        zeros(orders, np.int64),
        zeros((taken, 3), np.int64),
        zeros((fills, 5), np.int64),
        zeros((orders, 4), np.int64),
        np.array([exponent]),
    )


def watch(state: State, order: int, upward: int, ticks: int) -> None:
    """Watches the trades for `ticks`, from below (`upward` 1) or above (-1), for an order; 0 ends its watch."""
    counts, watches = state[0], state[5]
    kept = [row for row in watches[: counts[WATCHES]].tolist() if row[WATCHED] != order]
    if upward:
        kept.append([order, upward, ticks, 0])
    watches[: len(kept)] = np.array(kept, np.int64).reshape(-1, 4)
    counts[WATCHES] = len(kept)


def due_watches(state: State) -> list[int]:
    """The orders whose watch a trade has reached; their watches end."""
    reached = [int(row[WATCHED]) for row in state[5][: state[0][WATCHES]] if row[DUE]]
    for order in reached:
        watch(state, order, 0, 0)
    return reached


def exchange_order(events: EventArray) -> Tape:
    """The columns as the exchange lived them: by event_time, each stream (book, trades) in the order it was told in.

    A time that runs back inside a stream is raised to the one before it: the stream's own order is the truth.
    """
    time = events.event_time.copy()
    is_trade = events.kind == TRADE
    for stream in (is_trade, ~is_trade):
        time[stream] = np.maximum.accumulate(time[stream])
    order = np.argsort(time, kind="stable")
    kind, side, last = events.kind[order], events.side[order], events.last[order]
    return time[order], kind, side, last, events.price[order], events.qty[order]


@lean
def replay(book: Arrays, tape: Tape, start: int, until: int, state: State) -> int:
    """Applies rows from `start` with time <= `until`; returns the next row.

    Stops early when `fills` is nearly full (read and empty it, then call again) and behind a trade that reached a
    watched price (take the watch away, then call again).
    """
    time, kind, side, last, price, qty = tape
    counts, fills = state[0], state[4]
    for i in range(start, len(time)):
        if time[i] > until or counts[FILLS] + counts[RESTING] >= len(fills):
            return i
        if kind[i] == TRADE:
            if counts[RESTING] > 0:
                _on_trade(state, side[i], price[i], qty[i], time[i])
            if counts[WATCHES] > 0 and _reached(state, price[i]):
                return i + 1
            continue
        if counts[TAKEN] + counts[RESTING] > 0:
            shown = book_qty(book, side[i], price[i])
            book_apply_row(book, kind[i], side[i], price[i], qty[i])
            _on_book(book, state, kind[i], side[i], price[i], qty[i], shown)
            if last[i] == 1 and kind[i] == LEVEL and counts[RESTING] > 0:
                _after_message(book, state, time[i])
        else:
            book_apply_row(book, kind[i], side[i], price[i], qty[i])
    return len(time)


@lean
def match(book: Arrays, state: State, order: int, worst: int, time: int) -> None:
    """Lets one order take what stands at `worst` ticks or better (0: any price), as taker at the levels' prices."""
    _take(book, state, order, worst, 0, time)


@lean
def fill_rest(state: State, order: int, price: int, time: int) -> None:
    """Fills what is left of an order at `price`, as taker, from nobody displayed."""
    _fill(state, order, price, state[1][order, LEFT], 0, time)


@lean
def available(book: Arrays, state: State, side: int, worst: int) -> int:
    """How much a taker on `side` could take at `worst` ticks or better."""
    total, price = 0, book_best(book, -side)
    for n in range(book_count(book, -side)):
        if n > 0:
            price = book_behind(book, -side, price)
        if side * (price - worst) > 0:
            break
        total += book_qty(book, -side, price) - _taken_at(state, -side, price)
    return total


@lean
def add_resting(book: Arrays, state: State, order: int) -> None:
    """Queues an order at its price: behind all that is displayed there and behind our own of the same price."""
    counts, orders, resting, _, _, _, _ = state
    side, price = orders[order, SIDE], orders[order, PRICE]
    orders[order, AHEAD] = book_qty(book, side, price) if counts[MODEL] != TOUCH else 0
    orders[order, TRADED] = 0
    at = counts[RESTING]
    while at > 0 and _before(orders, order, resting[at - 1]):
        resting[at] = resting[at - 1]
        at -= 1
    resting[at] = order
    counts[RESTING] += 1


@lean
def drop_resting(state: State, order: int) -> bool:
    """Takes an order out of the queue; False if it was not there."""
    counts, _, resting, _, _, _, _ = state
    for at in range(counts[RESTING]):
        if resting[at] == order:
            for j in range(at, counts[RESTING] - 1):
                resting[j] = resting[j + 1]
            counts[RESTING] -= 1
            return True
    return False


@lean
def _before(orders: Ints, one: int, other: int) -> bool:
    """Whether `one`, the newcomer, stands before `other`: buys first, then strictly better prices."""
    side = orders[one, SIDE]
    if side != orders[other, SIDE]:
        return bool(side > orders[other, SIDE])
    return bool(side * (orders[one, PRICE] - orders[other, PRICE]) > 0)


@lean
def _on_trade(state: State, aggressor: int, price: int, qty: int, time: int) -> None:
    counts, orders, resting, _, _, _, _ = state
    left = qty
    for at in range(counts[RESTING]):
        order = resting[at]
        beyond = orders[order, SIDE] * (orders[order, PRICE] - price)
        if orders[order, SIDE] == aggressor or beyond < 0:
            continue
        if counts[MODEL] == TOUCH:
            _fill(state, order, orders[order, PRICE], orders[order, LEFT], 1, time)
            continue
        if beyond > 0:
            orders[order, AHEAD] = 0
        else:
            orders[order, TRADED] += qty
        eaten = min(left, orders[order, AHEAD])
        orders[order, AHEAD] -= eaten
        left -= _fill(state, order, orders[order, PRICE], left - eaten, 1, time)
    _sweep(state)


@lean
def _reached(state: State, price: int) -> bool:
    """Marks the watches that a trade at `price` reaches; whether there are any."""
    counts, watches, found = state[0], state[5], False
    for at in range(counts[WATCHES]):
        if watches[at, UPWARD] * (price - watches[at, TRIGGER]) >= 0:
            watches[at, DUE], found = 1, True
    return found


@lean
def _on_book(book: Arrays, state: State, kind: int, side: int, price: int, qty: int, shown: int) -> None:
    """`shown` is what the level held before."""
    counts, orders, resting, taken, _, _, exponent = state
    if kind == LEVEL and book_known(book):
        for at in range(counts[TAKEN] - 1, -1, -1):
            if taken[at, 0] == side and taken[at, 1] == price:
                counts[TAKEN] -= 1
                for column in range(3):  # a whole row at once would be an array, and reference counting
                    taken[at, column] = taken[counts[TAKEN], column]
        for at in range(counts[RESTING]):
            order = resting[at]
            if orders[order, SIDE] == side and orders[order, PRICE] == price:
                ahead, traded = orders[order, AHEAD], orders[order, TRADED]
                if counts[MODEL] == FIFO:
                    orders[order, AHEAD] = min(ahead, qty)
                else:
                    orders[order, AHEAD] = left_in_front(counts[MODEL], exponent[0], ahead, shown - traded, qty)
                orders[order, TRADED] = 0
    elif kind in (CLEAR, GAP):
        counts[TAKEN] = 0
        counts[SNAPSHOT] = 1 if kind == CLEAR else 0


@lean
def _after_message(book: Arrays, state: State, time: int) -> None:
    """The book is consistent: settle queues after a snapshot, then fill what the opposite side reached."""
    counts, orders, resting, _, _, _, _ = state
    if not book_known(book):
        return
    if counts[SNAPSHOT] == 1:
        counts[SNAPSHOT] = 0
        for at in range(counts[RESTING]):
            order = resting[at]
            shown = book_qty(book, orders[order, SIDE], orders[order, PRICE])
            orders[order, AHEAD] = min(orders[order, AHEAD], shown)
    bid, ask = book_best(book, BID), book_best(book, ASK)
    for at in range(counts[RESTING]):
        order = resting[at]
        price = orders[order, PRICE]
        far = ask if orders[order, SIDE] == BID else bid
        if far > 0 and orders[order, SIDE] * (price - far) >= 0:
            orders[order, AHEAD] = 0
            if counts[MODEL] == TOUCH:
                _fill(state, order, price, orders[order, LEFT], 1, time)
            else:
                _take(book, state, order, price, price, time)
    _sweep(state)


@lean
def _take(book: Arrays, state: State, order: int, worst: int, at_price: int, time: int) -> None:
    """Fills `order` from the opposite side; `at_price` is the price paid, 0 for each level's own (a taker).

    Stops, unfilled, where the lists of taken levels or fills are full.
    """
    counts, orders, _, taken, fills, _, _ = state
    side, level = orders[order, SIDE], 0
    limit = worst if worst > 0 or side == ASK else _MARKET_BUY
    for n in range(book_count(book, -side)):
        level = book_best(book, -side) if n == 0 else book_behind(book, -side, level)
        full = counts[TAKEN] >= len(taken) or counts[FILLS] >= len(fills)
        if full or orders[order, LEFT] == 0 or side * (level - limit) > 0:
            return
        free = book_qty(book, -side, level) - _taken_at(state, -side, level)
        price = level if at_price == 0 else at_price
        filled = _fill(state, order, price, free, 0 if at_price == 0 else 1, time)
        if filled > 0:
            _remember(state, -side, level, filled)


@lean
def _taken_at(state: State, side: int, price: int) -> int:
    taken = state[3]
    for at in range(state[0][TAKEN]):
        if taken[at, 0] == side and taken[at, 1] == price:
            return int(taken[at, 2])
    return 0


@lean
def _remember(state: State, side: int, price: int, qty: int) -> None:
    counts, _, _, taken, _, _, _ = state
    for at in range(counts[TAKEN]):
        if taken[at, 0] == side and taken[at, 1] == price:
            taken[at, 2] += qty
            return
    taken[counts[TAKEN], 0] = side
    taken[counts[TAKEN], 1] = price
    taken[counts[TAKEN], 2] = qty
    counts[TAKEN] += 1


@lean
def _fill(state: State, order: int, price: int, offered: int, maker: int, time: int) -> int:
    """Fills at most `offered`; returns how much. A capped order stops where the position is zero."""
    counts, orders, _, _, fills, _, _ = state
    side = orders[order, SIDE]
    lots = min(offered, orders[order, LEFT])
    if orders[order, CAP] == 1:
        lots = min(lots, -side * counts[POSITION])
    if lots <= 0:
        return 0
    row = counts[FILLS]
    fills[row, ORDER], fills[row, FILL_PRICE], fills[row, FILLED] = order, price, lots
    fills[row, MAKER], fills[row, TIME] = maker, time
    counts[FILLS] += 1
    counts[POSITION] += side * lots
    orders[order, LEFT] -= lots
    return int(lots)


@lean
def _sweep(state: State) -> None:
    """Takes finished orders out of the queue."""
    counts, orders, resting, _, _, _, _ = state
    kept = 0
    for at in range(counts[RESTING]):
        if orders[resting[at], LEFT] > 0:
            resting[kept] = resting[at]
            kept += 1
    counts[RESTING] = kept
