"""Planted anomalies: marginals intact, dependence broken, only where it is said."""

import numpy as np
from scipy import stats

from cryptoai.testing.market.anomalies import planted_anomalies, swap_features


def test_one_in_twenty_is_odd() -> None:
    """Exactly the share, and the same for the same seed."""
    market = planted_anomalies(1, 500, 1000, dims=30, swapped=6)
    assert market.odd.sum() == 50
    assert np.array_equal(market.test, planted_anomalies(1, 500, 1000, dims=30, swapped=6).test)


def test_no_feature_gives_an_anomaly_away_by_itself() -> None:
    """Feature by feature, odd rows are drawn from the law of normal ones."""
    market = planted_anomalies(2, 100, 8000, dims=12, swapped=6)
    odd, normal = market.test[market.odd], market.test[~market.odd]
    p_values = [stats.ks_2samp(odd[:, k], normal[:, k]).pvalue for k in range(12)]
    assert min(p_values) > 0.001


def test_together_they_do() -> None:
    """What the other features say of a feature is wrong more often in odd rows: a linear guess misses by more."""
    market = planted_anomalies(3, 3000, 4000, dims=40, swapped=10)
    design, target = market.train[:, 1:], market.train[:, 0]
    line = np.linalg.lstsq(design, target, rcond=None)[0]
    missed = np.abs(market.test[:, 0] - market.test[:, 1:] @ line)
    assert missed[market.odd].mean() > 1.15 * missed[~market.odd].mean()


def test_only_odd_rows_are_touched() -> None:
    """Others stay bit for bit; each odd row has at most `swapped` features from elsewhere, and they occur elsewhere."""
    rng = np.random.default_rng(4)
    rows, odd = rng.normal(size=(50, 10)), np.arange(50) < 5
    out = swap_features(rows, odd, 3, rng)
    assert np.array_equal(out[~odd], rows[~odd])
    changed = out[odd] != rows[odd]
    assert (changed.sum(axis=1) <= 3).all()
    assert changed.any()
    for row, feature in zip(*np.nonzero(out != rows), strict=True):
        assert out[row, feature] in rows[:, feature]
