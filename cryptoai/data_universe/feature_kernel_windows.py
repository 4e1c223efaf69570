"""The reading of windows: statistics over the last closed slots of 100 ms, of one instrument and of the pair.

`feature_kernel_emit` calls `windows` and `pair`; the names beside the slots stand there. A missing value stays NaN.
"""

from __future__ import annotations

import math

import numpy as np

from cryptoai.data_universe.feature_kernel import (
    ASK_QTY,
    BID_QTY,
    BUY_NOTIONAL,
    BUY_QTY,
    BUYS,
    DEPTH,
    LOG_MID,
    NOTIONAL,
    OFI,
    RING,
    SELL_NOTIONAL,
    SELL_QTY,
    SELLS,
    SIGNED,
    SLOT,
    SPREAD,
    SPREAD_TICKS,
    TICK,
    TOUCH_DEPTH,
    TOUCHES,
    Memory,
)  # fmt: skip
from cryptoai.data_universe.feature_kernel_micro import Reals, inner
from cryptoai.data_universe.feature_kernel_read import (
    FAINT,
    balance,
    decayed,
    middle,
    over,
    per_depth,
    slog,
    slots_warm,
    warm,
)

__all__ = ["pair", "windows"]

_MILLION = 1e6

# sums over slots
RV, BV, PATH, UP, LAGGED, SPREADS, DEPTHS, XR, XX, YR, YY, ILLIQUID, TRADED, COARSE = range(14)


@inner
def _slot_sums(memory: Memory, count: int) -> Reals:
    """Sums over the last `count` closed slots; returns in bp, notional in millions."""
    ring, slot = memory.ring, memory.whole[SLOT]
    sums, before, coarse = np.zeros(14), 0.0, 0.0
    for k in range(count):
        record, previous = ring[(slot - count + k) % RING], ring[(slot - count + k - 1) % RING]
        r = 1e4 * (record[LOG_MID] - previous[LOG_MID])
        x = record[SIGNED] / _MILLION
        y = math.copysign(math.sqrt(abs(x)), x)
        sums[RV] += r * r
        sums[UP] += r * r if r > 0 else 0.0
        sums[PATH] += abs(r)
        if k > 0:
            sums[BV] += abs(r) * abs(before)
            sums[LAGGED] += r * before
        sums[XR] += x * r
        sums[XX] += x * x
        sums[YR] += y * r
        sums[YY] += y * y
        sums[SPREADS] += record[SPREAD]
        sums[DEPTHS] += record[TOUCH_DEPTH]
        if record[NOTIONAL] > 0:
            sums[TRADED] += 1.0
            sums[ILLIQUID] += abs(r) / (record[NOTIONAL] / _MILLION)
        coarse += r
        if k % 10 == 9:
            sums[COARSE] += coarse * coarse
            coarse = 0.0
        before = r
    return sums


@inner
def windows(memory: Memory, flow: Reals, out: Reals) -> None:
    for k, count in enumerate((10, 50, 300)):
        out[14 + k] = _return(memory, count)
    if not slots_warm(memory, 50):
        return
    short = _slot_sums(memory, 50)
    _window_pair(short, 50, 0, out)
    flow[48] = slog(over(short[XR], short[XX]))
    if slots_warm(memory, 300):
        _long_window(memory, short[RV], _slot_sums(memory, 300), flow, out)


@inner
def _long_window(memory: Memory, recent: float, sums: Reals, flow: Reals, out: Reals) -> None:
    """What only 30 s can tell; `recent` is the squared variation of the last 5 s."""
    whole, mid = memory.whole, middle(memory)
    _window_pair(sums, 300, 1, out)
    flow[49], flow[50] = slog(over(sums[XR], sums[XX])), slog(over(sums[YR], sums[YY]))
    bipower = 0.5 * math.pi * (300.0 / 299.0) * sums[BV]
    out[6] = math.copysign(2.0 * math.sqrt(abs(sums[LAGGED]) / 299.0), -sums[LAGGED])
    out[7] = math.log(over((whole[BID_QTY] + whole[ASK_QTY]) * 300.0, sums[DEPTHS]))
    out[12] = math.log((recent / 5.0 + 1e-4) / (sums[RV] / 30.0 + 1e-4))
    out[13] = math.sqrt(bipower)
    out[17], out[18] = _resilience(memory, SPREAD_TICKS, 300), _resilience(memory, TOUCH_DEPTH, 300)
    if sums[RV] > 0:
        start = memory.ring[(whole[SLOT] - 301) % RING, LOG_MID]
        out[8] = max(0.0, 1.0 - bipower / sums[RV])
        out[9], out[10] = sums[UP] / sums[RV], sums[COARSE] / sums[RV]
        out[11] = 1e4 * (math.log(mid) - start) / (sums[PATH] + 1e4 * abs(math.log(mid) - _last(memory)))


