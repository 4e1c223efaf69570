"""The market of three regimes is what it says, and its filter is exact."""

import itertools

import numpy as np
import pytest

from cryptoai.testing.market.regimes import MEAN, SD, TRANSITION, RegimeMarket, regime_market, stationary


def test_the_same_seed_gives_the_same_bytes() -> None:
    """And another seed does not."""
    first, again, other = (regime_market(seed, 500) for seed in (1, 1, 2))
    assert first.returns.tobytes() == again.returns.tobytes()
    assert first.returns.tobytes() != other.returns.tobytes()


def test_moves_means_and_sds_are_those_of_the_parameters() -> None:
    """Counted over many rows; the long-run shares solve share = share P."""
    market = regime_market(3, 200_000)
    for state in range(3):
        here = market.regime == state
        after = market.regime[1:][here[:-1]]
        assert np.bincount(after, minlength=3) / len(after) == pytest.approx(np.array(TRANSITION[state]), abs=0.006)
        assert market.returns[here].mean() == pytest.approx(MEAN[state], abs=0.08)
        assert market.returns[here].std() == pytest.approx(SD[state], rel=0.02)
    share = stationary(np.asarray(TRANSITION))
    assert share @ np.asarray(TRANSITION) == pytest.approx(share)
    assert np.bincount(market.regime) / 200_000 == pytest.approx(share, abs=0.04)


def test_the_oracle_is_bayes_by_enumeration() -> None:
    """On six rows, summing over all 729 paths gives the filter's last row; filtering with a wrong chain does not."""
    market = regime_market(5, 6)
    chain, share = np.asarray(TRANSITION), stationary(np.asarray(TRANSITION))
    mass = np.zeros(3)
    for path in itertools.product(range(3), repeat=6):
        weight = share[path[0]] * np.prod([chain[a, b] for a, b in itertools.pairwise(path)])
        z = (market.returns - np.asarray(MEAN)[list(path)]) / np.asarray(SD)[list(path)]
        mass[path[-1]] += weight * np.prod(np.exp(-0.5 * z * z) / np.asarray(SD)[list(path)])
    assert market.oracle()[-1] == pytest.approx(mass / mass.sum())
    moved = RegimeMarket(market.returns[::-1].copy(), market.regime)
    assert moved.oracle()[-1] != pytest.approx(mass / mass.sum())


def test_the_oracle_is_right_more_often_than_the_commonest_regime() -> None:
    """About .875 of rows, where always saying calm is right on half of them."""
    market = regime_market(7, 40_000)
    known = market.oracle()
    assert (known.argmax(1) == market.regime).mean() == pytest.approx(0.875, abs=0.02)
    assert np.bincount(market.regime).max() / 40_000 < 0.62
