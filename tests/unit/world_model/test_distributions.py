"""The closed forms of the return mixture against scipy, and the categorical latent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from cryptoai.core.errors import InvariantError
from cryptoai.world_model.distributions import ReturnMixture, kl, log_probabilities, mode, sample, t4_cdf, t4_quantile


@pytest.fixture
def mixture() -> ReturnMixture:
    return ReturnMixture(
        torch.tensor([[[0.3, -0.2, 0.9]]]), torch.tensor([[[0.1, -1.0, 0.4]]]), torch.tensor([[[0.5, 2.0, 0.1]]])
    )


def reference(mixture: ReturnMixture) -> tuple[np.ndarray, list[stats.rv_continuous]]:
    parts = zip(mixture.loc[0, 0].tolist(), mixture.scale[0, 0].tolist(), strict=True)
    return mixture.weights[0, 0].numpy(), [stats.t(4, loc, scale) for loc, scale in parts]


def test_the_closed_forms_of_t4_are_those_of_scipy() -> None:
    """Distribution function and quantile, out into the tails."""
    x, p = np.linspace(-30, 30, 201), np.linspace(1e-4, 1 - 1e-4, 199)
    assert np.allclose(t4_cdf(torch.from_numpy(x)), stats.t.cdf(x, 4), atol=1e-12)
    assert np.allclose(t4_quantile(torch.from_numpy(p)), stats.t.ppf(p, 4), rtol=1e-7, atol=1e-7)


def test_density_distribution_and_moments(mixture: ReturnMixture) -> None:
    """log_prob, cdf, mean and sd of the mixture equal the weighted sums of scipy's components."""
    weights, parts = reference(mixture)
    for x in (-4.0, -0.3, 0.0, 2.5):
        at = torch.tensor([[x]])
        assert float(mixture.log_prob(at)) == pytest.approx(
            np.log(sum(w * p.pdf(x) for w, p in zip(weights, parts, strict=True))), abs=1e-5
        )
        assert float(mixture.cdf(at)) == pytest.approx(
            sum(w * p.cdf(x) for w, p in zip(weights, parts, strict=True)), abs=1e-6
        )
    mean = sum(w * p.mean() for w, p in zip(weights, parts, strict=True))
    second = sum(w * (p.var() + p.mean() ** 2) for w, p in zip(weights, parts, strict=True))
    assert float(mixture.mean) == pytest.approx(mean, abs=1e-6)
    assert float(mixture.sd) == pytest.approx(np.sqrt(second - mean**2), rel=1e-5)


@pytest.mark.parametrize("p", [0.001, 0.01, 0.5, 0.95, 0.999])
def test_quantiles_invert_the_distribution(mixture: ReturnMixture, p: float) -> None:
    """cdf(quantile(p)) is p."""
    assert float(mixture.cdf(mixture.quantile(p))) == pytest.approx(p, abs=1e-5)


def test_a_quantile_of_an_impossible_probability_is_refused(mixture: ReturnMixture) -> None:
    """0 and 1 have no finite quantile."""
    with pytest.raises(InvariantError, match="probability"):
        mixture.quantile(1.0)


def test_draws_follow_the_distribution(mixture: ReturnMixture) -> None:
    """Kolmogorov-Smirnov of 20,000 draws pushed through the distribution function; the seed decides them all."""
    wide = ReturnMixture(*(part.expand(20_000, 1, 3) for part in (mixture.logits, mixture.loc, mixture.scale)))
    draws = wide.sample(torch.Generator().manual_seed(3))
    assert stats.kstest(wide.cdf(draws)[:, 0].numpy(), "uniform").pvalue > 0.01
    assert torch.equal(draws, wide.sample(torch.Generator().manual_seed(3)))


def test_no_class_is_impossible() -> None:
    """One per cent of every categorical is uniform, so a surprise costs a finite number of nats."""
    logits = torch.tensor([[100.0] + [0.0] * 7])
    assert float(log_probabilities(logits).exp().min()) == pytest.approx(0.01 / 8, rel=1e-4)
    assert float(kl(log_probabilities(-logits), log_probabilities(logits))) < 10


def test_log_probabilities_are_those_of_a_softmax() -> None:
    """Also where the categoricals of one stack live on very different levels, and in the gradient."""
    logits = 3 * torch.randn(5, 4, 8, generator=torch.Generator().manual_seed(0))
    logits[:, 1] -= 40.0
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    probabilities = log_probabilities(ours)
    wanted = torch.log(0.99 * torch.softmax(theirs, -1) + 0.01 / 8)
    assert torch.allclose(probabilities, wanted, atol=1e-5)
    for found in (probabilities, wanted):
        (found * torch.arange(8.0)).sum().backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-4)


def test_kl_is_zero_at_home_and_positive_elsewhere() -> None:
    """KL of (G, C) logits is summed over both axes."""
    logits = torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(4, 2, 8)
    left, right = (log_probabilities(part) for part in logits)
    assert kl(left, left).abs().max() < 1e-6
    assert kl(left, right).shape == (4,)
    assert bool((kl(left, right) > 0).all())


def test_latent_draws_are_one_hot_with_gradients_straight_through() -> None:
    """Forward a class, backward the probabilities; without gradients exactly one-hot."""
    logits = torch.zeros(50, 2, 8, requires_grad=True)
    drawn = sample(logits, torch.Generator().manual_seed(0))
    (drawn * torch.arange(16.0)).sum().backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) > 0
    with torch.no_grad():
        plain = sample(logits, torch.Generator().manual_seed(0))
    assert set(plain.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(plain, drawn.detach(), atol=1e-6)


def test_latent_frequencies_match_the_probabilities() -> None:
    """The inverse-distribution draw is unbiased."""
    logits = torch.log(torch.tensor([0.5, 0.25, 0.125, 0.125, 1e-9, 1e-9, 1e-9, 1e-9])).expand(20_000, 1, 8)
    with torch.no_grad():
        share = sample(logits, torch.Generator().manual_seed(0)).mean(0)
    assert torch.allclose(share[:4], 0.99 * torch.tensor([0.5, 0.25, 0.125, 0.125]) + 0.00125, atol=0.015)
    assert mode(logits[:1]).argmax() == 0
