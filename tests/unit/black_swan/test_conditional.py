"""Conditional value at risk: against an oracle, against baselines, and never with a look ahead."""

import numpy as np
import pytest
from scipy import stats

from cryptoai.black_swan.backtests import kupiec
from cryptoai.black_swan.conditional import ConditionalTail, Schedule, walk_forward
from cryptoai.black_swan.garch import fit_garch
from cryptoai.core.errors import DataError
from cryptoai.testing.market.tails import garch_market

MARKET = garch_market(11, 9000)
MODEL = ConditionalTail.fit(MARKET.returns[:6000])


@pytest.mark.parametrize("p", [0.95, 0.99, 0.995])
def test_it_follows_the_oracle(p: float) -> None:
    """Both sides of a symmetric market are within a tenth of the true VaR, on average over later steps."""
    truth = MARKET.value_at_risk(p)[6000:]
    for side in ("long", "short"):
        var, es = MODEL.risk(MARKET.returns, p, side)
        assert np.mean(var[6000:-1] / truth) == pytest.approx(1.0, abs=0.1)
        assert (es > var).all()


def test_a_normal_filter_fails_where_it_holds() -> None:
    """At 99.5 % the rate of breaches of GARCH-normal is rejected and that of the tails is not."""
    later, returns = slice(6000, None), MARKET.returns
    garch = fit_garch(returns[:6000], normal=True)
    normal = garch.deviations(returns)[:-1] * stats.norm.ppf(0.995) - garch.mean
    assert kupiec(-returns[later] > normal[later], 0.995).p_value < 0.05
    assert kupiec(-returns[later] > MODEL.risk(returns, 0.995)[0][:-1][later], 0.995).p_value > 0.05


def test_the_walk_never_looks_ahead() -> None:
    """Later returns and drivers, made absurd, leave every earlier forecast as it was, bit for bit."""
    returns = MARKET.returns[:2600].copy()
    drivers = np.column_stack([np.sin(np.arange(2600) / 9.0), np.roll(np.abs(returns), 1)])
    schedule = Schedule(start=2000, every=250, window=1500)
    before = walk_forward(returns, (0.95,), schedule, drivers)
    returns[2300:], drivers[2301:] = 40.0, 7.0
    after = walk_forward(returns, (0.95,), schedule, drivers)
    for key, forecast in before.items():
        assert np.isnan(forecast[:2000]).all()
        assert np.array_equal(forecast[2000:2301], after[key][2000:2301])
        assert not np.array_equal(forecast[2301:], after[key][2301:])


def test_a_driver_that_knows_the_volatility_is_used() -> None:
    """Given the size of the coming shock's deviation, the second filter's unit follows it closer than GARCH can."""
    rng = np.random.default_rng(5)
    log_deviation = np.repeat(rng.normal(0, 0.7, 200), 20)
    returns = np.exp(log_deviation) * rng.standard_t(6, 4000)
    model = ConditionalTail.fit(returns, log_deviation[:, None])
    with_driver = np.log(model.deviations(returns, log_deviation[:, None]))
    alone = np.log(ConditionalTail.fit(returns).deviations(returns)[:-1])
    assert np.corrcoef(with_driver, log_deviation)[0, 1] > 0.97 > np.corrcoef(alone, log_deviation)[0, 1]


def test_drivers_are_not_optional_for_a_model_fitted_with_them() -> None:
    """Asked without, it says so."""
    returns = MARKET.returns[:2000]
    model = ConditionalTail.fit(returns, np.zeros((2000, 1)))
    with pytest.raises(DataError, match="drivers"):
        model.risk(returns, 0.99)
    with pytest.raises(DataError, match="nothing after"):
        walk_forward(returns, (0.99,), Schedule(start=2000))
