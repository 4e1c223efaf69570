"""What every environment here shares: B lives that step at once, time limits, and new lives in place of ended ones.

The learners' loops and the judges step them. A step's successor is always the state that the action led to, also
when the life was cut there; the observation beside it is where the next step begins. An environment must never let an
observation hold the noise of a reward that is still to come.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["Lives", "Moment"]

_NEVER = 2**62


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of B lives.

    observation (B, O): where the next step begins; successor (B, O): where this one led; reward (B,); terminated,
    truncated: bool (B,), never both.
    """

    observation: Tensor
    successor: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor


class Lives(ABC):
    """B lives with the state (B, S) in one tensor; actions are (B, A) in [-1, 1]."""

    observation_dim: ClassVar[int]
    action_dim: ClassVar[int] = 1

    def __init__(self, lives: int, generator: torch.Generator, *, limit: int | None = None) -> None:
        """limit: steps after which a life is cut (truncated); first ages are drawn, so that not all are cut at once.

        None for lives that end by themselves.
        """
        self.lives, self.generator = lives, generator
        self.state = self.born(lives)
        self._limit = _NEVER if limit is None else limit
        self._age = torch.randint(0, limit or 1, (lives,), generator=generator)

    @abstractmethod
    def born(self, count: int) -> Tensor:
        """(count, S): first states, drawn."""

    @abstractmethod
    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """state (B, S), action (B, A) -> next state, realised reward (B,), terminated (B,)."""

    def observe(self, state: Tensor) -> Tensor:
        """(B, S) -> (B, O), scaled to order one."""
        return state

    def observation(self) -> Tensor:
        """Where the next step begins, (B, O)."""
        return self.observe(self.state)

    def step(self, action: Tensor) -> Moment:
        """Acts once in every life."""
        state, reward, terminated = self.advance(self.state, action)
        self._age += 1
        truncated = (self._age >= self._limit) & ~terminated
        successor = self.observe(state)
        self.state = self._renewed(state, terminated | truncated)
        return Moment(self.observation(), successor, reward, terminated, truncated)

    def _renewed(self, state: Tensor, over: Tensor) -> Tensor:
        if not over.any():
            return state
        self._age[over] = 0
        return torch.where(over.unsqueeze(-1), self.born(self.lives), state)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws of the environment's own generator."""
        return torch.randn(shape, generator=self.generator)
