"""Limits that keep their coverage: for any sequence, and through breaks."""

import numpy as np
import pytest

from cryptoai.black_swan.conformal import adaptive, tracked, worst_window
from cryptoai.core.errors import DataError
from cryptoai.testing.market.tails import breaking_returns


def test_coverage_through_breaks_and_the_worst_stretch() -> None:
    """On a volatility that jumps 2.5 and 4 times, gamma .03 covers 90 % and its worst 250 steps beat no adaptation."""
    scores = np.abs(breaking_returns(7))
    worst = {}
    for gamma in (0.0, 0.03):
        covered = (scores <= adaptive(scores, 0.9, gamma))[500:]
        worst[gamma] = worst_window(covered)
        if gamma:
            assert covered.mean() == pytest.approx(0.9, abs=0.01)
    assert worst[0.03] >= 0.82
    assert worst[0.0] < worst[0.03] - 0.1


def test_any_sequence_is_covered() -> None:
    """Scores that grow without end defeat a rolling quantile and not the adaptive one."""
    scores = np.exp(np.arange(4000) / 100.0)
    assert (scores <= adaptive(scores, 0.9, 0.0))[500:].mean() < 0.01
    assert (scores <= adaptive(scores, 0.9, 0.03))[500:].mean() == pytest.approx(0.9, abs=0.02)


def test_the_tracked_rate_is_right_whatever_the_forecast() -> None:
    """A VaR that is ten times too small, and one ten times too large, both end at 1 % breaches."""
    losses = np.random.default_rng(2).standard_t(4, 20_000)
    for factor in (0.3, 30.0):
        limits = tracked(losses, np.full(20_000, factor), 0.99)
        assert (losses > limits).mean() == pytest.approx(0.01, abs=0.004)
    assert (losses > 0.3).mean() > 0.3


def test_no_limit_sees_its_own_score() -> None:
    """A changed score leaves its own limit and all earlier ones as they were."""
    scores = np.abs(breaking_returns(3))
    changed = scores.copy()
    changed[1000] = 1e6
    limits = [adaptive(s, 0.9, 0.02) for s in (scores, changed)]
    ratios = [tracked(s, np.ones(len(s)), 0.95) for s in (scores, changed)]
    for before, after in (limits, ratios):
        assert np.array_equal(before[:1001], after[:1001], equal_nan=True)
        assert not np.array_equal(before, after, equal_nan=True)


def test_steps_without_a_forecast_are_passed_over() -> None:
    """A limit that is not a number stays so and teaches nothing."""
    limits = np.array([1.0, np.nan, 1.0])
    out = tracked(np.array([2.0, 9.0, 0.0]), limits, 0.9, gamma=0.1)
    assert np.isnan(out[1])
    assert out[2] == pytest.approx(np.exp(0.1 * 0.9))


def test_senseless_settings_are_refused() -> None:
    """A level outside (0, 1), or a window as long as the data."""
    with pytest.raises(DataError, match="level"):
        adaptive(np.ones(600), 1.0, 0.01)
    with pytest.raises(DataError, match="level"):
        adaptive(np.ones(500), 0.9, 0.01)
    with pytest.raises(DataError, match="one limit"):
        tracked(np.ones(3), np.ones(2), 0.9)
    with pytest.raises(DataError, match="fewer"):
        worst_window(np.ones(10, bool))
