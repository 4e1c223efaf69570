"""Candle sweeps against a slow reference, and against the future."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from cryptoai.backtesting.sweep import Rule, breakout, sma_cross, sweep
from cryptoai.core.errors import DataError
from cryptoai.data_universe.jit import lean

Ints = npt.NDArray[np.int64]
WINDOWS = np.array([(2, 5), (3, 20), (10, 40), (7, 7)], np.int64)


def _bars(seed: int, count: int = 600) -> tuple[Ints, Ints]:
    generator = np.random.default_rng(seed)
    closes = np.maximum(1, 1000 + generator.integers(-20, 21, count).cumsum())
    return np.maximum(1, closes - generator.integers(-3, 4, count)), closes


def _sma(closes: Ints, fast: int, slow: int) -> list[int]:
    prices = pd.Series(closes.astype(float))
    gap = (prices.rolling(fast).mean() - prices.rolling(slow).mean()).round(9)
    return gap.apply(np.sign).replace(0.0, np.nan).ffill().fillna(-1.0).gt(0).astype(int).tolist()


def _channel(closes: Ints, enter: int, leave: int) -> list[int]:
    prices = pd.Series(closes)
    above = prices > prices.shift(1).rolling(enter).max()
    below = prices < prices.shift(1).rolling(leave).min()
    state, held = 0, []
    for up, down in zip(above, below, strict=True):
        state = (0 if down else 1) if state else (1 if up else 0)
        held.append(state)
    return held


def _equity(opens: Ints, closes: Ints, target: list[int], fee: float) -> tuple[pd.Series, int]:
    """A ledger in the plainest words: cash, units, a fee on each side."""
    cash, units, trades, curve = 1.0, 0.0, 0, [1.0]
    for t in range(len(closes)):
        wanted = target[t - 1] if t else 0
        if wanted and not units:
            units, cash, trades = cash / (opens[t] * (1 + fee)), 0.0, trades + 1
        elif not wanted and units:
            cash, units = units * opens[t] * (1 - fee), 0.0
        curve.append(cash + units * closes[t])
    return pd.Series(curve), trades


@pytest.mark.parametrize(("rule", "reference"), [(sma_cross, _sma), (breakout, _channel)])
def test_a_sweep_is_what_pandas_says(rule: Rule, reference: object) -> None:
    """Returns, drawdowns and trades of each parameter row equal a bar by bar ledger over rolling windows."""
    assert callable(reference)
    opens, closes = _bars(1)
    result = sweep(opens, closes, rule, WINDOWS, fee=0.001)
    for n, (one, other) in enumerate(WINDOWS.tolist()):
        curve, trades = _equity(opens, closes, reference(closes, one, other), 0.001)
        assert result.trades[n] == trades
        assert result.returns[n] == pytest.approx(curve.iloc[-1] - 1, rel=1e-12, abs=1e-12)
        assert result.drawdowns[n] == pytest.approx((1 - curve / curve.cummax()).max(), abs=1e-12)
    assert result.trades[:3].min() > 3
    assert result.fees[0] > 0


@pytest.mark.parametrize("rule", [sma_cross, breakout])
def test_a_target_never_depends_on_a_later_close(rule: Rule) -> None:
    """What is decided by bar 300 stays the same whatever comes after it."""
    _, closes = _bars(2)
    other = closes.copy()
    other[301:] = 5
    one, two = np.zeros(600, np.int8), np.zeros(600, np.int8)
    rule(closes, WINDOWS[0], one)
    rule(other, WINDOWS[0], two)
    assert one[:301].any()
    np.testing.assert_array_equal(one[:301], two[:301])
    assert (one != two).any()


@lean
def _short(closes: Ints, parameters: Ints, target: npt.NDArray[np.int8]) -> None:
    target[:] = -1


def test_a_fill_is_at_the_next_open_and_pays_both_fees() -> None:
    """Decided at the first close, sold at the second open: 100 -> 80 earns a fifth of the position, less fees."""
    opens, closes = np.array([500, 100, 90], np.int64), np.array([500, 95, 80], np.int64)
    result = sweep(opens, closes, _short, np.array([[1]]), fee=0.01)
    assert result.returns[0] == pytest.approx((1 / 1.01) * (0.2 - 0.01))
    assert result.exposure[0] == pytest.approx(2 / 3)


def test_a_short_that_loses_everything_stops() -> None:
    """A price that more than doubles leaves nothing, not a negative equity."""
    opens, closes = np.array([100, 100, 50], np.int64), np.array([100, 300, 50], np.int64)
    result = sweep(opens, closes, _short, np.array([[1]]), fee=0.0)
    assert (result.returns[0], result.drawdowns[0]) == (-1.0, 1.0)


def test_bad_bars_are_refused() -> None:
    """Lengths, prices, parameters and the fee are checked before anything runs."""
    opens, closes = _bars(3, 50)
    with pytest.raises(DataError, match="one int64 open"):
        sweep(opens[1:], closes, sma_cross, WINDOWS, fee=0.0)
    with pytest.raises(DataError, match="below 1 tick"):
        sweep(opens, closes * 0, sma_cross, WINDOWS, fee=0.0)
    with pytest.raises(DataError, match="parameters"):
        sweep(opens, closes, sma_cross, WINDOWS * 0, fee=0.0)
    with pytest.raises(DataError, match="fee"):
        sweep(opens, closes, sma_cross, WINDOWS, fee=1.0)
