"""Leverage under constant relative risk aversion: the least environment in which greed is punished.

One decision, one realised return, one utility (Merton 1969). The policy gates live in it: the optimum mu / (gamma
sigma^2) and the worth of every other leverage are exact, and at twice the optimum nothing is left.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cryptoai.testing.envs.lives import Lives

__all__ = ["Merton"]

LARGEST = 5.0
"""Leverage at action 1; action -1 is none."""


class Merton(Lives):
    """mu, sigma: of one period, rebalanced within it without cost; gamma: relative risk aversion, not 1.

    reward: realised utility (W^(1-gamma) - 1) / (1 - gamma) in units of sigma. The observation is noise: it must be
    ignored.
    """

    observation_dim = 2

    def __init__(
        self, lives: int, generator: torch.Generator, *, mu: float = 0.06, sigma: float = 0.1, gamma: float = 3.0
    ) -> None:
        self.mu, self.sigma, self.gamma = mu, sigma, gamma
        super().__init__(lives, generator)

    @property
    def optimum(self) -> float:
        """The best leverage, mu / (gamma sigma^2)."""
        return self.mu / (self.gamma * self.sigma**2)

    def born(self, count: int) -> Tensor:
        return self.normal(count, 2)

    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        leverage = self.leverage(action)
        spread = leverage * self.sigma
        growth = leverage * self.mu - 0.5 * spread**2 + spread * self.normal(len(leverage))
        reward = torch.expm1((1.0 - self.gamma) * growth) / (1.0 - self.gamma) / self.sigma
        return state, reward, torch.ones(len(leverage), dtype=torch.bool)

    def leverage(self, action: Tensor) -> Tensor:
        """(B, 1) -> (B,), from 0 to 5."""
        return 0.5 * LARGEST * (action[..., 0] + 1.0)

    def capture(self, leverage: float) -> float:
        """Certainty equivalent over the optimum's: 2 f - f^2 at f times the best leverage."""
        f = leverage / self.optimum
        return 2.0 * f - f * f

    def log_certainty(self, leverage: float) -> float:
        """Log of the certainty equivalent of one period, a mu - gamma a^2 sigma^2 / 2."""
        return leverage * self.mu - 0.5 * self.gamma * (leverage * self.sigma) ** 2

    def utility(self, leverage: float) -> float:
        """Expected reward, exact: what a learner really maximises."""
        power = 1.0 - self.gamma
        return math.expm1(power * self.log_certainty(leverage)) / power / self.sigma
