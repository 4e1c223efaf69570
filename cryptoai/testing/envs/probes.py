"""Probe environments: each asks for one ability, so that a learner that fails one is broken in one known part.

Tests and the quick gates run PPO and SAC through all of them, in seconds. Episodes are one step long but for the
discount's, which has two, and the perpetuity's, which is only ever cut.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from cryptoai.testing.envs.lives import Lives

__all__ = ["ActionReward", "Identity", "Perpetuity", "SeenReward", "TwoSteps"]


class _OneStep(Lives):
    """Observation +-1, over after one step."""

    observation_dim = 1

    def born(self, count: int) -> Tensor:
        return torch.randint(0, 2, (count, 1), generator=self.generator) * 2.0 - 1.0

    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return state, self.pay(state[..., 0], action[..., 0]), torch.ones(len(state), dtype=torch.bool)

    @abstractmethod
    def pay(self, seen: Tensor, action: Tensor) -> Tensor:
        """Reward (B,) of observation (B,) and action (B,)."""


class SeenReward(_OneStep):
    """Pays what is seen: the value is the observation."""

    def pay(self, seen: Tensor, action: Tensor) -> Tensor:
        return seen + 0.0 * action


class ActionReward(_OneStep):
    """Pays -(a - .5)^2: the action is .5, whatever is seen."""

    def pay(self, seen: Tensor, action: Tensor) -> Tensor:
        return -((action - 0.5) ** 2) + 0.0 * seen


class Identity(_OneStep):
    """Pays -(a - .7 seen)^2: the action follows the observation."""

    def pay(self, seen: Tensor, action: Tensor) -> Tensor:
        return -((action - 0.7 * seen) ** 2)


class TwoSteps(Lives):
    """Nothing, then 1 and the end: the values are gamma and 1. Observation: -1 first, then +1."""

    observation_dim = 1

    def born(self, count: int) -> Tensor:
        return torch.full((count, 1), -1.0)

    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        second = state[..., 0] > 0.0
        return torch.ones_like(state), second.float() + 0.0 * action[..., 0], second


class Perpetuity(Lives):
    """Pays 1 for ever under a time limit of eight: the value is 1 / (1 - gamma), if cutting is not called dying."""

    observation_dim = 1

    def __init__(self, lives: int, generator: torch.Generator) -> None:
        super().__init__(lives, generator, limit=8)

    def born(self, count: int) -> Tensor:
        return self.normal(count, 1)

    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return state, torch.ones_like(action[..., 0]), torch.zeros(len(state), dtype=torch.bool)