@inner
def _resilience(memory: Memory, column: int, count: int) -> float:
    """Share of a deviation from the mean that is gone one slot later: minus the slope of x_k - x_{k-1} on x_{k-1}."""
    ring, start = memory.ring, memory.whole[SLOT] - count
    origin, before, change, square, both = ring[(start - 1) % RING, column], 0.0, 0.0, 0.0, 0.0
    for k in range(start, start + count):
        x, y = ring[(k - 1) % RING, column] - origin, ring[k % RING, column] - origin
        before += x
        change += y - x
        square += x * x
        both += x * (y - x)
    return over(before * change / count - both, square - before * before / count)


@inner
def _window_pair(sums: Reals, count: int, place: int, out: Reals) -> None:
    out[place] = sums[SPREADS] / count
    out[2 + place] = math.log1p(over(sums[ILLIQUID], sums[TRADED]))
    out[4 + place] = math.sqrt(sums[RV])


@inner
def _last(memory: Memory) -> float:
    return float(memory.ring[(memory.whole[SLOT] - 1) % RING, LOG_MID])


@inner
def _return(memory: Memory, count: int) -> float:
    """Log return in bp from the end of the slot `count` slots before the last closed one until now."""
    if not slots_warm(memory, count):
        return math.nan
    return float(1e4 * (math.log(middle(memory)) - memory.ring[(memory.whole[SLOT] - 1 - count) % RING, LOG_MID]))


@inner
def pair(own: Memory, spot: Memory, sums: Reals, now: int, out: Reals) -> None:
    other = decayed(spot, now)
    scale = _price_scale(own, spot)
    basis = 1e4 * (math.log(middle(own)) - math.log(middle(spot)) + scale)
    out[0] = basis
    for w, count in enumerate((10, 50, 300)):
        out[4 + w] = _return(spot, count)
        out[1 + w] = _return(own, count) - out[4 + w]
        if warm(spot, now, w):
            if other[BUYS, w] + other[SELLS, w] >= FAINT:
                out[7 + w] = balance(other, BUY_QTY, SELL_QTY, w)
            out[10 + w] = per_depth(other[OFI, w], other[TOUCHES, w], other[DEPTH, w])
    if warm(own, now, 2) and warm(spot, now, 2):
        notional, spot_notional = (
            sums[BUY_NOTIONAL, 2] + sums[SELL_NOTIONAL, 2],
            other[BUY_NOTIONAL, 2] + other[SELL_NOTIONAL, 2],
        )
        out[13] = math.log((notional + 1.0) / (spot_notional + 1.0))
    if slots_warm(own, 50) and slots_warm(spot, 50):
        out[14], _ = _basis_moments(own, spot, 50, scale)
    if slots_warm(own, 300) and slots_warm(spot, 300):
        out[15], out[16] = _basis_moments(own, spot, 300, scale)
        out[17] = (basis - out[15]) / max(out[16], 0.01)
        out[18], out[19] = _lead(own, spot), _lead(spot, own)


@inner
def _price_scale(own: Memory, spot: Memory) -> float:
    """ln(tick / spot tick), so that mids in ticks compare as prices."""
    return math.log(own.real[TICK] / spot.real[TICK])


@inner
def _basis_moments(own: Memory, spot: Memory, count: int, scale: float) -> tuple[float, float]:
    slot, total, squares = own.whole[SLOT], 0.0, 0.0
    for k in range(slot - count, slot):
        total += 1e4 * (own.ring[k % RING, LOG_MID] - spot.ring[k % RING, LOG_MID] + scale)
    mean = total / count
    for k in range(slot - count, slot):
        squares += (1e4 * (own.ring[k % RING, LOG_MID] - spot.ring[k % RING, LOG_MID] + scale) - mean) ** 2
    return mean, math.sqrt(squares / count)


@inner
def _lead(follower: Memory, leader: Memory) -> float:
    """Correlation through the origin of the follower's slot return with the leader's one slot before, 30 s."""
    slot, cross, a, b = follower.whole[SLOT], 0.0, 0.0, 0.0
    for k in range(slot - 299, slot):
        r = follower.ring[k % RING, LOG_MID] - follower.ring[(k - 1) % RING, LOG_MID]
        led = leader.ring[(k - 1) % RING, LOG_MID] - leader.ring[(k - 2) % RING, LOG_MID]
        cross += r * led
        a += r * r
        b += led * led
    return cross / math.sqrt(a * b) if a > 0 and b > 0 else 0.0
