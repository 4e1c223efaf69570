"""The judges of risk forecasts: their size where the forecast is right, their power where it is wrong."""

import math

import numpy as np
import pytest
from scipy import stats

from cryptoai.black_swan.backtests import christoffersen, independence, kupiec, shortfall_test
from cryptoai.core.errors import DataError


@pytest.mark.parametrize("p", [0.95, 0.99])
def test_coverage_tests_hold_their_size(p: float) -> None:
    """Of right forecasts with independent breaches each test rejects about one in twenty."""
    rng = np.random.default_rng(17)
    runs = [rng.random(2500) > p for _ in range(300)]
    assert 0.01 < np.mean([kupiec(run, p).p_value < 0.05 for run in runs]) < 0.10
    assert 0.01 < np.mean([christoffersen(run, p).p_value < 0.05 for run in runs]) < 0.12


def test_kupiec_equals_the_textbook_ratio_and_rejects_a_wrong_rate() -> None:
    """17 breaches of 255 at 99 % give Jorion's likelihood ratio; 10 of 1000 at 99 % is a perfect fit."""
    breaches = np.arange(255) < 17
    by_hand = -2 * math.log(0.99**238 * 0.01**17) + 2 * math.log((238 / 255) ** 238 * (17 / 255) ** 17)
    assert kupiec(breaches, 0.99).statistic == pytest.approx(by_hand)
    assert kupiec(breaches, 0.99).p_value < 1e-6
    assert kupiec(np.arange(1000) < 10, 0.99).p_value == pytest.approx(1.0)


def test_one_jump_seen_from_ten_overlapping_rows_is_one_breach() -> None:
    """11 of 198 rows that overlap by ten say as much as 1.1 of 19.8 steps: nothing against 1 %."""
    breaches = np.arange(198) < 11
    assert kupiec(breaches, 0.99).p_value < 1e-4
    assert kupiec(breaches, 0.99, overlap=10).p_value > 0.05
    assert kupiec(breaches, 0.99, overlap=10).rate == pytest.approx(11 / 198)


def test_clusters_are_seen_by_independence_alone() -> None:
    """Ten breaches in a row of 1,000 have the right rate; both tests that look at their order reject."""
    clustered = np.arange(1000) < 10
    assert kupiec(clustered, 0.99).p_value > 0.9
    assert independence(clustered).p_value < 0.001
    assert christoffersen(clustered, 0.99).p_value < 0.001


def test_conditional_coverage_is_the_sum_of_its_parts() -> None:
    """The statistic is that of the rate plus that of the order."""
    hit = np.random.default_rng(3).random(500) < 0.08
    parts = kupiec(hit, 0.95).statistic + independence(hit).statistic
    assert christoffersen(hit, 0.95).statistic == pytest.approx(parts)


def test_independence_equals_a_table_by_hand() -> None:
    """After 6 quiet steps 2 breaches, after 3 breaches 1: the likelihood ratio of that two-by-two table."""
    hit = np.array([0, 0, 1, 1, 0, 0, 0, 1, 0, 0], dtype=bool)
    chain = 2 * math.log(2 / 6) + 4 * math.log(4 / 6) + 1 * math.log(1 / 3) + 2 * math.log(2 / 3)
    free = 3 * math.log(3 / 9) + 6 * math.log(6 / 9)
    assert independence(hit).statistic == pytest.approx(2 * (chain - free))


def shortfall(nu: float, p: float) -> tuple[float, float]:
    """VaR and ES of Student-t losses in closed form."""
    quantile = stats.t.ppf(p, nu)
    return quantile, stats.t.pdf(quantile, nu) / (1 - p) * (nu + quantile**2) / (nu - 1)


def test_the_shortfall_test_accepts_the_truth_and_rejects_a_normal_tail() -> None:
    """On Student-t(4) losses the closed form passes in most of 40 samples; the normal shortfall never does."""
    var, es = shortfall(4, 0.975)
    normal = stats.norm.pdf(stats.norm.ppf(0.975)) / 0.025
    accepted, fooled = 0, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        losses, one = rng.standard_t(4, 5000), np.ones(5000)
        accepted += shortfall_test(losses, var * one, es * one, one, rng).p_value > 0.05
        fooled += shortfall_test(losses, var * one, normal * one, one, rng).p_value > 0.05
    assert accepted >= 34
    assert fooled == 0


def test_too_little_is_refused() -> None:
    """No forecasts, one forecast in time, or four breaches decide nothing."""
    with pytest.raises(DataError, match="at least one"):
        kupiec(np.zeros(0, bool), 0.99)
    with pytest.raises(DataError, match="at least two"):
        christoffersen(np.zeros(1, bool), 0.99)
    four = np.arange(100.0)
    with pytest.raises(DataError, match="4 breaches"):
        shortfall_test(four, np.full(100, 95.5), np.full(100, 97.0), np.ones(100), np.random.default_rng(0))
