"""The tanh-Normal against numerical change of variables and at its bounds."""

import math

import pytest
import torch

from cryptoai.decision_engine.distributions import TanhNormal


def one(mean: float, std: float) -> TanhNormal:
    return TanhNormal(torch.tensor([mean], dtype=torch.float64), torch.tensor([math.log(std)], dtype=torch.float64))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.7, 0.3), (-2.0, 0.8)])
def test_density_integrates_to_one_over_the_open_interval(mean: float, std: float) -> None:
    """The density of tanh(u), integrated over actions, is 1."""
    action = torch.linspace(-1, 1, 400_003, dtype=torch.float64)[1:-1]
    density = one(mean, std).log_prob(torch.atanh(action).unsqueeze(-1)).exp()
    assert float(torch.trapezoid(density, action)) == pytest.approx(1.0, abs=1e-4)


def test_log_prob_equals_the_numerical_change_of_variables() -> None:
    """Normal density over the derivative of tanh by autograd, in float64."""
    raw = torch.linspace(-3, 3, 31, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(torch.tanh(raw).sum(), raw)[0]
    expected = torch.distributions.Normal(0.2, 0.9).log_prob(raw.detach()) - slope.log()
    actual = one(0.2, 0.9).log_prob(raw.detach().unsqueeze(-1))
    assert torch.allclose(actual, expected, atol=1e-12)


def test_log_prob_is_finite_where_the_action_saturates() -> None:
    """At u = 40 the naive log(1 - a^2) is minus infinity; here value and gradient are finite and right."""
    raw = torch.tensor([[40.0]])
    mean = torch.tensor([0.0], requires_grad=True)
    log_prob = TanhNormal(mean, torch.zeros(1)).log_prob(raw)
    expected = -0.5 * 1600 - 0.5 * math.log(2 * math.pi) - 2 * (math.log(2) - 40)
    assert float(log_prob.detach()) == pytest.approx(expected, rel=1e-6)
    log_prob.sum().backward()
    assert mean.grad is not None
    assert float(mean.grad) == pytest.approx(40.0)


def test_entropy_draws_average_to_the_entropy() -> None:
    """The mean of many draws is minus the integral of p log p."""
    wide = TanhNormal(torch.full((20_000, 1), 0.3), torch.tensor(-0.5))
    action = torch.linspace(-1, 1, 200_003, dtype=torch.float64)[1:-1]
    log_density = one(0.3, math.exp(-0.5)).log_prob(torch.atanh(action).unsqueeze(-1))
    exact = -float(torch.trapezoid(log_density.exp() * log_density, action))
    assert float(wide.entropy(torch.Generator().manual_seed(1)).mean()) == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.6), (0.5, 0.5), (-1.2, 1.0), (3.0, 0.05)])
def test_mean_action_is_the_integral_and_lies_within_the_mode(mean: float, std: float) -> None:
    """E tanh(u) to 1e-4 against numerical integration; the mode is beyond it unless there is no spread."""
    u = torch.linspace(mean - 10 * std, mean + 10 * std, 200_001, dtype=torch.float64)
    density = torch.exp(-0.5 * ((u - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
    exact = float(torch.trapezoid(density * torch.tanh(u), u))
    actions = one(mean, std)
    assert float(actions.mean_action()) == pytest.approx(exact, abs=1e-4)
    assert abs(float(actions.mean_action())) <= abs(float(actions.mode()))


def test_sampling_follows_the_generator_alone() -> None:
    """Equal seeds give equal draws whatever the global seed is."""
    actions = TanhNormal(torch.zeros(3, 4), torch.zeros(4))
    first = actions.sample(torch.Generator().manual_seed(5))
    torch.manual_seed(99)
    assert torch.equal(first, actions.sample(torch.Generator().manual_seed(5)))
