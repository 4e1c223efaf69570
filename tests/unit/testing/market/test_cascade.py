"""The cascade market: its closed form, its rate, and what its noise does."""

import numpy as np
import pytest

from cryptoai.testing.market.cascade import NOISE, amplified, cascade_market


def test_a_push_is_amplified_by_the_whole_series() -> None:
    """Inside the cluster a push of 1 at n = .6 ends at 2.5, as generation by generation; outside it stays 1."""
    one = np.ones(1)
    by_hand = sum(0.6**k for k in range(200))
    assert amplified(3 * one, 0.6 * one, 2 * one, 100 * one)[0] - 2 == pytest.approx(by_hand)
    assert amplified(1.9 * one, 0.6 * one, 2 * one, 100 * one)[0] == pytest.approx(1.9)


def test_the_move_is_continuous_where_the_cluster_ends() -> None:
    """Just before and just after the whole width is gone the move is the same, d + w."""
    one = np.ones(1)
    edge = 2.0 + 5.0 * 0.4
    near = [amplified((edge + off) * one, 0.6 * one, 2 * one, 5 * one)[0] for off in (-1e-9, 1e-9)]
    assert near == pytest.approx([7.0, 7.0], abs=1e-6)


def test_beyond_one_any_push_runs_away() -> None:
    """At n >= 1 the smallest push into the cluster takes all of it."""
    one = np.ones(1)
    for n in (1.0, 1.5):
        assert amplified(2.000001 * one, n * one, 2 * one, 5 * one)[0] >= 7.0
        assert amplified(1.999999 * one, n * one, 2 * one, 5 * one)[0] < 2.0


def test_the_oracle_is_calibrated_and_the_rate_is_what_it_says() -> None:
    """About 12 % are cascades, and in each tenth of the oracle's forecasts as many as it says."""
    market = cascade_market(3, 60_000)
    forecast = market.oracle()
    assert market.cascade.mean() == pytest.approx(0.122, abs=0.006)
    for rows in np.array_split(np.argsort(forecast), 10):
        assert market.cascade[rows].mean() == pytest.approx(forecast[rows].mean(), abs=0.025)


def test_a_cascade_is_a_move_through_the_cluster() -> None:
    """The label agrees with the move: the oracle's probability is that of the shock that the closed form needs."""
    truth = cascade_market(4, 20_000).truth
    n, d, w = truth[:, 0] * truth[:, 1], truth[:, 2], truth[:, 3]
    needed = d + w * np.maximum(1 - n, 0)
    assert (amplified(needed * 1.0001, n, d, w) >= (d + w) * (1 - 1e-9)).all()
    assert (amplified(needed * 0.9999, n, d, w) < d + w).all()


def test_observations_carry_their_noise_alone() -> None:
    """The logarithms are off by 25 %, independently in each column."""
    market = cascade_market(5, 20_000)
    off = np.log(market.observed / market.truth)
    assert off.std(axis=0) == pytest.approx(np.full(5, NOISE), rel=0.03)
    assert np.abs(np.corrcoef(off.T) - np.eye(5)).max() < 0.03
