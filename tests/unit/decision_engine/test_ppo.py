"""PPO on exact facts and on probe environments, each of which one broken part would fail."""

from collections.abc import Callable

import pytest
import torch

from cryptoai.core.errors import InvariantError
from cryptoai.decision_engine.actor_critic import Actor, ValueCritic
from cryptoai.decision_engine.critic import Critic
from cryptoai.decision_engine.policy import Policy
from cryptoai.decision_engine.ppo import PPO, PPOConfig
from cryptoai.decision_engine.rollout import Rollout

torch.set_num_threads(1)
Payoff = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def agent(seed: int = 0) -> tuple[Policy, Critic]:
    torch.manual_seed(seed)
    return Policy(1, 16), Critic(1, 16, objectives=1)


@torch.no_grad()
def live(policy: Policy, critic: Critic, payoff: Payoff, *, steps: int, seed: int, ends: bool) -> Rollout:
    """`steps` x 64 independent observations of +-1; with `ends` each step is an episode, else the last is cut."""
    seeded = torch.Generator().manual_seed(seed)
    features = torch.randint(0, 2, (steps + 1, 64, 1), generator=seeded).float() * 2 - 1
    exposures = torch.zeros(steps + 1, 64)
    values = torch.stack([critic(f, e) for f, e in zip(features, exposures, strict=True)])
    actions = policy(features[:-1].flatten(0, 1), exposures[:-1].flatten())
    raw = actions.sample(seeded)
    rewards = payoff(features[:-1, :, 0], torch.tanh(raw).unflatten(0, (steps, 64))).unsqueeze(-1)
    last = torch.zeros(steps, 64, dtype=torch.bool)
    last[-1] = True
    terminated, truncated = (torch.ones_like(last), ~last & last) if ends else (~last & last, last)
    log_probs = actions.log_prob(raw).unflatten(0, (steps, 64))
    return Rollout(
        features[:-1], exposures[:-1], raw.unflatten(0, (steps, 64)), log_probs, rewards, values[:-1], values[1:],
        terminated, truncated,
    )  # fmt: skip


def train(payoff: Payoff, *, updates: int, ends: bool = True, gamma: float = 0.9) -> tuple[Policy, Critic]:
    policy, critic = agent()
    config = PPOConfig(learning_rate=2e-2, updates=updates, gamma=gamma, weights=(1.0,), max_grad_norm=5.0)
    learner = PPO(policy, critic, config)
    for seed in range(updates):
        learner.update(live(policy, critic, payoff, steps=8, seed=seed, ends=ends))
    return policy, critic


