"""Metrics against closed forms and published numbers."""

import math

import numpy as np
import pytest

from cryptoai.backtesting import metrics, significance
from cryptoai.core.clock import SECOND

DAY = 86_400 * SECOND


def test_drawdown_finds_the_deepest_fall_and_the_longest_time_under_water() -> None:
    """Falls of 10 % and 50 %: the second is deeper, and it never recovers."""
    equity = np.array([100.0, 90.0, 100.0, 120.0, 60.0, 90.0])
    found = metrics.drawdown(np.arange(6) * DAY, equity)
    assert found.depth == pytest.approx(0.5)
    assert found.longest_ns == 2 * DAY


def test_drawdown_of_a_rising_curve_is_zero() -> None:
    """No fall, no drawdown."""
    assert metrics.drawdown(np.arange(3), np.array([1.0, 2.0, 3.0])).depth == 0.0


def test_sharpe_and_sortino_of_a_two_valued_return_are_closed_forms() -> None:
    """Returns +2 % and -1 % in turn: mean 0.5 %, sd 1.5 % (ddof 1), downside deviation 1 %/sqrt 2."""
    returns = np.tile([0.02, -0.01], 50)
    sd = 0.015 * math.sqrt(100 / 99)
    assert metrics.sharpe(returns, 365) == pytest.approx(0.005 / sd * math.sqrt(365))
    assert metrics.sortino(returns, 365) == pytest.approx(0.005 / (0.01 / math.sqrt(2)) * math.sqrt(365))
    assert metrics.volatility(returns, 365) == pytest.approx(sd * math.sqrt(365))


def test_ratios_without_variation_or_loss_are_none() -> None:
    """A constant return has no Sharpe ratio, a curve without a loss no Sortino ratio."""
    flat = np.full(10, 0.001)
    assert metrics.sharpe(flat, 365) is None
    assert metrics.sortino(flat, 365) is None
    assert metrics.skewness(flat) is None


def test_cagr_and_calmar_compound() -> None:
    """Doubling in half a year is 300 % a year."""
    assert metrics.cagr(1.0, 0.5) == pytest.approx(3.0)
    assert metrics.cagr(-1.0, 0.5) == -1.0
    assert metrics.calmar(3.0, 0.5) == pytest.approx(6.0)
    assert metrics.calmar(3.0, 0.0) is None


def test_var_and_expected_shortfall_read_the_worst_twentieth() -> None:
    """Of losses 1..101 in thousandths the worst 5 % are 96..101: VaR 96, ES their mean 98.5."""
    returns = -np.arange(1, 102) / 1000.0
    assert metrics.value_at_risk(returns) == pytest.approx(0.096)
    assert metrics.expected_shortfall(returns) == pytest.approx(0.0985)


def test_moments_of_a_skewed_coin_are_closed_forms() -> None:
    """A Bernoulli of p = 1/5 has skew (1 - 2p)/sqrt(pq) = 1.5 and kurtosis 3 + (1 - 6pq)/(pq) = 3.25."""
    coin = np.array([1.0, 0, 0, 0, 0])
    assert metrics.skewness(coin) == pytest.approx(1.5)
    assert metrics.kurtosis(coin) == pytest.approx(3.25)


def test_performance_of_a_short_sample_leaves_yearly_figures_out_and_says_so() -> None:
    """Two minutes say nothing about a year."""
    times = np.arange(121) * SECOND
    found = metrics.performance(times, 100.0 + np.sin(np.arange(121)))
    assert (found.cagr, found.sharpe, found.sortino, found.calmar, found.volatility) == (None,) * 5
    assert "2.0 minutes" in found.note
    assert found.sharpe_period is not None


def test_performance_of_a_year_annualises_with_365_days() -> None:
    """A year of daily samples: CAGR is the return, Sharpe scales with sqrt 365."""
    rng = np.random.default_rng(3)
    equity = 100 * np.cumprod(np.concatenate([[1.0], 1 + rng.normal(0.001, 0.02, 365)]))
    found = metrics.performance(np.arange(366) * DAY, equity)
    assert found.note == ""
    assert found.cagr == pytest.approx(found.total_return)
    assert found.sharpe == pytest.approx((found.sharpe_period or 0) * math.sqrt(365))
    assert found.calmar == pytest.approx((found.cagr or 0) / found.max_drawdown)


def test_deflated_sharpe_reproduces_the_paper() -> None:
    """Bailey and López de Prado (2014): SR 2.5 a year over 1250 days, 100 trials of variance 1/2."""
    best = significance.expected_best_sharpe(100, 0.5 / 250)
    assert best == pytest.approx(0.1132, abs=1e-4)
    found = significance.probabilistic_sharpe(2.5 / math.sqrt(250), best, 1250, -3.0, 10.0)
    assert found == pytest.approx(0.9004, abs=1e-4)


def test_deflated_sharpe_falls_with_the_number_of_trials() -> None:
    """The same returns are worth less when they were picked from many tries."""
    returns = np.random.default_rng(5).normal(0.05, 1.0, 2000)
    one, many = significance.deflated_sharpe(returns), significance.deflated_sharpe(returns, trials=100)
    assert one is not None
    assert many is not None
    assert many < one
    assert significance.deflated_sharpe(np.zeros(9)) is None


def test_block_bootstrap_covers_the_mean_at_its_nominal_rate() -> None:
    """The 90 % interval of the mean of independent normals holds the truth in about 90 % of 200 samples."""
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(200):
        sample = rng.normal(0.5, 1.0, 120)
        found = significance.block_bootstrap(sample, lambda x: float(np.mean(x)), rng, draws=120)
        hits += found.low <= 0.5 <= found.high
    assert 0.78 <= hits / 200 <= 0.97


def test_block_bootstrap_is_reproducible_and_keeps_dependence() -> None:
    """Equal seeds give equal intervals; blocks widen the interval of a persistent series."""
    noise = np.random.default_rng(2).normal(size=400)
    series = np.convolve(noise, np.ones(20), mode="valid")
    mean = lambda x: float(np.mean(x))  # noqa: E731
    blocks = significance.block_bootstrap(series, mean, np.random.default_rng(1), block=40)
    again = significance.block_bootstrap(series, mean, np.random.default_rng(1), block=40)
    single = significance.block_bootstrap(series, mean, np.random.default_rng(1), block=1)
    assert blocks == again
    assert blocks.high - blocks.low > 2 * (single.high - single.low)
