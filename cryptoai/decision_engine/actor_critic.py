"""Actor and critics over a plain observation vector: what PPO and SAC learn wherever there is no world model.

The environments of known optimum and any recorded data with a state vector are met through these. Every network is
one stack of equal members, so that a twin critic costs one call. They must never keep statistics that move while
they are trained on: the standardiser is fitted once and is then part of the weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cryptoai.core.errors import InvariantError
from cryptoai.decision_engine.distributions import TanhNormal

__all__ = ["Actor", "StackedMLP", "Standardiser", "TwinQ", "ValueCritic"]

LOG_STD = (-5.0, 1.0)
"""Range of the log standard deviation before tanh: narrower has no gradient left, wider only saturates."""


class Standardiser(nn.Module):
    """observation (..., O) -> zero mean, unit deviation, clipped at 10; the identity until it is fitted."""

    mean: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    @torch.no_grad()
    def fit(self, observations: Tensor) -> None:
        """Takes mean and deviation of (N, O), once, before learning; a constant column keeps its scale."""
        if not torch.isfinite(observations).all():
            raise InvariantError("the observations to fit the standardiser on hold NaN or infinity")
        deviation = observations.std(0, correction=0)
        self.mean.copy_(observations.mean(0))
        self.scale.copy_(torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation)))

    def forward(self, observation: Tensor) -> Tensor:
        return ((observation - self.mean) / self.scale).clamp(-10.0, 10.0)


class StackedMLP(nn.Module):
    """M equal networks of two hidden layers in one batched product: (N, I) -> (M, N, outputs).

    Orthogonal weights drawn from `generator`, the last layer's times `last_gain`; biases zero. tanh, or with
    `rectified` max(x, 0), which keeps its slope where values grow as squares do.
    """

    def __init__(
        self,
        sizes: tuple[int, int, int],
        members: int,
        last_gain: float,
        generator: torch.Generator,
        *,
        rectified: bool = False,
    ) -> None:
        super().__init__()
        self.bend = torch.relu if rectified else torch.tanh
        inputs, hidden, outputs = sizes
        shapes = ((inputs, hidden, math.sqrt(2)), (hidden, hidden, math.sqrt(2)), (hidden, outputs, last_gain))
        drawn = [_orthogonal(members, rows, columns, generator) * gain for rows, columns, gain in shapes]
        self.weights = nn.ParameterList([nn.Parameter(weight) for weight in drawn])
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(members, 1, weight.shape[-1])) for weight in drawn])
        self.members = members

    def forward(self, rows: Tensor) -> Tensor:
        x = rows.expand(self.members, *rows.shape)
        first, second, last = zip(self.weights, self.biases, strict=True)
        x = self.bend(torch.baddbmm(first[1], x, first[0]))
        x = self.bend(torch.baddbmm(second[1], x, second[0]))
        return torch.baddbmm(last[1], x, last[0])


class Actor(nn.Module):
    """observation (N, O) -> TanhNormal over (N, A).

    PPO's spread is one parameter an action; with `spread_by_state` it is an output, as SAC has it.
    """

    def __init__(
        self, sizes: tuple[int, int, int], generator: torch.Generator, *, spread_by_state: bool = False
    ) -> None:
        super().__init__()
        observation, hidden, actions = sizes
        self.actions, self.spread_by_state = actions, spread_by_state
        self.standardise = Standardiser(observation)
        outputs = 2 * actions if spread_by_state else actions
        self.body = StackedMLP((observation, hidden, outputs), 1, 0.01, generator, rectified=spread_by_state)
        self.log_std = nn.Parameter(torch.full((actions,), math.log(0.6)))

    def forward(self, observation: Tensor) -> TanhNormal:
        out = self.body(self.standardise(observation)).squeeze(0)
        mean = out[..., : self.actions]
        log_std = self.log_std + out[..., self.actions :] if self.spread_by_state else self.log_std.expand_as(mean)
        return TanhNormal(mean, log_std.clamp(*LOG_STD))


class ValueCritic(nn.Module):
    """observation (N, O) -> values (N, objectives), zero before training."""

    def __init__(self, sizes: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__()
        self.standardise = Standardiser(sizes[0])
        self.body = StackedMLP(sizes, 1, 0.0, generator)

    def forward(self, observation: Tensor) -> Tensor:
        values: Tensor = self.body(self.standardise(observation)).squeeze(0)
        return values


class TwinQ(nn.Module):
    """observation (N, O), action (N, A) in [-1, 1] -> (2, N, objectives) of two networks drawn apart.

    sizes: observation, action, hidden, objectives.
    """

    def __init__(self, sizes: tuple[int, int, int, int], generator: torch.Generator) -> None:
        super().__init__()
        observation, action, hidden, objectives = sizes
        self.standardise = Standardiser(observation)
        self.body = StackedMLP((observation + action, hidden, objectives), 2, 0.1, generator, rectified=True)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        values: Tensor = self.body(torch.cat([self.standardise(observation), action], -1))
        return values


def _orthogonal(members: int, rows: int, columns: int, generator: torch.Generator) -> Tensor:
    weight = torch.empty(members, rows, columns)
    for member in weight:
        nn.init.orthogonal_(member, generator=generator)
    return weight
