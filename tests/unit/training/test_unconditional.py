"""The forecast that knows nothing: as good as a mixture around zero can be."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from cryptoai.training.unconditional import fit_base
from cryptoai.world_model import ReturnMixture


def likelihood(returns: np.ndarray) -> tuple[ReturnMixture, float]:
    base = fit_base(returns[:, None], np.ones((len(returns), 1), bool))
    mixture = ReturnMixture.of(base)
    return mixture, float(mixture.log_prob(torch.from_numpy(returns)[:, None].float()).mean())


def test_it_reaches_the_likelihood_of_the_true_density() -> None:
    """A mixture of a calm and a wild normal, as a market has: within two hundredths of a nat of the truth."""
    draws = np.random.default_rng(0)
    returns = draws.normal(size=8000) * np.where(draws.random(8000) < 0.8, 0.6, 2.0)
    true = np.log(0.8 * stats.norm.pdf(returns, scale=0.6) + 0.2 * stats.norm.pdf(returns, scale=2.0)).mean()
    mixture, reached = likelihood(returns)
    assert reached > true - 0.02
    assert float(mixture.mean) == 0.0


def test_a_market_that_mostly_stands_still_keeps_a_finite_density() -> None:
    """Nine returns of ten are exactly zero: the scale has a floor."""
    draws = np.random.default_rng(0)
    returns = np.where(draws.random(2000) < 0.9, 0.0, draws.normal(size=2000))
    mixture, reached = likelihood(returns)
    assert float(mixture.scale.min()) >= 0.02
    assert reached < 10


def test_no_known_return_leaves_a_usable_mixture() -> None:
    """A horizon longer than the data has no label and still a forecast."""
    base = fit_base(np.zeros((5, 1)), np.zeros((5, 1), bool))
    assert bool(torch.isfinite(base).all())
