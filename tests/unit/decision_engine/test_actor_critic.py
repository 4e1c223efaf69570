"""The plain networks: stacked members are separate networks, statistics are fitted once."""

import pytest
import torch

from cryptoai.core.errors import InvariantError
from cryptoai.decision_engine.actor_critic import Actor, StackedMLP, Standardiser, TwinQ, ValueCritic


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_stack_equals_its_members_one_by_one() -> None:
    """The batched product is the three linear layers of each member, and the members differ."""
    stack, rows = StackedMLP((3, 8, 2), 2, 1.0, seeded()), torch.randn(5, 3, generator=seeded(1))
    together = stack(rows)
    for member in range(2):
        x = rows
        for number, (weight, bias) in enumerate(zip(stack.weights, stack.biases, strict=True)):
            x = x @ weight[member] + bias[member]
            x = torch.tanh(x) if number < 2 else x
        assert torch.allclose(together[member], x, atol=1e-6)
    assert not torch.allclose(together[0], together[1])


def test_first_answers() -> None:
    """An untrained actor is nearly flat, an untrained value exactly zero, and global random state changes nothing."""
    seen = torch.randn(6, 3, generator=seeded(1))
    first = Actor((3, 8, 2), seeded())(seen)
    torch.manual_seed(5)
    assert torch.equal(first.mean, Actor((3, 8, 2), seeded())(seen).mean)
    assert float(first.mode().detach().abs().max()) < 0.05
    assert torch.equal(ValueCritic((3, 8, 4), seeded())(seen), torch.zeros(6, 4))
    assert TwinQ((3, 2, 8, 4), seeded())(seen, torch.zeros(6, 2)).shape == (2, 6, 4)


def test_spread_is_one_parameter_or_an_output() -> None:
    """PPO's spread is equal everywhere; SAC's depends on what is seen, within its bounds."""
    seen = torch.randn(6, 3, generator=seeded(1))
    assert torch.unique(Actor((3, 8, 2), seeded())(seen).log_std, dim=0).shape[0] == 1
    wide = Actor((3, 8, 2), seeded(), spread_by_state=True)
    assert torch.unique(wide(seen).log_std, dim=0).shape[0] == 6
    with torch.no_grad():
        wide.log_std.fill_(50.0)
    assert float(wide(seen).log_std.detach().max()) == 1.0


def test_standardiser_is_fitted_once_and_guards_constant_columns() -> None:
    """Zero mean and unit deviation on what it was fitted on; a constant column is not divided by zero."""
    rows = torch.cat([3.0 + 2.0 * torch.randn(4000, 1, generator=seeded()), torch.full((4000, 1), 7.0)], -1)
    standardise = Standardiser(2)
    assert torch.equal(standardise(torch.ones(1, 2)), torch.ones(1, 2))
    standardise.fit(rows)
    out = standardise(rows)
    assert out.mean(0).tolist() == pytest.approx([0.0, 0.0], abs=1e-5)
    assert out.std(0, correction=0).tolist() == pytest.approx([1.0, 0.0], abs=1e-5)
    assert float(standardise(torch.tensor([[1e9, 7.0]]))[0, 0]) == 10.0
    assert set(dict(standardise.named_buffers())) == {"mean", "scale"}


def test_standardiser_refuses_what_is_not_finite() -> None:
    """One NaN would spoil every later observation."""
    with pytest.raises(InvariantError, match="NaN"):
        Standardiser(1).fit(torch.tensor([[1.0], [float("nan")]]))
