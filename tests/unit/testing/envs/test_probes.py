"""PPO and SAC pass the probes: each asks for one ability, and a wrong setting gives the wrong answer."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from cryptoai.decision_engine.ppo import PPOConfig
from cryptoai.decision_engine.sac import SACConfig
from cryptoai.testing.envs.learning import PPOPlan, SACPlan, learn_ppo, learn_sac
from cryptoai.testing.envs.lives import Lives, Moment
from cryptoai.testing.envs.probes import ActionReward, Identity, Perpetuity, SeenReward, TwoSteps

torch.set_num_threads(1)
SEEN = torch.tensor([[-1.0], [1.0]])
PPO = PPOPlan(
    PPOConfig(updates=30, learning_rate=2e-2, gamma=0.6, entropy=0.0, weights=(1.0,), max_grad_norm=5.0),
    length=8, hidden=16, warm_up=0,
)  # fmt: skip
SAC = SACPlan(
    SACConfig(updates=200, learning_rate=1e-2, gamma=0.6, tau=0.1, alpha=0.3, target_entropy=-0.5),
    rounds=100, updates_per_round=2, hidden=32, warm_up=32,
)  # fmt: skip


def made(probe: type[Lives]) -> Lives:
    return probe(32, torch.Generator().manual_seed(0))


def ppo(environment: Lives) -> tuple[list[float], list[float]]:
    """Values and actions at -1 and +1."""
    actor, critic, _ = learn_ppo(environment, PPO)
    with torch.no_grad():
        return critic(SEEN)[:, 0].tolist(), actor(SEEN).mean_action()[:, 0].tolist()


def sac(environment: Lives) -> tuple[list[float], list[float]]:
    """Values of the reward alone (the entropy has its own column) and actions at -1 and +1."""
    actor, critic, _ = learn_sac(environment, SAC)
    with torch.no_grad():
        actions = actor(SEEN).mean_action()
        return critic(SEEN, actions)[:, :, 0].mean(0).tolist(), actions[:, 0].tolist()


@pytest.mark.parametrize("learn", [ppo, sac])
def test_reward_by_observation_is_the_value(learn: Callable[[Lives], tuple[list[float], list[float]]]) -> None:
    """The critic tells the two observations apart."""
    values, _ = learn(made(SeenReward))
    assert values == pytest.approx([-1.0, 1.0], abs=0.1)


@pytest.mark.parametrize("learn", [ppo, sac])
def test_two_steps_are_discounted_once(learn: Callable[[Lives], tuple[list[float], list[float]]]) -> None:
    """A reward of 1 a step ahead is worth gamma, and nothing follows the end."""
    values, _ = learn(made(TwoSteps))
    assert values == pytest.approx([0.6, 1.0], abs=0.08)


@pytest.mark.parametrize("learn", [ppo, sac])
def test_reward_by_action_is_found(learn: Callable[[Lives], tuple[list[float], list[float]]]) -> None:
    """The inner optimum .5, whatever is seen."""
    _, actions = learn(made(ActionReward))
    assert actions == pytest.approx([0.5, 0.5], abs=0.12)


@pytest.mark.parametrize("learn", [ppo, sac])
def test_identity_is_found(learn: Callable[[Lives], tuple[list[float], list[float]]]) -> None:
    """The action follows the observation."""
    _, actions = learn(made(Identity))
    assert actions == pytest.approx([-0.7, 0.7], abs=0.12)


class CalledDeath(Perpetuity):
    """The same perpetuity with its time limit reported as a true end: the mistake."""

    def step(self, action: torch.Tensor) -> Moment:
        moment = super().step(action)
        return replace(moment, terminated=moment.truncated, truncated=torch.zeros_like(moment.truncated))


@pytest.mark.parametrize("learn", [ppo, sac])
def test_perpetuity_under_a_time_limit(learn: Callable[[Lives], tuple[list[float], list[float]]]) -> None:
    """Worth 1 / (1 - gamma) = 2.5 when the cut is bootstrapped; clearly less when it is called a death."""
    right, _ = learn(made(Perpetuity))
    wrong, _ = learn(made(CalledDeath))
    assert right == pytest.approx([2.5, 2.5], rel=0.05)
    assert max(wrong) < 2.37
