"""The hidden-trend market is what it claims to be, and its filter is the oracle that it is used as."""

import numpy as np
import pytest
import torch

from cryptoai.decision_engine.options import option_exposures
from cryptoai.testing.envs_options import HiddenTrendLives
from cryptoai.testing.market.hidden_trend import HiddenTrend, hidden_trend


@pytest.mark.parametrize(("phi", "known", "accuracy"), [(0.2, 0.40, 0.79), (0.3, 0.56, 0.85), (0.4, 0.66, 0.90)])
def test_the_filter_knows_what_theory_says(phi: float, known: float, accuracy: float) -> None:
    """E[w^2] and the share of steps whose side it names; it is calibrated: E[side | w] = w."""
    market = hidden_trend(0, 1500, 200, phi)
    w, side = market.filtered_side()[200:], market.side[200:]
    assert (w**2).mean() == pytest.approx(known, abs=0.015)
    assert (np.sign(w) == side).mean() == pytest.approx(accuracy, abs=0.015)
    high = (w > 0.6) & (w < 0.8)
    assert side[high].mean() == pytest.approx(w[high].mean(), abs=0.03)


def test_one_side_for_ever_earns_nothing() -> None:
    """At full size it loses what the clairvoyant earns; at no size does it earn more than a twentieth of that."""
    market = hidden_trend(1, 1500, 200, 0.3)
    trend = 0.3 * market.returns[:-1]
    best = market.value(market.clairvoyant_positions()).mean()
    assert market.value(trend).mean() == pytest.approx(-best, rel=0.1)
    assert max(market.value(size * trend).mean() for size in (-0.5, -0.1, 0.1, 0.5)) < 0.05 * best


def test_the_filter_beats_every_nearby_position() -> None:
    """Its positions are optimal given what is known: half, double and delayed ones earn less."""
    market = hidden_trend(2, 1500, 200, 0.3)
    ours = market.optimal_positions()
    value = market.value(ours).mean()
    for other in (0.7 * ours, 1.3 * ours, np.roll(ours, 1, axis=0)):
        assert market.value(other).mean() < value


def test_the_filter_does_not_look_ahead() -> None:
    """Returns after step 50 changed: the filter up to step 51 is bitwise equal."""
    market = hidden_trend(3, 100, 5, 0.3)
    other = market.returns.copy()
    other[51:] *= -2
    assert np.array_equal(market.filtered_side()[:52], HiddenTrend(other, market.side, market.phi).filtered_side()[:52])


def test_returns_follow_the_side() -> None:
    """The regression of side x return on the return before gives phi; the same seed gives the same bytes."""
    market = hidden_trend(4, 2000, 100, 0.3)
    before, after = market.returns[:-1], market.side[1:] * market.returns[1:]
    assert (before * after).mean() / (before**2).mean() == pytest.approx(0.3, abs=0.01)
    assert np.array_equal(market.returns, hidden_trend(4, 2000, 100, 0.3).returns)


def test_full_trend_is_the_clairvoyant_while_it_trends() -> None:
    """In the lives that trade it, the trend option at full budget holds phi x move (up to the clamp at 3)."""
    market = hidden_trend(5, 10, 50, 0.3)
    lives = HiddenTrendLives(market)
    for _ in range(10):
        lives.trade(option_exposures(lives.signals())[:, 0])
    expected = 0.3 * np.clip(market.returns[:-1], -3, 3)
    assert np.allclose(lives.held(), expected, atol=1e-6)
    assert lives.left == 0
    assert isinstance(lives.positions[0], torch.Tensor)
