"""The incremental half of the feature kernel: what is remembered of one instrument, and how one event row changes it.

Batch and stream run this same compiled code row by row, so they agree to the last bit, however the rows are cut into
chunks. `features.FeatureEngine` owns one `Memory` a side (the traded instrument and its spot companion) and
`feature_kernel_emit` reads it. Nothing here looks at a row after the one given, and nothing allocates.

Two kinds of memory:
- `sums`: sums that decay with exp(-age/W) for W = 1, 5, 30 s, brought forward once for each new `known_at`;
- `ring`: one record for each closed 100 ms slot of the epoch, for statistics over exact windows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from cryptoai.core.instruments import Contract, Instrument
from cryptoai.data_universe.events import ASK, BID, CLEAR, GAP, LEVEL, QUOTE, TRADE, Bytes, Ints
from cryptoai.data_universe.feature_kernel_micro import Moves, Reals, forget_moves, inner, moves, observe, solve
from cryptoai.data_universe.jit import njit
from cryptoai.data_universe.market_microstructure.book import (
    Arrays,
    book_apply_row,
    book_known,
    book_qty,
    book_top,
)

__all__ = ["LEVELS", "MOST_BUCKETS", "RING", "SLOT_NS", "Memory", "advance", "close_slots", "remember", "update"]

SLOT_NS = 100_000_000
SLOTS_A_SECOND = 10
RING = 512
"""Slots kept: 51.2 s, more than the longest window of 30 s."""
LEVELS = 10
NO_ASK = 1 << 40
"""Price of an ask level that does not exist; a bid level that does not exist has price 0."""
NEAR = 5e-4
MOST_BUCKETS = 50
"""Volume buckets kept for VPIN."""

# whole numbers of a Memory
(
    NOW, SLOT, SINCE, SINCE_SLOT, EVENT_TIME,
    BID_PRICE, BID_QTY, ASK_PRICE, ASK_QTY, TOUCH_TIME, TOUCH_KNOWN,
    NEW_BID, NEW_BID_QTY, NEW_ASK, NEW_ASK_QTY,
    CHANGED, SNAPSHOT, TOP_KNOWN,
    TRADES, TRADE_KNOWN, RUN, SIGN_1, SIGN_2, SIGN_3, SIGN_4, SIGN_5, BUCKETS,
) = range(27)  # fmt: skip

# real numbers of a Memory
TICK, LINEAR, INVERSE, BUCKET, BUCKET_BUY, BUCKET_SELL, SLOT_SIGNED, SLOT_NOTIONAL = range(8)

# rows of `sums`
(
    OFI, DEPTH, TOUCHES, BUY_QTY, SELL_QTY, BUYS, SELLS, BUY_NOTIONAL, SELL_NOTIONAL, SQUARES, PRICE_QTY,
    SIGN_LAG_1, SIGN_LAG_2, SIGN_LAG_5, EFFECTIVE, LEVEL_CHANGES, BID_ADDED, ASK_ADDED, BID_REMOVED, ASK_REMOVED,
    BOOKS, LEVEL_DEPTH, LEVEL_OFI,
) = range(23)  # fmt: skip
SUMS = LEVEL_OFI + LEVELS

# columns of `ring`
LOG_MID, SPREAD, SIGNED, NOTIONAL, TOUCH_DEPTH, SPREAD_TICKS = range(6)

# columns of `buckets`
IMBALANCE, VOLUME = range(2)

# rows of `top`
TOP_BIDS, TOP_BID_QTYS, TOP_ASKS, TOP_ASK_QTYS = range(4)


class Memory(NamedTuple):
    """All that is remembered of one instrument, in flat arrays that compiled code can change."""

    whole: Ints
    real: Reals
    sums: Reals
    ring: Reals
    top: Ints
    fresh: Ints
    buckets: Reals
    micro: Moves


def remember(instrument: Instrument) -> Memory:
    """An empty memory of `instrument`; notional = ticks * steps * LINEAR + steps * INVERSE."""
    whole = np.zeros(27, np.int64)
    whole[[SLOT, SINCE, SINCE_SLOT]] = -1
    real = np.zeros(8)
    real[TICK] = float(instrument.tick)
    if instrument.contract is Contract.INVERSE:
        real[INVERSE] = float(instrument.step * instrument.contract_size)
    else:
        real[LINEAR] = float(instrument.tick * instrument.step)
    levels = np.zeros((2, 4, LEVELS), np.int64)
    ring, buckets = np.full((RING, 6), np.nan), np.zeros((MOST_BUCKETS, 2))
    return Memory(whole, real, np.zeros((SUMS, 3)), ring, levels[0], levels[1], buckets, moves())


@njit(error_model="numpy")
def update(
    memory: Memory, book: Arrays, times: tuple[Ints, Ints], marks: tuple[Bytes, Bytes, Bytes],
    amounts: tuple[Ints, Ints], start: int, stop: int,
) -> None:  # fmt: skip
    """Applies rows [start, stop): times (event_time, known_at), marks (kind, side, last), amounts (price, qty)."""
    whole = memory.whole
    kind, side, last = marks
    price, qty = amounts
    for i in range(start, stop):
        if times[1][i] > whole[NOW]:
            advance(memory, times[1][i])
        whole[EVENT_TIME] = max(whole[EVENT_TIME], times[0][i])
        if kind[i] == LEVEL:
            _level(memory, book, side[i], price[i], qty[i])
        elif kind[i] == TRADE:
            _trade(memory, side[i], price[i], qty[i])
        elif kind[i] == QUOTE:
            _quote(whole, side[i], price[i], qty[i])
        elif kind[i] in (CLEAR, GAP):
            book_apply_row(book, kind[i], side[i], price[i], qty[i])
            whole[TOP_KNOWN], whole[SNAPSHOT] = 0, 1
            if kind[i] == GAP:
                _forget(memory)
        if last[i] != 0:
            _close_message(memory, book, times[0][i])


@inner
def advance(memory: Memory, now: int) -> None:
    """Closes the slots that end by `now` and brings the decaying sums forward to it."""
    whole, sums = memory.whole, memory.sums
    close_slots(memory, now // SLOT_NS)
    age = (now - whole[NOW]) * 1e-9
    if whole[NOW] > 0:
        fast, middle, slow = math.exp(-age), math.exp(-age / 5), math.exp(-age / 30)
        for k in range(SUMS):
            sums[k, 0] *= fast
            sums[k, 1] *= middle
            sums[k, 2] *= slow
    whole[NOW] = now


@inner
def _add(sums: Reals, row: int, amount: float) -> None:
    sums[row, 0] += amount
    sums[row, 1] += amount
    sums[row, 2] += amount


@inner
def close_slots(memory: Memory, slot: int) -> None:
    """Writes the records of all slots before `slot`; doing it early or late gives the same records."""
    whole, real = memory.whole, memory.real
    current = whole[SLOT]
    if current >= 0 and slot > current:
        if slot // SLOTS_A_SECOND > current // SLOTS_A_SECOND:
            solve(memory.micro)
        _record(memory, current, real[SLOT_SIGNED], real[SLOT_NOTIONAL])
        for quiet in range(max(current + 1, slot - RING), slot):
            _record(memory, quiet, 0.0, 0.0)
        real[SLOT_SIGNED] = real[SLOT_NOTIONAL] = 0.0
    whole[SLOT] = max(current, slot)


@inner
def _record(memory: Memory, slot: int, signed: float, notional: float) -> None:
    whole, record = memory.whole, memory.ring[slot % RING]
    record[SIGNED], record[NOTIONAL] = signed, notional
    if whole[SINCE] < 0:
        record[LOG_MID] = record[SPREAD] = record[SPREAD_TICKS] = record[TOUCH_DEPTH] = np.nan
        return
    mid = 0.5 * (whole[BID_PRICE] + whole[ASK_PRICE])
    record[LOG_MID] = math.log(mid)
    record[SPREAD_TICKS] = whole[ASK_PRICE] - whole[BID_PRICE]
    record[SPREAD] = 1e4 * record[SPREAD_TICKS] / mid
    record[TOUCH_DEPTH] = whole[BID_QTY] + whole[ASK_QTY]


@inner
def _forget(memory: Memory) -> None:
    """After a gap everything warms up anew; only the clocks and the instrument's constants stay."""
    whole, real = memory.whole, memory.real
    for k in range(SUMS):
        for w in range(3):
            memory.sums[k, w] = 0.0
    for k in range(BUCKET, len(real)):
        real[k] = 0.0
    for k in range(BID_PRICE, len(whole)):
        whole[k] = 0
    whole[SINCE] = whole[SINCE_SLOT] = -1
    whole[SNAPSHOT] = 1
    forget_moves(memory.micro)


