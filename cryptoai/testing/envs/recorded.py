"""A recorded path of the planted market, lived in again and again: what a learner does with data that is finite.

The gates against self-deception live in it: without an edge in the data, or with the returns shuffled, no policy may
show one. Trading is free here, since an edge that is not there must not show even before costs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cryptoai.testing.envs.lives import Lives
from cryptoai.testing.market.planted_alpha import AlphaPath, PlantedAlpha

__all__ = ["Recorded", "positions", "sharpe_interval"]

LARGEST = 8.0
"""Position at action 1 or -1; nearly three deviations of Markowitz'."""
LIFE = 64
"""Rows of one life."""


class Recorded(Lives):
    """observation: signal. State: row of the path. reward: (x r - gamma / 2 Sigma x^2) / sigma, x the position."""

    observation_dim = 1

    def __init__(self, lives: int, generator: torch.Generator, path: AlphaPath, market: PlantedAlpha) -> None:
        self._signal = torch.as_tensor(path.signal, dtype=torch.float32)
        self._returns = torch.as_tensor(path.returns, dtype=torch.float32)
        self.market = market
        super().__init__(lives, generator, limit=LIFE)

    def born(self, count: int) -> Tensor:
        """A row from which a whole life can be lived."""
        latest = len(self._signal) - LIFE
        return torch.randint(0, latest, (count, 1), generator=self.generator).float()

    def observe(self, state: Tensor) -> Tensor:
        return self._signal[state.long()]

    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        position = positions(action)
        risk = 0.5 * self.market.risk_aversion * self.market.sigma**2 * position**2
        reward = (position * self._returns[state[..., 0].long()] - risk) / self.market.sigma
        return state + 1.0, reward, torch.zeros(len(state), dtype=torch.bool)


def positions(action: Tensor) -> Tensor:
    """(B, 1) -> (B,)."""
    return LARGEST * action[..., 0]


def sharpe_interval(profits: Tensor) -> tuple[float, float, float]:
    """Sharpe ratio a step of (T,) profits and its 95 % interval, with the standard error of Lo (2002) for no memory."""
    ratio = float(profits.mean() / profits.std())
    error = math.sqrt((1.0 + 0.5 * ratio**2) / len(profits))
    return ratio, ratio - 1.96 * error, ratio + 1.96 * error
