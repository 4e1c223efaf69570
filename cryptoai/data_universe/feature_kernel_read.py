"""Small readings of a `Memory` that all parts of the emitting kernel share.

`feature_kernel_emit`, `feature_kernel_depth` and `feature_kernel_windows` call them. None changes the memory.
"""

from __future__ import annotations

import math

import numpy as np

from cryptoai.core.clock import SECOND
from cryptoai.data_universe.feature_kernel import ASK_PRICE, BID_PRICE, NOW, SINCE, SINCE_SLOT, SLOT, Memory
from cryptoai.data_universe.feature_kernel_micro import Reals, inner

__all__ = ["FAINT", "balance", "decayed", "middle", "over", "per_depth", "slog", "slots_warm", "warm"]

FAINT = 0.05
"""Effective number of rows in a window below which its shares and means say nothing."""


@inner
def decayed(memory: Memory, now: int) -> Reals:
    sums = np.empty((len(memory.sums), 3))
    age = (now - memory.whole[NOW]) * 1e-9
    for w, span in enumerate((1.0, 5.0, 30.0)):
        factor = math.exp(-age / span)
        for k in range(len(sums)):
            sums[k, w] = memory.sums[k, w] * factor
    return sums


@inner
def warm(memory: Memory, now: int, w: int) -> bool:
    span = (1, 5, 30)[w] * SECOND
    return bool(memory.whole[SINCE] >= 0 and now - memory.whole[SINCE] >= span)


@inner
def slots_warm(memory: Memory, count: int) -> bool:
    """`count` slots and the one before them were closed with a touch in each."""
    return bool(memory.whole[SINCE] >= 0 and memory.whole[SLOT] - count > memory.whole[SINCE_SLOT])


@inner
def over(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else math.nan


@inner
def per_depth(flow: float, count: float, depths: float) -> float:
    """Flow in units of the mean depth, `depths / count`; nothing flowed where nothing was counted."""
    return flow * count / depths if depths > 0 else 0.0


@inner
def slog(x: float) -> float:
    return math.copysign(math.log1p(abs(x)), x)


@inner
def middle(memory: Memory) -> float:
    return float(0.5 * (memory.whole[BID_PRICE] + memory.whole[ASK_PRICE]))


@inner
def balance(sums: Reals, plus: int, minus: int, w: int) -> float:
    total = sums[plus, w] + sums[minus, w]
    return (sums[plus, w] - sums[minus, w]) / total if total > 0 else math.nan
