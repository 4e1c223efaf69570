"""A learner and an environment brought together: the loops that PPO and SAC are proved with.

The gates and tests call `learn_ppo` and `learn_sac`. A loop spends exactly the steps it is given, those that the
standardiser is fitted on included. It must never step a learner on a life that the learner is judged on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cryptoai.decision_engine.actor_critic import Actor, TwinQ, ValueCritic
from cryptoai.decision_engine.ppo import PPO, PPOConfig
from cryptoai.decision_engine.replay import Experience, Replay
from cryptoai.decision_engine.rollout import Rollout
from cryptoai.decision_engine.sac import SAC, SACConfig
from cryptoai.testing.envs.lives import Lives, Moment

__all__ = ["PPOPlan", "SACPlan", "collect", "learn_ppo", "learn_sac"]


@dataclass(frozen=True, slots=True)
class PPOPlan:
    """How PPO lives: `updates` of `config` rollouts, each `length` steps of every life."""

    config: PPOConfig
    length: int = 32
    hidden: int = 32
    warm_up: int = 16
    """Steps of every life, before learning, that the observations are standardised on."""

    def steps(self, lives: int) -> int:
        """Environment steps that the plan spends."""
        return lives * (self.warm_up + self.length * self.config.updates)


@dataclass(frozen=True, slots=True)
class SACPlan:
    """How SAC lives: `warm_up` steps of every life at random, then `rounds` of one step and `updates_per_round`."""

    config: SACConfig
    rounds: int
    updates_per_round: int = 1
    hidden: int = 64
    warm_up: int = 64

    def steps(self, lives: int) -> int:
        """Environment steps that the plan spends."""
        return lives * (self.warm_up + self.rounds)


def learn_ppo(environment: Lives, plan: PPOPlan) -> tuple[Actor, ValueCritic, list[dict[str, float]]]:
    """Actor, critic and the report of every update. Weights and draws come from the seed of the configuration."""
    draws = torch.Generator().manual_seed(plan.config.seed)
    actor = Actor((environment.observation_dim, plan.hidden, environment.action_dim), draws)
    critic = ValueCritic((environment.observation_dim, plan.hidden, 1), draws)
    if plan.warm_up:
        seen = collect(environment, actor, critic, plan.warm_up, draws).features.flatten(0, 1)
        for module in (actor, critic):
            module.standardise.fit(seen)
    learner = PPO(actor, critic, plan.config)
    reports = [
        learner.update(collect(environment, actor, critic, plan.length, draws)) for _ in range(plan.config.updates)
    ]
    return actor, critic, reports


def learn_sac(environment: Lives, plan: SACPlan) -> tuple[Actor, TwinQ, list[dict[str, float]]]:
    """Actor, critic and the report of every round; the replay keeps every step."""
    draws = torch.Generator().manual_seed(plan.config.seed)
    sizes = environment.observation_dim, plan.hidden, environment.action_dim
    actor = Actor(sizes, draws, spread_by_state=True)
    critic = TwinQ((sizes[0], sizes[2], plan.hidden, 2), draws)
    replay = Replay(plan.steps(environment.lives), observation_dim=sizes[0], action_dim=sizes[2])
    for _ in range(plan.warm_up):
        _live(environment, 2.0 * torch.rand(environment.lives, sizes[2], generator=draws) - 1.0, replay)
    for module in (actor, critic):
        module.standardise.fit(replay.observations())
    learner = SAC(actor, critic, plan.config)
    reports = []
    for _ in range(plan.rounds):
        with torch.no_grad():
            action = torch.tanh(actor(environment.observation()).sample(draws))
        _live(environment, action, replay)
        reports.append(learner.update(replay, plan.updates_per_round))
    return actor, critic, reports


@torch.no_grad()
def collect(environment: Lives, actor: Actor, critic: ValueCritic, length: int, draws: torch.Generator) -> Rollout:
    """`length` steps of every life under `actor`; the last step of each is cut (the learner looks no further)."""
    rows: list[tuple[Tensor, ...]] = []
    for _ in range(length):
        seen = environment.observation()
        actions = actor(seen)
        raw = actions.sample(draws)
        moment = environment.step(torch.tanh(raw))
        rows.append((seen, raw, actions.log_prob(raw), *_outcome(moment)))
    seen, raws, log_probs, rewards, successors, terminated, truncated = (
        torch.stack(column) for column in zip(*rows, strict=True)
    )
    truncated[-1] |= ~terminated[-1]
    values, after = (critic(states.flatten(0, 1)).unflatten(0, states.shape[:2]) for states in (seen, successors))
    return Rollout(seen, None, raws, log_probs, rewards.unsqueeze(-1), values, after, terminated, truncated)


def _outcome(moment: Moment) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return moment.reward, moment.successor, moment.terminated, moment.truncated


def _live(environment: Lives, action: Tensor, replay: Replay) -> None:
    seen = environment.observation()
    moment = environment.step(action)
    replay.add(Experience(seen, action, moment.reward.unsqueeze(-1), moment.successor, moment.terminated))
