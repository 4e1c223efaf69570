"""SAC on exact facts: the goal by hand, the temperature's direction, the target that follows, ends told apart."""

import math

import pytest
import torch

from cryptoai.core.errors import InvariantError
from cryptoai.decision_engine.actor_critic import Actor, TwinQ
from cryptoai.decision_engine.replay import Experience, Replay
from cryptoai.decision_engine.sac import SAC, SACConfig

torch.set_num_threads(1)


def learner(objectives: int = 1, **settings: object) -> SAC:
    draws = torch.Generator().manual_seed(0)
    actor = Actor((2, 16, 1), draws, spread_by_state=True)
    weights = {"weights": (1.0,) * objectives} | settings
    return SAC(actor, TwinQ((2, 1, 16, objectives + 1), draws), SACConfig(**weights))  # type: ignore[arg-type]


def steps(rows: int = 64, *, objectives: int = 1, ends: bool = False) -> Experience:
    draws = torch.Generator().manual_seed(1)
    seen, after = (torch.randn(rows, 2, generator=draws) for _ in range(2))
    rewards = torch.randn(rows, objectives, generator=draws)
    return Experience(seen, torch.rand(rows, 1, generator=draws) * 2 - 1, rewards, after, torch.full((rows,), ends))


def test_goal_by_hand() -> None:
    """Reward plus gamma times the twin with the smaller weighted sum; the entropy's column begins at the successor."""
    sac, batch = learner(2, weights=(1.0, 0.5), gamma=0.9, alpha=0.2), steps(objectives=2)
    state = sac.generator.get_state()
    goal = sac.goal(batch)
    sac.generator.set_state(state)
    with torch.no_grad():
        actions = sac.actor(batch.successors)
        raw = actions.sample(sac.generator)
        twins = sac.target(batch.successors, torch.tanh(raw))
    for row in range(len(goal)):
        sums = twins[:, row] @ torch.tensor([1.0, 0.5, 1.0])
        chosen = twins[int(sums.argmin()), row].clone()
        chosen[2] -= 0.2 * actions.log_prob(raw)[row]
        expected = torch.cat([batch.rewards[row], torch.zeros(1)]) + 0.9 * chosen
        assert torch.allclose(goal[row], expected, atol=1e-6)
    assert set((twins @ torch.tensor([1.0, 0.5, 1.0])).argmin(0).tolist()) == {0, 1}


def test_only_termination_cuts_the_future() -> None:
    """A terminated step is worth its reward alone; the same step truncated has its successor's value."""
    sac = learner(gamma=0.9)
    ended, cut = sac.goal(steps(ends=True)), sac.goal(steps(ends=False))
    assert torch.equal(ended, torch.cat([steps().rewards, torch.zeros(64, 1)], -1))
    assert not torch.allclose(ended, cut)


@pytest.mark.parametrize(("target", "direction"), [(-50.0, -1.0), (50.0, 1.0)])
def test_temperature_moves_to_the_target_entropy(target: float, direction: float) -> None:
    """More entropy than asked for lowers alpha, less raises it."""
    sac = learner(target_entropy=target)
    before = float(sac.alpha)
    sac.learn(steps())
    assert math.copysign(1.0, float(sac.alpha) - before) == direction


def test_target_entropy_is_minus_the_actions_unless_given() -> None:
    """Haarnoja's rule."""
    assert learner().target_entropy == -1.0
    assert learner(target_entropy=0.3).target_entropy == 0.3


def test_target_follows_by_tau_and_learns_nothing_itself() -> None:
    """After one step target = old + tau (critic - old), exactly, and it asks for no gradient."""
    sac = learner(tau=0.25)
    old = [p.clone() for p in sac.target.parameters()]
    sac.learn(steps())
    for before, now, ahead in zip(old, sac.target.parameters(), sac.critic.parameters(), strict=True):
        assert torch.allclose(now, before + 0.25 * (ahead.detach() - before), atol=1e-7)
        assert not now.requires_grad
    assert any(not torch.equal(a, b) for a, b in zip(old, sac.critic.parameters(), strict=True))


def test_actor_climbs_the_smaller_twin() -> None:
    """With the entropy free, the actor's gradient is that of -min(Q1, Q2), and the critic gets none of it."""
    sac, batch = learner(alpha=1e-12), steps()
    state = sac.generator.get_state()
    loss, _, _ = sac._actor_loss(batch.observations)
    gradient = torch.autograd.grad(loss, sac.actor.log_std)[0]
    sac.generator.set_state(state)
    action = torch.tanh(sac.actor(batch.observations).sample(sac.generator))
    least = sac.critic(batch.observations, action).sum(-1).min(0).values
    assert torch.allclose(gradient, torch.autograd.grad(-least.mean(), sac.actor.log_std)[0], atol=1e-7)
    assert all(p.grad is None for p in sac.critic.parameters())


def test_learning_is_repeatable_and_annealed() -> None:
    """Two runs from equal seeds are bitwise equal; the rate falls to a twentieth."""
    replay = Replay(64, observation_dim=2, action_dim=1)
    replay.add(steps())
    runs = [learner(updates=4, batch=16) for _ in range(2)]
    for run in runs:
        run.update(replay, 6)
    pairs = zip(runs[0].actor.parameters(), runs[1].actor.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert runs[0]._adams[0].param_groups[0]["lr"] == pytest.approx(1e-3 / 20)


def test_broken_rewards_are_refused() -> None:
    """A NaN reward is an error that names the losses."""
    replay, bad = Replay(64, observation_dim=2, action_dim=1), steps()
    bad.rewards[:] = float("nan")
    replay.add(bad)
    with pytest.raises(InvariantError, match="not finite"):
        learner(batch=16).update(replay)