@inner
def _level(memory: Memory, book: Arrays, side: int, price: int, qty: int) -> None:
    whole, sums = memory.whole, memory.sums
    whole[CHANGED] = 1
    if whole[SNAPSHOT] == 0 and book_known(book):
        delta = qty - book_qty(book, side, price)
        _add(sums, LEVEL_CHANGES, 1.0)
        mid = 0.5 * (whole[BID_PRICE] + whole[ASK_PRICE])
        if delta != 0 and whole[SINCE] >= 0 and abs(price - mid) <= NEAR * mid:
            row = (
                (BID_ADDED if side == BID else ASK_ADDED)
                if delta > 0
                else (BID_REMOVED if side == BID else ASK_REMOVED)
            )
            _add(sums, row, float(abs(delta)))
    book_apply_row(book, LEVEL, side, price, qty)


@inner
def _quote(whole: Ints, side: int, price: int, qty: int) -> None:
    if side == BID:
        whole[NEW_BID], whole[NEW_BID_QTY] = price, qty
    else:
        whole[NEW_ASK], whole[NEW_ASK_QTY] = price, qty


@inner
def _close_message(memory: Memory, book: Arrays, event_time: int) -> None:
    """The venue's message is whole: the book is consistent, so the touch and the best levels may be read."""
    whole, fresh = memory.whole, memory.fresh
    if whole[NEW_BID] > 0 or whole[NEW_ASK] > 0:
        bid, ask = whole[NEW_BID] > 0, whole[NEW_ASK] > 0
        _touch(
            memory, event_time,
            (whole[NEW_BID], whole[NEW_BID_QTY]) if bid else (whole[BID_PRICE], whole[BID_QTY]),
            (whole[NEW_ASK], whole[NEW_ASK_QTY]) if ask else (whole[ASK_PRICE], whole[ASK_QTY]),
        )  # fmt: skip
        for k in range(NEW_BID, NEW_ASK_QTY + 1):
            whole[k] = 0
    if whole[CHANGED] != 0 and book_known(book):
        _read_top(fresh, book)
        if whole[TOP_KNOWN] != 0:
            _level_flow(memory)
        for k in range(4):
            for m in range(LEVELS):
                memory.top[k, m] = fresh[k, m]
        whole[TOP_KNOWN], whole[SNAPSHOT] = 1, 0
        _touch(
            memory,
            event_time,
            (fresh[TOP_BIDS, 0], fresh[TOP_BID_QTYS, 0]),
            (fresh[TOP_ASKS, 0], fresh[TOP_ASK_QTYS, 0]),
        )
    whole[CHANGED] = 0


