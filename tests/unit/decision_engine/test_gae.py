"""GAE against its definition, and the two ends of an episode."""

import pytest
import torch

from cryptoai.core.errors import InvariantError
from cryptoai.decision_engine.gae import gae


def by_definition(
    rewards: torch.Tensor, values: tuple[torch.Tensor, torch.Tensor], ends: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Sum over the rest of the episode of (gamma lam)^k delta_{t+k}, in O(T^2), with gamma .9 and lam .8."""
    now, after = values
    terminated, truncated = ends
    advantages = torch.zeros_like(rewards)
    for t in range(rewards.shape[0]):
        for b in range(rewards.shape[1]):
            for k in range(rewards.shape[0] - t):
                future = 0.0 if terminated[t + k, b] else after[t + k, b]
                delta = rewards[t + k, b] + 0.9 * future - now[t + k, b]
                advantages[t, b] += (0.9 * 0.8) ** k * delta
                if terminated[t + k, b] or truncated[t + k, b]:
                    break
    return advantages


def test_equals_the_definition_with_mixed_ends() -> None:
    """Random rewards, values, terminations and truncations, two objectives, float64."""
    seeded = torch.Generator().manual_seed(8)
    rewards, now, after = (torch.randn(12, 5, 2, generator=seeded, dtype=torch.float64) for _ in range(3))
    terminated, truncated = (torch.rand(12, 5, generator=seeded) < 0.2 for _ in range(2))
    actual = gae(rewards, (now, after), (terminated, truncated), gamma=0.9, lam=0.8)
    assert torch.allclose(actual, by_definition(rewards, (now, after), (terminated, truncated)), atol=1e-12)


def test_advantage_plus_value_is_the_lambda_return() -> None:
    """R_t = r_t + gamma ((1 - lam) V_{t+1} + lam R_{t+1}), R = V where the life was cut: the same numbers, float64."""
    seeded = torch.Generator().manual_seed(9)
    rewards = torch.randn(9, 3, 2, generator=seeded, dtype=torch.float64)
    values = torch.randn(10, 3, 2, generator=seeded, dtype=torch.float64)
    none = torch.zeros(9, 3, dtype=torch.bool)
    cut = none.clone()
    cut[-1] = True
    expected, following = torch.empty_like(rewards), values[-1]
    for t in reversed(range(9)):
        following = rewards[t] + 0.9 * (0.2 * values[t + 1] + 0.8 * following)
        expected[t] = following
    actual = gae(rewards, (values[:-1], values[1:]), (none, cut), gamma=0.9, lam=0.8) + values[:-1]
    assert torch.allclose(actual, expected, atol=1e-12)


@pytest.mark.parametrize(("is_truncation", "expected"), [(True, 10.0), (False, 6.513215599)])
def test_truncation_keeps_the_future_and_termination_does_not(is_truncation: bool, expected: float) -> None:
    """With reward 1 for ever the value 1 / (1 - gamma) is a fixed point under a time limit; not if called a death."""
    value = torch.full((10, 1, 1), 10.0, dtype=torch.float64)
    last = torch.zeros(10, 1, dtype=torch.bool)
    last[-1] = True
    ends = (~last & last, last) if is_truncation else (last, ~last & last)
    target = gae(torch.ones_like(value), (value, value), ends, gamma=0.9, lam=1.0) + value
    assert float(target[0]) == pytest.approx(expected)


def test_refuses_flags_of_another_shape() -> None:
    """A missing axis would broadcast in silence."""
    row = torch.zeros(4, 2, 1)
    with pytest.raises(InvariantError, match="terminated"):
        gae(
            row, (row, row), (torch.zeros(4, dtype=torch.bool), torch.zeros(4, 2, dtype=torch.bool)), gamma=0.9, lam=0.9
        )
