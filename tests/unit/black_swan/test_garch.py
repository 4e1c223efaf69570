"""The volatility filter: its recursion, its fit, and what it may see."""

import math

import numpy as np
import pytest

from cryptoai.black_swan.garch import Garch, fit_garch
from cryptoai.core.errors import DataError
from cryptoai.testing.market.tails import garch_market


def test_the_recursion_is_the_definition() -> None:
    """Step by step in plain arithmetic it is the same, to rounding."""
    garch = Garch(0.1, 0.02, 0.08, 0.9, 5.0, 1.5)
    returns = np.random.default_rng(1).normal(size=200)
    variance, by_hand = 1.5, [math.sqrt(1.5)]
    for r in returns:
        variance = 0.02 + 0.08 * (r - 0.1) ** 2 + 0.9 * variance
        by_hand.append(math.sqrt(variance))
    assert garch.deviations(returns) == pytest.approx(np.array(by_hand), rel=1e-12)


def test_the_parameters_of_the_market_are_recovered() -> None:
    """On 8,000 returns of the known market the variance recursion and the tails of the shocks come back."""
    market = garch_market(3, 8000)
    garch = fit_garch(market.returns)
    assert garch.alpha == pytest.approx(0.08, abs=0.025)
    assert garch.persistence == pytest.approx(0.98, abs=0.015)
    assert garch.nu == pytest.approx(5.0, abs=0.8)
    ratio = garch.deviations(market.returns)[500:-1] / market.deviations[500:]
    assert np.abs(np.log(ratio)).mean() < 0.05


def test_the_unit_of_the_returns_does_not_matter() -> None:
    """Returns in basis points and as shares have the same filter, in their unit."""
    returns = garch_market(5, 1500).returns
    one, small = fit_garch(returns), fit_garch(returns * 1e-4)
    assert small.deviations(returns * 1e-4) == pytest.approx(1e-4 * one.deviations(returns), rel=1e-3)


def test_a_later_return_changes_no_earlier_deviation() -> None:
    """What comes at t first counts at t + 1."""
    garch, returns = Garch(0.0, 0.02, 0.08, 0.9, 5.0, 1.0), garch_market(2, 400).returns
    changed = returns.copy()
    changed[200:] = 50.0
    before, after = garch.deviations(returns), garch.deviations(changed)
    assert np.array_equal(before[:201], after[:201])
    assert after[201] > 5 * before[201]


@pytest.mark.parametrize(
    ("returns", "words"), [(np.zeros(499), "500"), (np.zeros(600), "do not move"), (np.full(600, np.nan), "finite")]
)
def test_what_cannot_be_filtered_is_refused(returns: np.ndarray, words: str) -> None:
    """Too few, still or broken returns are an error, not a guess."""
    with pytest.raises(DataError, match=words):
        fit_garch(returns)
