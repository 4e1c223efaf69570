"""The probability of overfitting: near one half for pure noise, near zero for a real edge, high for a planted fit."""

from __future__ import annotations

import numpy as np
import pytest

from cryptoai.backtesting.significance import overfitting
from cryptoai.core.errors import DataError


def noise(seed: int, strategies: int = 40, n: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, strategies)) * 0.01


def test_noise_is_a_coin_toss() -> None:
    """Over several draws the chosen strategy of forty skilless ones is as often below the median as above."""
    found = [overfitting(noise(seed)).probability for seed in range(12)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.15)


def test_a_real_edge_survives() -> None:
    """One strategy with a per-period Sharpe ratio of 0.5 is chosen every time and holds."""
    returns = noise(1)
    returns[:, 7] += 0.005
    found = overfitting(returns)
    assert found.probability < 0.01
    assert found.loss < 0.01
    assert found.splits == 252


def test_a_fitted_strategy_is_exposed() -> None:
    """Each strategy is good in one tenth of the sample and bad elsewhere: what is chosen fails out of sample."""
    returns = noise(2, strategies=10) * 0.1
    for column, rows in enumerate(np.array_split(np.arange(len(returns)), 10)):
        returns[:, column] -= 0.002
        returns[rows, column] += 0.02
    assert overfitting(returns).probability > 0.9


def test_ties_are_neither_better_nor_worse() -> None:
    """Forty copies of one strategy rank in the middle."""
    assert overfitting(np.tile(noise(3, strategies=1), (1, 40))).probability == 1.0


@pytest.mark.parametrize(("shape", "blocks"), [((100, 1), 10), ((15, 5), 10), ((100, 5), 7), ((100,), 10)])
def test_what_cannot_be_split_is_refused(shape: tuple[int, ...], blocks: int) -> None:
    """One strategy, too few returns, an odd number of blocks, a vector."""
    with pytest.raises(DataError):
        overfitting(np.ones(shape), blocks)
