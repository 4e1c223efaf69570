"""Selling a position in slices between impact and risk (Almgren and Chriss 2001): the closed form of timing.

The policy gates live in it. The reward is the realised, noisy result of a slice in volatility units; `cost` gives the
exact objective of a schedule, the optimum's included. An episode truly ends with the last slice.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cryptoai.testing.envs.lives import Lives

__all__ = ["SLICES", "AlmgrenChriss", "cost", "optimal_schedule", "schedule", "share", "twap"]

SLICES = 20
ETA, GAMMA, SIGMA, LAMBDA = 0.1, 0.02, 0.3, 20.0
"""Temporary and permanent impact, volatility, risk aversion, for one unit sold in one unit of time."""
TAU = 1.0 / SLICES
ETA_NET = ETA - 0.5 * GAMMA * TAU
RISK = LAMBDA * SIGMA**2 * TAU
"""Price of holding one unit through one slice."""


class AlmgrenChriss(Lives):
    """observation: what is left and the time left, both about zero. State: held, slices done."""

    observation_dim = 2

    def born(self, count: int) -> Tensor:
        return torch.tensor([1.0, 0.0]).expand(count, 2)

    def observe(self, state: Tensor) -> Tensor:
        return torch.stack([2.0 * state[..., 0] - 1.0, 1.0 - 2.0 * state[..., 1] / SLICES], -1)

    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        held, done = state.unbind(-1)
        last = done >= SLICES - 1
        sold = torch.where(last, held, held * share(action))
        left = held - sold
        unit = SIGMA * math.sqrt(TAU)
        paid = ETA_NET / TAU * sold**2 + RISK * left**2
        reward = left * self.normal(len(held)) - paid / unit
        return torch.stack([left, done + 1.0], -1), reward, last


def share(action: Tensor) -> Tensor:
    """Part of what is left that an action sells, (B, 1) -> (B,)."""
    return 0.5 * (action[..., 0] + 1.0)


def cost(held: Tensor) -> float:
    """Expected cost plus lambda times variance of holding `held` (SLICES + 1,) after 0, 1, ... slices, from 1 to 0."""
    sold = held[:-1] - held[1:]
    return float(0.5 * GAMMA + ETA_NET / TAU * sold.square().sum() + RISK * held[1:].square().sum())


def optimal_schedule() -> Tensor:
    """sinh(kappa (T - t)) / sinh(kappa T), cosh(kappa tau) = 1 + lambda sigma^2 tau^2 / (2 eta~); float64."""
    kappa = math.acosh(1.0 + LAMBDA * (SIGMA * TAU) ** 2 / (2.0 * ETA_NET)) / TAU
    left = torch.linspace(1.0, 0.0, SLICES + 1, dtype=torch.float64)
    return torch.sinh(kappa * left) / math.sinh(kappa)


def twap() -> Tensor:
    """Equal slices, float64."""
    return torch.linspace(1.0, 0.0, SLICES + 1, dtype=torch.float64)


def schedule(act: Callable[[Tensor], Tensor]) -> Tensor:
    """What a policy (observation -> action) holds after 0, 1, ... slices, (SLICES + 1,), without noise; float64."""
    lives = AlmgrenChriss(1, torch.Generator())
    state, held = lives.born(1), [1.0]
    for _ in range(SLICES):
        state, _, _ = lives.advance(state, act(lives.observe(state)))
        held.append(float(state[0, 0]))
    return torch.tensor(held, dtype=torch.float64)