def ones(_: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    return torch.ones(action.shape[:-1])


SEEN = torch.tensor([[-1.0], [1.0]])
FLAT = torch.zeros(2)


def test_first_minibatch_has_ratio_one() -> None:
    """Before any step the policy is the one that acted: ratio 1, no clipping, and the KL is 0."""
    policy, critic = agent()
    report = PPO(policy, critic, PPOConfig(weights=(1.0,), epochs=1, minibatches=1)).update(
        live(policy, critic, ones, steps=4, seed=0, ends=True)
    )
    assert report["first_ratio"] < 1e-6
    assert report["approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert report["clip_fraction"] == 0.0


def test_gradient_at_ratio_one_is_the_policy_gradient() -> None:
    """One plain step changes the policy as the score-function gradient of the normalised advantage does."""
    policy, critic = agent()
    rollout = live(policy, critic, lambda _, action: action[..., 0], steps=4, seed=0, ends=True)
    actions = policy(rollout.features.flatten(0, 1), rollout.exposures.flatten())
    advantage = (rollout.rewards - rollout.values).flatten()
    advantage = (advantage - advantage.mean()) / advantage.std(correction=0)
    expected = torch.autograd.grad(-(actions.log_prob(rollout.raw.flatten(0, 1)) * advantage).mean(), policy.log_std)[0]
    learner = PPO(policy, critic, PPOConfig(weights=(1.0,), epochs=1, minibatches=1, entropy=0.0, max_grad_norm=1e9))
    learner.update(rollout)
    assert policy.log_std.grad is not None
    assert torch.allclose(policy.log_std.grad, expected, atol=1e-6)


def test_constant_reward_has_the_value_of_a_perpetuity() -> None:
    """Reward 1 for ever, watched eight steps at a time, is worth 1 / (1 - gamma) = 2.5."""
    _, critic = train(ones, updates=50, ends=False, gamma=0.6)
    assert critic(SEEN, FLAT).squeeze().tolist() == pytest.approx([2.5, 2.5], rel=0.05)


def test_reward_by_observation_is_the_value() -> None:
    """The critic tells the two observations apart."""
    _, critic = train(lambda seen, _: seen, updates=25)
    assert critic(SEEN, FLAT).squeeze().tolist() == pytest.approx([-1.0, 1.0], abs=0.1)


def test_reward_by_action_is_found() -> None:
    """The policy moves to the inner optimum .5 of one action."""
    policy, _ = train(lambda _, action: -((action[..., 0] - 0.5) ** 2), updates=30)
    assert policy(SEEN, FLAT).mode()[:, 0].tolist() == pytest.approx([0.5, 0.5], abs=0.1)


def test_reward_by_observation_and_action_is_found() -> None:
    """The policy answers each observation with its own sign."""
    policy, _ = train(lambda seen, action: seen * action[..., 0], updates=30)
    low, high = policy(SEEN, FLAT).mode()[:, 0].tolist()
    assert low < -0.7
    assert high > 0.7


def test_learning_is_repeatable() -> None:
    """Two runs from equal seeds give bitwise equal policies."""
    first, second = (train(lambda seen, action: seen * action[..., 1], updates=3)[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_learning_rate_is_annealed_and_gradients_are_clipped() -> None:
    """The rate falls linearly to its floor; a huge reward moves no parameter by more than Adam's step."""
    policy, critic = agent()
    learner = PPO(policy, critic, PPOConfig(learning_rate=1.0e-3, updates=2, weights=(1.0,)))
    rollout = live(policy, critic, lambda seen, _: seen * 1e6, steps=4, seed=0, ends=True)
    rates = [learner.update(rollout)["learning_rate"] for _ in range(4)]
    assert rates == pytest.approx([1e-3, 5e-4, 5e-5, 5e-5])
    assert all(torch.isfinite(p).all() for p in [*policy.parameters(), *critic.parameters()])


def test_broken_rewards_change_nothing() -> None:
    """A NaN reward is an error before the first optimiser step."""
    policy, critic = agent()
    before = [p.clone() for p in policy.parameters()]
    rollout = live(policy, critic, lambda seen, _: seen * float("nan"), steps=4, seed=0, ends=True)
    with pytest.raises(InvariantError, match="no step was taken"):
        PPO(policy, critic, PPOConfig(weights=(1.0,))).update(rollout)
    assert all(torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True))


def test_learns_over_a_plain_observation_vector_with_any_number_of_actions() -> None:
    """Without exposures the policy is asked with the features alone; three actions find three different optima."""
    draws = torch.Generator().manual_seed(0)
    actor, value, best = Actor((2, 16, 3), draws), ValueCritic((2, 16, 1), draws), torch.tensor([0.5, 0.0, -0.5])
    learner = PPO(actor, value, PPOConfig(learning_rate=2e-2, updates=25, weights=(1.0,), max_grad_norm=5.0))
    for _ in range(25):
        learner.update(single_steps(actor, value, best, draws))
    assert actor(torch.zeros(1, 2)).mode()[0].tolist() == pytest.approx(best.tolist(), abs=0.1)


@torch.no_grad()
def single_steps(actor: Actor, value: ValueCritic, best: torch.Tensor, draws: torch.Generator) -> Rollout:
    seen = torch.randn(1, 512, 2, generator=draws)
    raw = actor(seen[0]).sample(draws)
    rewards = -(torch.tanh(raw) - best).square().sum(-1, keepdim=True)
    values, over = value(seen[0]).unsqueeze(0), torch.ones(1, 512, dtype=torch.bool)
    columns = raw, actor(seen[0]).log_prob(raw), rewards
    return Rollout(seen, None, *(column.unsqueeze(0) for column in columns), values, values, over, ~over)


def test_weights_must_match_the_objectives() -> None:
    """Two weights for one objective is a mistake, not a broadcast."""
    policy, critic = agent()
    rollout = live(policy, critic, ones, steps=4, seed=0, ends=True)
    with pytest.raises(InvariantError, match="2 objective weights for 1"):
        PPO(policy, critic, PPOConfig(weights=(1.0, 1.0))).update(rollout)
