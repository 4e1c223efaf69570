"""Real rows hold nothing of later, and the contenders are what their names say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cryptoai.testing.contenders import ewma_scale, fitted_multiple, net_bps, t4_log_density, volatility_target
from cryptoai.testing.real_market import FEATURES, candle_features

DAY = 86_400 * 10**9


def prices(rows: int = 900, seed: int = 0) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(seed)
    close = 50_000 * np.exp(np.cumsum(draws.normal(0, 1e-3, rows)))
    opened = np.concatenate([close[:1], close[:-1]])
    return {
        "open": opened, "high": np.maximum(opened, close) * 1.001, "low": np.minimum(opened, close) * 0.999,
        "close": close, "volume": draws.gamma(2.0, 100.0, rows),
    }  # fmt: skip


def test_later_candles_change_no_earlier_feature() -> None:
    """Everything after row 600 is replaced: rows up to it are bitwise equal, and a later one is not."""
    times = np.arange(900, dtype=np.int64) * 300 * 10**9
    first, other = prices(), prices(seed=1)
    second = {name: np.concatenate([column[:600], other[name][600:]]) for name, column in first.items()}
    before, after = candle_features(times, first), candle_features(times, second)
    assert before.shape == (900, len(FEATURES))
    assert np.array_equal(before[:600], after[:600])
    assert not np.array_equal(before[600], after[600])
    assert np.isfinite(before).all()


def test_a_candle_that_closes_at_its_high_is_at_the_top_of_its_range() -> None:
    """Place in range is .5 at the high and -.5 at the low; the hour turns once a day."""
    times = np.array([0, DAY // 4, DAY // 2, DAY], np.int64)
    flat = {
        "open": np.full(4, 9.0), "high": np.full(4, 10.0), "low": np.full(4, 8.0), "close": np.array([10, 8, 9, 10.0]),
        "volume": np.ones(4),
    }  # fmt: skip
    found = dict(zip(FEATURES, candle_features(times, flat).T, strict=True))
    assert found["place in range"].tolist() == [0.5, -0.5, 0.0, 0.5]
    assert found["hour sine"] == pytest.approx([0, 1, 0, 0], abs=1e-9)


def test_the_density_is_students() -> None:
    """Against scipy, shifted and scaled."""
    x = np.linspace(-5, 5, 11)
    expected = stats.t.logpdf(x, 4, 0.5, 2.0)
    assert t4_log_density(x, np.full(11, 0.5), np.full(11, 2.0)) == pytest.approx(expected)


def test_a_wrong_scale_is_set_right() -> None:
    """Draws of scale 3 forecast with scale 1: the multiple is 3 within a tenth."""
    x = stats.t.rvs(4, scale=3.0, size=4000, random_state=0)
    assert fitted_multiple(x, np.zeros(4000), np.ones(4000)) == pytest.approx(3.0, rel=0.1)


def test_net_results_by_hand() -> None:
    """Long, held, turned short, closed, at 5 basis points a unit: the first and each change are paid."""
    exposure, moved = np.array([1.0, 1.0, -1.0, 0.0]), np.array([10.0, -4.0, -6.0, 99.0])
    assert net_bps(exposure, moved, 5.0).tolist() == [5.0, -4.0, -4.0, -5.0]


def test_a_volatility_target_holds_less_in_a_storm_and_trades_seldom() -> None:
    """Half at twice the target's volatility, never more than all, and small changes are let be."""
    scale = np.array([1.0, 1.05, 2.0, 2.1, 0.5])
    assert volatility_target(scale, 1.0) == pytest.approx([1.0, 1.0, 0.5, 0.5, 1.0])


def test_the_ewma_knows_no_later_return() -> None:
    """A jump in row 200 moves the scale there and after, not before."""
    calm = np.random.default_rng(0).normal(size=300)
    wild = calm.copy()
    wild[200] = 50.0
    first, second = ewma_scale(calm), ewma_scale(wild)
    assert np.array_equal(first[:200], second[:200])
    assert second[200] > 3 * first[200]
