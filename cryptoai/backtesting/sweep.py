"""Many parameters over candles, fast: one rule of a few numbers, hundreds of times over the same closed bars.

For the first look at an idea, before it is worth a replay of the book: millions of bars a second, one fee, no queue, no
latency. `candles` is the tier that fills pessimistically inside a bar, and only `run_backtest` gives evidence.

    windows = np.array([(fast, slow) for fast in range(5, 50, 5) for slow in range(50, 200, 10)])
    result = sweep(opens, closes, sma_cross, windows, fee=0.0005)
    windows[result.returns.argmax()]        # and then deflate it by len(windows) trials

A rule is compiled, gets the closes and one row of parameters, and writes a target for each bar: 1 long, 0 flat, -1
short, with the whole equity. `target[t]` may use `closes[:t + 1]`; it is traded at `opens[t + 1]`, so a rule that keeps
to that cannot see its own fill. Prices are whole ticks: averages compare exactly and no sum drifts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import DataError
from cryptoai.data_universe.events import Bytes, Ints
from cryptoai.data_universe.jit import lean

__all__ = ["Rule", "Sweep", "breakout", "sma_cross", "sweep"]

Floats = npt.NDArray[np.float64]
Rule = Callable[[Ints, Ints, Bytes], None]
"""`rule(closes int64[n], parameters int64[p], target int8[n])`, an njit function that sets every cell of `target`."""

_RETURN, _DRAWDOWN, _FEES, _TRADES, _HELD = range(5)


@dataclass(frozen=True, slots=True)
class Sweep:
    """One cell a parameter row.

    returns: last equity over first, less 1, marked at the last close; drawdowns: deepest fall of equity at closes from
    its peak, 0 to 1; fees: paid, as a share of the first equity; trades: positions opened, int64; exposure: share of
    the bars in which a position was held.
    """

    returns: Floats
    drawdowns: Floats
    fees: Floats
    trades: Ints
    exposure: Floats


def sweep(opens: Ints, closes: Ints, rule: Rule, parameters: Ints, *, fee: float) -> Sweep:
    """Runs `rule` once for each row of int64[k, p] `parameters` over int64[n] prices in ticks; `fee` is a share.

    DataError for bars of unequal number, prices below 1, parameters below 1 or a fee out of [0, 1). A strategy that
    loses everything stops there with a return of -1.
    """
    table = np.ascontiguousarray(parameters, np.int64)
    _check(opens, closes, table, fee)
    target, out = np.zeros(len(closes), np.int8), np.zeros((len(table), 5))
    for n in range(len(table)):
        rule(closes, table[n], target)
        _account(opens, closes, target, fee, out[n])
    trades, exposure = out[:, _TRADES].astype(np.int64), out[:, _HELD] / len(closes)
    return Sweep(out[:, _RETURN].copy(), out[:, _DRAWDOWN].copy(), out[:, _FEES].copy(), trades, exposure)


@lean
def sma_cross(closes: Ints, windows: Ints, target: Bytes) -> None:
    """Long from where the mean of the last windows[0] closes is above that of windows[1], until it is below; equal
    means change nothing, and nothing is held before both are known."""
    fast, slow = windows[0], windows[1]
    first, fast_sum, slow_sum, held = max(fast, slow) - 1, 0, 0, 0
    for t in range(len(closes)):
        fast_sum += closes[t]
        slow_sum += closes[t]
        if t >= fast:
            fast_sum -= closes[t - fast]
        if t >= slow:
            slow_sum -= closes[t - slow]
        if t >= first:
            gap = fast_sum * slow - slow_sum * fast
            held = 1 if gap > 0 else (0 if gap < 0 else held)
        target[t] = held


@lean
def breakout(closes: Ints, windows: Ints, target: Bytes) -> None:
    """Long once a close is above the highest of the windows[0] closes before it, until one is below the lowest of the
    windows[1] closes before it."""
    enter, leave = windows[0], windows[1]
    held = 0
    for t in range(len(closes)):
        if held == 0 and t >= enter:
            held = 1
            for n in range(t - enter, t):
                if closes[n] >= closes[t]:
                    held = 0
                    break
        elif held == 1 and t >= leave:
            held = 0
            for n in range(t - leave, t):
                if closes[n] <= closes[t]:
                    held = 1
                    break
        target[t] = held


@lean
def _account(opens: Ints, closes: Ints, target: Bytes, fee: float, out: Floats) -> None:
    """Trades `target` one open later with the whole equity; what a trade costs comes out of the equity."""
    cash, units, peak, deepest, paid = 1.0, 0.0, 1.0, 0.0, 0.0
    trades, held, side = 0, 0, 0
    value = 1.0
    for t in range(len(closes)):
        if t > 0 and target[t - 1] != side:
            side, price = int(target[t - 1]), float(opens[t])
            cost = abs(units) * price * fee
            equity = cash + units * price - cost
            units = side * equity / (price * (1.0 + fee))
            paid += cost + abs(units) * price * fee
            cash = equity - units * price - abs(units) * price * fee
            trades += 1 if side != 0 else 0
        value = cash + units * closes[t]
        if value <= 0.0:
            value, deepest = 0.0, 1.0
            break
        held += 1 if side != 0 else 0
        peak = max(peak, value)
        deepest = max(deepest, 1.0 - value / peak)
    out[_RETURN], out[_DRAWDOWN], out[_FEES] = value - 1.0, deepest, paid
    out[_TRADES], out[_HELD] = trades, held


def _check(opens: Ints, closes: Ints, table: Ints, fee: float) -> None:
    if not len(closes) or opens.shape != closes.shape or opens.dtype != np.int64 or closes.dtype != np.int64:
        raise DataError("a sweep needs one int64 open and one int64 close for each bar, in ticks")
    if min(opens.min(), closes.min()) < 1:
        raise DataError("a price of a sweep is below 1 tick")
    if table.ndim != 2 or table.size == 0 or table.min() < 1:
        raise DataError("parameters of a sweep are a table of whole numbers from 1, one row a run")
    if not 0.0 <= fee < 1.0:
        raise DataError(f"a fee of {fee} is not a share between 0 and 1")
