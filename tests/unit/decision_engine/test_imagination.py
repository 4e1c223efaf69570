"""Imagination over a tiny market model that keeps the world model's promises, with a truth that can be worked out."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from cryptoai.decision_engine.critic import Critic
from cryptoai.decision_engine.imagination import Conditions, imagine
from cryptoai.decision_engine.policy import Policy
from cryptoai.decision_engine.ppo import PPO, PPOConfig
from cryptoai.decision_engine.reward import wanted_exposure

torch.set_num_threads(1)


@dataclass(frozen=True)
class Latent:
    signal: Tensor

    @property
    def feature(self) -> Tensor:
        return self.signal


@dataclass(frozen=True)
class Expected:
    mean: Tensor

    @property
    def sd(self) -> Tensor:
        return torch.full_like(self.mean, 0.3)


class Signalled(nn.Module):
    """A market whose next return is `beta` times an AR(.9) signal that the feature shows, plus noise."""

    feature_dim = 1

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(beta))

    def forecast(self, latent: Latent) -> Expected:
        return Expected(self.beta * latent.signal)

    def step(self, latent: Latent, generator: torch.Generator) -> tuple[Latent, Tensor]:
        noise = torch.randn(2, len(latent.signal), generator=generator)
        returns = self.beta * latent.signal[:, 0] + 0.3 * noise[0]
        return Latent(0.9 * latent.signal + (1 - 0.81) ** 0.5 * noise[1].unsqueeze(-1)), returns


def starts(seed: int, lives: int = 192) -> Latent:
    return Latent(torch.randn(lives, 1, generator=torch.Generator().manual_seed(seed)))


def agent(seed: int = 0) -> tuple[Policy, Critic]:
    torch.manual_seed(seed)
    return Policy(1, 32), Critic(1, 32)


def train(beta: float, cost: float, updates: int) -> Policy:
    policy, critic = agent()
    learner = PPO(policy, critic, PPOConfig(learning_rate=1e-2, updates=updates, gamma=0.9))
    generator = torch.Generator().manual_seed(1)
    for seed in range(updates):
        learner.update(imagine(Signalled(beta), policy, critic, starts(seed), 8, cost, generator))
    return policy


def test_shapes_and_ends() -> None:
    """Ten steps of 192 lives; only the last step is cut, none terminates, and no gradient survives."""
    policy, critic = agent()
    rollout = imagine(Signalled(1.0), policy, critic, starts(0), 10, 0.1, torch.Generator().manual_seed(0))
    assert rollout.features.shape == (10, 192, 6)
    assert rollout.rewards.shape == rollout.values.shape == rollout.next_values.shape == (10, 192, 5)
    assert rollout.truncated.sum() == rollout.truncated[-1].sum() == 192
    assert not rollout.terminated.any()
    assert not rollout.rewards.requires_grad


def test_the_same_seed_imagines_the_same_lives() -> None:
    """All randomness comes from the generator that is handed in."""
    policy, critic = agent()
    runs = [imagine(Signalled(1.0), policy, critic, starts(0), 5, 0.1, torch.Generator().manual_seed(3)) for _ in "ab"]
    assert torch.equal(runs[0].rewards, runs[1].rewards)


def test_what_was_held_is_what_the_next_step_sees() -> None:
    """The exposure after a trade is the next step's input, and return is that exposure times the expected one."""
    policy, critic = agent()
    plain = Conditions(0.0, preferences=torch.zeros(192, 4))
    rollout = imagine(Signalled(1.0), policy, critic, starts(0), 6, plain, torch.Generator().manual_seed(3))
    action = torch.tanh(rollout.raw)
    traded = 0.5 + 0.25 * (action[..., 3] + 1)
    held = rollout.exposures + traded * (wanted_exposure(action) - rollout.exposures)
    assert torch.allclose(held[:-1], rollout.exposures[1:], atol=1e-6)
    assert torch.allclose(rollout.rewards[..., 0], held * rollout.features[..., 0], atol=1e-6)


@pytest.mark.parametrize("beta", [1.0, -1.0])
def test_the_policy_finds_the_sign_of_a_predictable_return(beta: float) -> None:
    """With a strong signal and small cost it goes long where the signal pays and short where it hurts."""
    policy = train(beta, cost=0.02, updates=25)
    exposure = wanted_exposure(policy(torch.tensor([[-1.5], [1.5]]), torch.zeros(2)).mode()) * beta
    assert exposure[0] < -0.4
    assert exposure[1] > 0.4


def test_a_cost_above_every_gain_keeps_it_flat() -> None:
    """Where a trade costs more than the market ever pays back, the trained policy hardly moves from flat."""
    policy = train(0.0, cost=3.0, updates=25)
    exposure = wanted_exposure(policy(torch.tensor([[-1.5], [0.0], [1.5]]), torch.zeros(3)).mode())
    assert exposure.abs().max() < 0.1


def test_the_drawdown_is_carried_and_shown() -> None:
    """What the drawdown objective paid is the change of the drawdown that the next step is shown."""
    policy, critic = agent()
    plain = Conditions(0.1, preferences=torch.zeros(192, 4))
    rollout = imagine(Signalled(1.0), policy, critic, starts(0), 6, plain, torch.Generator().manual_seed(3))
    shown = rollout.features[..., 1]
    depth = 5 * shown / (1 - shown)
    assert torch.allclose(depth[:-1] - depth[1:], rollout.rewards[:-1, :, 2], atol=1e-4)
    assert 0.3 < (depth[0] == 0).float().mean() < 0.7


def test_a_life_is_paid_by_its_own_weights() -> None:
    """The same draws under other weights: each reward is times its relative weight, and the policy is told of them."""
    policy, critic = agent()
    policy.body[0].weight.data[:, -5:-1] = 0.0  # deaf to the preferences, so that both lives are the same
    plain, dear = torch.zeros(192, 4), torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(192, -1)
    runs = [
        imagine(Signalled(1.0), policy, critic, starts(0), 4, Conditions(0.1, None, wanted), draws())
        for wanted in (plain, dear)
    ]
    assert torch.allclose(runs[1].rewards, runs[0].rewards * torch.tensor([1, 8, 1, 1, 1]) / 8**0.5)
    assert torch.equal(runs[1].features[..., -4:], dear.expand(4, -1, -1))


def test_doubt_is_taken_from_what_is_held() -> None:
    """A penalty of .5 costs .5 a unit of exposure, long or short, and nothing else changes."""
    policy, critic = agent()
    plain = torch.zeros(192, 4)
    runs = [
        imagine(Signalled(1.0), policy, critic, starts(0), 4, Conditions(0.1, doubt, plain), draws())
        for doubt in (None, lambda latent: torch.full_like(latent.signal[:, 0], 0.5))
    ]
    taken = runs[0].rewards - runs[1].rewards
    assert torch.allclose(taken[:-1, :, 0], 0.5 * runs[0].exposures[1:].abs(), atol=1e-6)
    assert taken[..., 1:].abs().max() == 0


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(3)
