"""The replay of SAC: the last `capacity` steps in tensors that are allocated once.

SAC draws from it, whoever lives writes to it. It keeps only what bootstrapping needs: the true successor and whether
the episode truly ended there. A truncated step is stored as not terminated; it must never hold the first observation
of the next episode as a successor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cryptoai.core.errors import InvariantError

__all__ = ["Experience", "Replay"]


@dataclass(frozen=True, slots=True)
class Experience:
    """N steps: observations (N, O), actions (N, A) after tanh, rewards (N, K), successors (N, O), terminated (N,)."""

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    successors: Tensor
    terminated: Tensor


class Replay:
    """A ring of `capacity` steps; `size` of them are filled."""

    def __init__(self, capacity: int, *, observation_dim: int, action_dim: int, objectives: int = 1) -> None:
        widths = observation_dim, action_dim, objectives, observation_dim
        seen, acted, paid, after = (torch.zeros(capacity, width) for width in widths)
        self._ring = Experience(seen, acted, paid, after, torch.zeros(capacity, dtype=torch.bool))
        self.capacity, self.size, self._next = capacity, 0, 0

    def add(self, lived: Experience) -> None:
        """Writes N steps over the oldest; InvariantError if N is more than the capacity or the shapes differ."""
        rows = len(lived.actions)
        if rows > self.capacity:
            raise InvariantError(f"{rows} steps at once for a replay of {self.capacity}")
        where = (torch.arange(rows) + self._next) % self.capacity
        for name in Experience.__slots__:
            self._write(name, where, getattr(lived, name))
        self._next = (self._next + rows) % self.capacity
        self.size = min(self.size + rows, self.capacity)

    def _write(self, name: str, where: Tensor, new: Tensor) -> None:
        column: Tensor = getattr(self._ring, name)
        if new.shape != (len(where), *column.shape[1:]):
            raise InvariantError(f"the replay's {name} are {tuple(column.shape[1:])} a step, got {tuple(new.shape)}")
        column[where] = new

    def draw(self, rows: int, generator: torch.Generator) -> Experience:
        """`rows` steps, each equally likely and with replacement; InvariantError while nothing was added."""
        if not self.size:
            raise InvariantError("the replay is empty; live some steps before learning")
        chosen = torch.randint(0, self.size, (rows,), generator=generator)
        return Experience(*(getattr(self._ring, name)[chosen] for name in Experience.__slots__))

    def observations(self) -> Tensor:
        """(size, O): what the standardiser is fitted on."""
        return self._ring.observations[: self.size]
