"""The reading of the book: touch, depth, slope, cost and micro-price, as they are now.

`feature_kernel_emit` calls `touch` and `depth`; the names beside the slots stand there. A missing value stays NaN.
"""

from __future__ import annotations

import math

import numpy as np

from cryptoai.data_universe.events import ASK, BID, Ints
from cryptoai.data_universe.feature_kernel import (
    ASK_PRICE,
    ASK_QTY,
    BID_PRICE,
    BID_QTY,
    INVERSE,
    LEVELS,
    LINEAR,
    TOP_ASKS,
    TOP_BIDS,
    TOUCH_KNOWN,
    Memory,
)  # fmt: skip
from cryptoai.data_universe.feature_kernel_micro import SEEN, Reals, inner, place
from cryptoai.data_universe.feature_kernel_read import middle, over
from cryptoai.data_universe.market_microstructure.book import Arrays, book_best, book_qty

__all__ = ["depth", "touch"]

_COST_OF = 100_000.0
_NEAR, _FAR, _REACH = 5e-4, 1e-3, 2e-3
_ENOUGH = 1_000.0
"""Changes of the touch after which the micro-price is trusted."""


@inner
def touch(memory: Memory, now: int, out: Reals) -> None:
    """Seven numbers that need the best quotes only."""
    whole, real = memory.whole, memory.real
    mid, bid_qty, ask_qty = middle(memory), float(whole[BID_QTY]), float(whole[ASK_QTY])
    weighted = over(whole[BID_PRICE] * ask_qty + whole[ASK_PRICE] * bid_qty, bid_qty + ask_qty)
    out[0] = 1e4 * (whole[ASK_PRICE] - whole[BID_PRICE]) / mid
    out[1] = over(bid_qty - ask_qty, bid_qty + ask_qty)
    out[2] = 1e4 * (weighted - mid) / mid
    out[3] = math.log1p((now - whole[TOUCH_KNOWN]) * 1e-9)
    out[4] = math.log(1e4 / mid)
    out[5] = math.log1p(mid * real[LINEAR] + real[INVERSE])
    if memory.micro.tally[SEEN] >= _ENOUGH:
        state = place((whole[BID_PRICE], whole[BID_QTY]), (whole[ASK_PRICE], whole[ASK_QTY]))
        out[6] = 1e4 * memory.micro.expected[state] / mid


@inner
def depth(memory: Memory, book: Arrays, out: Reals) -> None:
    """Nineteen numbers that need a whole book."""
    mid = middle(memory)
    qty, notional, near = np.zeros((2, LEVELS)), np.zeros((2, LEVELS)), np.zeros((2, 3))
    for s, row in enumerate((TOP_BIDS, TOP_ASKS)):
        _cumulate(memory, row, qty[s], notional[s])
        _walk(memory, book, BID if s == 0 else ASK, mid, near[s])
        out[3 + s], out[5 + s] = math.log1p(notional[s, 0]), math.log1p(notional[s, LEVELS - 1])
        if memory.top[row + 1, LEVELS - 1] > 0:
            prices = memory.top[row]
            out[13 + s] = _slope(prices, notional[s], mid)
            out[15 + s] = 1e4 * abs(prices[LEVELS - 1] - prices[0]) / (LEVELS - 1) / mid
        out[17 + s] = near[s, 2]
    for k, n in enumerate((2, 4, 9)):
        out[k] = over(qty[0, n] - qty[1, n], qty[0, n] + qty[1, n])
    for k in range(2):
        bids, asks = near[0, k], near[1, k]
        out[7 + 3 * k], out[8 + 3 * k] = math.log1p(bids), math.log1p(asks)
        out[9 + 3 * k] = over(bids - asks, bids + asks)


@inner
def _cumulate(memory: Memory, row: int, qty: Reals, notional: Reals) -> None:
    """Running quantity and notional from the best level outward."""
    steps = worth = 0.0
    for m in range(LEVELS):
        price, size = memory.top[row, m], memory.top[row + 1, m]
        if size > 0:
            steps += size
            worth += size * (price * memory.real[LINEAR] + memory.real[INVERSE])
        qty[m], notional[m] = steps, worth


@inner
def _slope(prices: Ints, notional: Reals, mid: float) -> float:
    total = 0.0
    for m in range(LEVELS):
        total += over(notional[m], 1e4 * abs(prices[m] / mid - 1.0))
    return math.log(total / LEVELS)


@inner
def _walk(memory: Memory, book: Arrays, side: int, mid: float, out: Reals) -> None:
    """Outward from the best level: notional within 5 and 10 bp of mid, and the distance to mid, in bp, of the mean
    price of a market order of 100,000 quote (NaN if 20 bp hold less)."""
    left, qty, value = _COST_OF, 0.0, 0.0
    price = book_best(book, side)
    linear, inverse, far, reach = memory.real[LINEAR], memory.real[INVERSE], _FAR * mid, _REACH * mid
    out[2] = math.nan
    while price > 0:
        distance = abs(price - mid)
        if distance > reach or (distance > far and left <= 0.0):
            return
        size = float(book_qty(book, side, price))
        if size > 0:
            each = price * linear + inverse
            if distance <= far:
                out[1] += size * each
                out[0] += size * each if distance <= _NEAR * mid else 0.0
            if left > 0.0:
                taken = min(size, left / each)
                qty += taken
                value += taken * price
                left -= taken * each
                if left <= 1e-6:
                    left, out[2] = 0.0, 1e4 * abs(value / qty / mid - 1.0)
        price -= side
