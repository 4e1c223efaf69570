"""The markets of known tails are what they say."""

import numpy as np
import pytest
from scipy import stats

from cryptoai.testing.market.tails import breaking_returns, garch_market, pareto_losses


def test_the_oracle_is_breached_as_often_as_it_says() -> None:
    """Over 60,000 steps the true value at risk is exceeded at its level, within three standard errors."""
    market = garch_market(1, 60_000)
    for p in (0.95, 0.99, 0.995):
        rate = (-market.returns > market.value_at_risk(p)).mean()
        assert abs(rate - (1 - p)) < 3 * np.sqrt(p * (1 - p) / 60_000)


def test_variance_is_one_and_it_clusters() -> None:
    """Mean squared return 1; squares are correlated, returns are not; shocks are Student-t(5)."""
    market = garch_market(2, 60_000)
    squares = market.returns**2
    assert squares.mean() == pytest.approx(1.0, abs=0.15)
    assert abs(np.corrcoef(market.returns[1:], market.returns[:-1])[0, 1]) < 0.03
    assert np.corrcoef(np.log(squares[1:]), np.log(squares[:-1]))[0, 1] > 0.05
    shocks = market.returns / market.deviations * np.sqrt(5 / 3)
    assert stats.kstest(shocks, stats.t(5).cdf).pvalue > 0.01


@pytest.mark.parametrize("xi", [0.0, 0.3, 0.6])
def test_pareto_losses_have_their_shape(xi: float) -> None:
    """By the law itself, for the exponential and for heavy tails."""
    assert stats.kstest(pareto_losses(4, 20_000, xi), stats.genpareto(xi).cdf).pvalue > 0.01


def test_volatility_breaks_where_it_should() -> None:
    """Each quarter has its deviation, the last step included; the same seed gives the same returns."""
    returns = breaking_returns(5, 8001)
    assert len(returns) == 8001
    assert [quarter.std() for quarter in np.array_split(returns, 4)] == pytest.approx([1, 2.5, 1, 4], rel=0.05)
    assert np.array_equal(returns, breaking_returns(5, 8001))
