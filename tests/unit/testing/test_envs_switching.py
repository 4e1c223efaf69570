"""The simulator that lives are drawn from is the market of `switching`, and its judge counts what it says."""

import numpy as np
import pytest
import torch

from cryptoai.decision_engine.policy import Policy
from cryptoai.testing.envs_switching import UNIT_BP, Recorded, Seen, TrueMarket, _filtered, trade
from cryptoai.testing.market import synthetic_dataset
from cryptoai.testing.market.switching import UNIT
from cryptoai.testing.policy_trials import CONTEXT, filter_features, recorded

torch.set_num_threads(1)


def test_lives_have_the_markets_moments_and_the_filter_is_calibrated() -> None:
    """Mean forecast and its deviation are those of the returns: standardised returns have mean 0 and variance 1."""
    _, mean, sd, returns = TrueMarket().lives(0, 200, 400)
    z = (returns - mean) / sd
    assert float(z.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(z.var()) == pytest.approx(1.0, abs=0.03)
    slope = (mean * returns).sum() / (mean * mean).sum()
    assert float(slope) == pytest.approx(1.0, abs=0.1)
    assert float(returns.std()) == pytest.approx(1.0, abs=0.03)


def test_the_stepwise_filter_is_the_one_of_the_generator() -> None:
    """Along the rows of a generated market, the belief after each return equals `wild_probability` of the next row."""
    market = synthetic_dataset(3, 400)
    truth = torch.from_numpy(market.wild_probability()).float()
    residual = torch.from_numpy(market.returns / UNIT - 0.16 * market.signal).float()
    assert torch.allclose(_filtered(truth[:-1], residual[:-1]), truth[1:], atol=1e-5)


def test_the_regime_is_not_shown() -> None:
    """Two places that differ in the hidden regime alone show the same feature and forecast."""
    calm, wild = (Seen(torch.ones(1), torch.full((1,), 0.4), torch.full((1,), side)) for side in (0.0, 1.0))
    assert torch.equal(calm.feature, wild.feature)
    assert torch.equal(TrueMarket().forecast(calm).mean, TrueMarket().forecast(wild).mean)


def test_a_record_gives_back_its_rows() -> None:
    """Step by step it returns what happened, in volatility units, and its forecast is the oracle's."""
    market = synthetic_dataset(5, 300)
    unit = UNIT_BP * UNIT
    record = recorded(filter_features(market), market, unit)
    place = record.at(torch.tensor([CONTEXT, 100]))
    after, returns = record.step(place, torch.Generator())
    assert after.rows.tolist() == [CONTEXT + 1, 101]
    assert returns.tolist() == pytest.approx((market.returns[[CONTEXT, 100]] / unit).tolist(), rel=1e-5)
    assert float(record.forecast(place).sd[1]) == pytest.approx(market.oracle()[1][100] / unit, rel=1e-5)


class _Half(Policy):
    """Always half long, at once."""

    def __init__(self) -> None:
        super().__init__(1, 8)
        last = self.body[-1]
        assert isinstance(last, torch.nn.Linear)
        last.weight.data.zero_()
        last.bias.data = torch.tensor([20.0, float(np.arctanh(0.5)), -20.0, 20.0])


def test_the_judge_counts_by_hand() -> None:
    """Half long of returns 1, -2 with means .1, .3 at cost .2: net, turnover, losses and drawdown."""
    means, returns = torch.tensor([0.1, 0.3]), torch.tensor([1.0, -2.0])
    record = Recorded(torch.zeros(2, 1), means, torch.ones(2), returns)
    outcome = trade(_Half(), record.lives(1), 0.2)
    assert float(outcome.net) == pytest.approx((0.5 * 0.1 - 0.2 * 0.5 + 0.5 * 0.3) / 2, abs=1e-5)
    assert outcome.turnover == pytest.approx(0.25, abs=1e-5)
    assert outcome.losses.flatten().tolist() == pytest.approx([-0.5, 1.0], abs=1e-5)
    assert float(outcome.drawdown) == pytest.approx(0.5, abs=1e-5)
    assert outcome.tail(0.5) == pytest.approx(1.0, abs=1e-5)