@inner
def _read_top(fresh: Ints, book: Arrays) -> None:
    found = book_top(book, BID, fresh[TOP_BIDS], fresh[TOP_BID_QTYS])
    for m in range(found, LEVELS):
        fresh[TOP_BIDS, m], fresh[TOP_BID_QTYS, m] = 0, 0
    found = book_top(book, ASK, fresh[TOP_ASKS], fresh[TOP_ASK_QTYS])
    for m in range(found, LEVELS):
        fresh[TOP_ASKS, m], fresh[TOP_ASK_QTYS, m] = NO_ASK, 0


@inner
def _flow(old_bid: tuple[int, int], bid: tuple[int, int], old_ask: tuple[int, int], ask: tuple[int, int]) -> int:
    """Order flow e of Cont, Kukanov and Stoikov (2014) between two states of one level, in steps."""
    flow = 0
    if bid[0] >= old_bid[0]:
        flow += bid[1]
    if bid[0] <= old_bid[0]:
        flow -= old_bid[1]
    if ask[0] <= old_ask[0]:
        flow -= ask[1]
    if ask[0] >= old_ask[0]:
        flow += old_ask[1]
    return flow


@inner
def _level_flow(memory: Memory) -> None:
    top, fresh, sums = memory.top, memory.fresh, memory.sums
    depth = 0
    for m in range(LEVELS):
        flow = _flow(
            (top[TOP_BIDS, m], top[TOP_BID_QTYS, m]), (fresh[TOP_BIDS, m], fresh[TOP_BID_QTYS, m]),
            (top[TOP_ASKS, m], top[TOP_ASK_QTYS, m]), (fresh[TOP_ASKS, m], fresh[TOP_ASK_QTYS, m]),
        )  # fmt: skip
        _add(sums, LEVEL_OFI + m, float(flow))
        depth += fresh[TOP_BID_QTYS, m] + fresh[TOP_ASK_QTYS, m]
    _add(sums, LEVEL_DEPTH, depth / (2.0 * LEVELS))
    _add(sums, BOOKS, 1.0)


