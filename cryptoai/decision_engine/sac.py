"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905) with a critic that keeps the objectives apart.

Whoever lives fills a replay and calls `update`; SAC only learns from it and must never step an environment. The value
of the entropy is one more column of the critic, so that the weights of the objectives can change without training it
anew, and each part of a value can be read.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cryptoai.core.errors import InvariantError
from cryptoai.decision_engine.actor_critic import Actor, TwinQ
from cryptoai.decision_engine.distributions import TanhNormal
from cryptoai.decision_engine.replay import Experience, Replay

__all__ = ["SAC", "SACConfig"]


@dataclass(frozen=True, slots=True)
class SACConfig:
    """Settings of the learner."""

    learning_rate: float = 1e-3
    """Of all three Adams, at the first update; falls linearly to a twentieth over `updates`."""
    updates: int = 10_000
    """Number of optimiser steps that the learning rate is planned for."""
    batch: int = 256
    """Steps drawn from the replay for one update."""
    gamma: float = 0.97
    """Discount of one decision interval."""
    tau: float = 0.005
    """Share of the critic that its target takes over at each update."""
    alpha: float = 1.0
    """Temperature at the start; it is learned. High keeps the actor wide until the critic knows something."""
    target_entropy: float | None = None
    """Entropy that the temperature steers to; None: minus the number of actions."""
    weights: tuple[float, ...] = (1.0,)
    """Weight of each objective for the actor and in the choice between the twins."""
    seed: int = 0
    """Of the draws from the replay and of the actions."""


class SAC:
    """The learner of one actor and one twin critic, whose last column is the entropy's value."""

    def __init__(self, actor: Actor, critic: TwinQ, config: SACConfig) -> None:
        self.actor, self.critic, self.config = actor, critic, config
        self.target = copy.deepcopy(critic).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(config.alpha)))
        self.target_entropy = -float(actor.actions) if config.target_entropy is None else config.target_entropy
        self.generator = torch.Generator().manual_seed(config.seed)
        self.updates = 0
        self._groups = [list(actor.parameters()), list(critic.parameters()), [self.log_alpha]]
        self._adams = [torch.optim.Adam(group, lr=config.learning_rate, fused=True) for group in self._groups]
        self._weights = torch.tensor([*config.weights, 1.0])

    @property
    def alpha(self) -> Tensor:
        """The temperature: what one nat of entropy is worth."""
        return self.log_alpha.detach().exp()

    def update(self, replay: Replay, updates: int = 1) -> dict[str, float]:
        """Takes `updates` steps and returns the last one's diagnostics.

        loss_critic, loss_actor, entropy (of the batch), alpha, value (mean weighted twin minimum). InvariantError if a
        loss is not finite.
        """
        report: dict[str, Tensor] = {}
        for _ in range(updates):
            report = self.learn(replay.draw(self.config.batch, self.generator))
        named = {name: float(value) for name, value in report.items()}
        if not all(math.isfinite(value) for value in named.values()):
            raise InvariantError(f"SAC's losses are not finite: {named}; check rewards and observations")
        return named

    def learn(self, batch: Experience) -> dict[str, Tensor]:
        """One step of critic, actor, temperature and target, in this order."""
        self._anneal()
        loss_critic = 0.5 * (self.critic(batch.observations, batch.actions) - self.goal(batch)).square()
        loss_critic = loss_critic.sum(-1).mean(-1).sum()
        self._descend(1, loss_critic)
        loss_actor, log_prob, value = self._actor_loss(batch.observations)
        self._descend(0, loss_actor)
        entropy = -log_prob.detach().mean()
        self._descend(2, self.log_alpha * (entropy - self.target_entropy))
        self._follow()
        self.updates += 1
        found = (loss_critic, loss_actor, entropy, self.alpha, value.mean())
        names = ("loss_critic", "loss_actor", "entropy", "alpha", "value")
        return {name: figure.detach() for name, figure in zip(names, found, strict=True)}

    @torch.no_grad()
    def goal(self, batch: Experience) -> Tensor:
        """What the critic is pulled to, (N, K + 1): rewards plus the discounted value of the successor.

        Only a terminated step has no successor. The last column is the entropy's, and begins with the successor's own.
        """
        actions, log_prob = _drawn(self.actor(batch.successors), self.generator)
        after = self._least(self.target(batch.successors, actions))
        after[..., -1] -= self.alpha * log_prob
        alive = (~batch.terminated).unsqueeze(-1)
        return nn.functional.pad(batch.rewards, (0, 1)) + self.config.gamma * alive * after

    def _least(self, twins: Tensor) -> Tensor:
        """(2, N, K + 1) -> (N, K + 1): all columns of the twin whose weighted sum is smaller."""
        first, second = twins @ self._weights
        return torch.where((first < second).unsqueeze(-1), twins[0], twins[1])

    def _actor_loss(self, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        actions, log_prob = _drawn(self.actor(observations), self.generator)
        value = (self.critic(observations, actions) @ self._weights).amin(0)
        return (self.alpha * log_prob - value).mean(), log_prob, value

    @torch.no_grad()
    def _follow(self) -> None:
        for behind, ahead in zip(self.target.parameters(), self.critic.parameters(), strict=True):
            behind.lerp_(ahead, self.config.tau)

    def _anneal(self) -> None:
        left = max(1.0 - self.updates / max(self.config.updates, 1), 0.05)
        for adam in self._adams:
            adam.param_groups[0]["lr"] = self.config.learning_rate * left

    def _descend(self, group: int, loss: Tensor) -> None:
        parameters = self._groups[group]
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        self._adams[group].step()


def _drawn(actions: TanhNormal, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    raw = actions.sample(generator)
    return torch.tanh(raw), actions.log_prob(raw)