@inner
def _touch(memory: Memory, event_time: int, bid: tuple[int, int], ask: tuple[int, int]) -> None:
    """The newest word on the best quotes wins, whichever stream it came by; a crossed one is not believed."""
    whole, sums = memory.whole, memory.sums
    if bid[0] <= 0 or ask[0] >= NO_ASK or bid[0] >= ask[0] or event_time < whole[TOUCH_TIME]:
        return
    old_bid, old_ask = (whole[BID_PRICE], whole[BID_QTY]), (whole[ASK_PRICE], whole[ASK_QTY])
    whole[TOUCH_TIME], whole[TOUCH_KNOWN] = event_time, whole[NOW]
    if whole[SINCE] < 0:
        whole[SINCE], whole[SINCE_SLOT] = whole[NOW], whole[SLOT]
    elif bid == old_bid and ask == old_ask:
        return
    else:
        _add(sums, OFI, float(_flow(old_bid, bid, old_ask, ask)))
        _add(sums, DEPTH, 0.5 * (bid[1] + ask[1]))
        _add(sums, TOUCHES, 1.0)
        observe(memory.micro, (old_bid, old_ask), (bid, ask))
    whole[BID_PRICE], whole[BID_QTY] = bid
    whole[ASK_PRICE], whole[ASK_QTY] = ask


@inner
def _trade(memory: Memory, sign: int, price: int, qty: int) -> None:
    whole, real, sums = memory.whole, memory.real, memory.sums
    notional = qty * (price * real[LINEAR] + real[INVERSE])
    sell = 1 if sign < 0 else 0
    _add(sums, BUY_QTY + sell, float(qty))
    _add(sums, BUYS + sell, 1.0)
    _add(sums, BUY_NOTIONAL + sell, notional)
    _add(sums, SQUARES, float(qty) * qty)
    _add(sums, PRICE_QTY, float(price) * qty)
    real[SLOT_SIGNED] += sign * notional
    real[SLOT_NOTIONAL] += notional
    _signs(whole, sums, sign)
    if whole[SINCE] >= 0:
        mid = 0.5 * (whole[BID_PRICE] + whole[ASK_PRICE])
        _add(sums, EFFECTIVE, qty * 2e4 * sign * (price - mid) / mid)
        if whole[NOW] - whole[SINCE] >= 30_000_000_000:
            _toxicity(memory, (sums[BUY_QTY, 2] + sums[SELL_QTY, 2]) / 30, sign, float(qty))
    whole[TRADES] += 1
    whole[TRADE_KNOWN] = whole[NOW]


@inner
def _signs(whole: Ints, sums: Reals, sign: int) -> None:
    _add(sums, SIGN_LAG_1, float(sign * whole[SIGN_1]))
    _add(sums, SIGN_LAG_2, float(sign * whole[SIGN_2]))
    _add(sums, SIGN_LAG_5, float(sign * whole[SIGN_5]))
    whole[RUN] = whole[RUN] + sign if sign == whole[SIGN_1] else sign
    for k in range(SIGN_5, SIGN_1, -1):
        whole[k] = whole[k - 1]
    whole[SIGN_1] = sign


@inner
def _toxicity(memory: Memory, size: float, sign: int, qty: float) -> None:
    """VPIN's volume buckets of `size` steps, fixed when a bucket opens; a trade may fill several."""
    whole, real = memory.whole, memory.real
    for _ in range(4 * MOST_BUCKETS):
        if real[BUCKET] == 0.0:
            real[BUCKET] = max(math.floor(size), 1.0)
        part = min(qty, real[BUCKET] - real[BUCKET_BUY] - real[BUCKET_SELL])
        real[BUCKET_BUY if sign > 0 else BUCKET_SELL] += part
        qty -= part
        if real[BUCKET_BUY] + real[BUCKET_SELL] < real[BUCKET]:
            return
        filled = memory.buckets[whole[BUCKETS] % MOST_BUCKETS]
        filled[IMBALANCE], filled[VOLUME] = abs(real[BUCKET_BUY] - real[BUCKET_SELL]), real[BUCKET]
        whole[BUCKETS] += 1
        real[BUCKET] = real[BUCKET_BUY] = real[BUCKET_SELL] = 0.0
