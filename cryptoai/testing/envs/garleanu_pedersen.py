"""Dynamic trading with a predictable return and quadratic costs, as lives for a learner.

The market is `testing.market.planted_alpha`; the action is a trade, the reward the realised, noisy result in volatility
units. The policy gates measure how much of the exact optimum a learner captures. `capture` must judge every
policy on the same signals.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cryptoai.testing.envs.lives import Lives
from cryptoai.testing.market.planted_alpha import PlantedAlpha

__all__ = ["GarleanuPedersen"]

LARGEST_TRADE = 2.0
"""Trade at action 1; about three deviations of the optimal one."""
LARGEST_POSITION = 8.0
"""Where a trade stops; about four deviations of the optimal position."""
Act = Callable[[Tensor], Tensor]


class GarleanuPedersen(Lives):
    """observation: signal, position / 2. State: signal, position."""

    observation_dim = 2

    def __init__(
        self, lives: int, generator: torch.Generator, *, market: PlantedAlpha | None = None, limit: int = 256
    ) -> None:
        self.market = PlantedAlpha() if market is None else market
        super().__init__(lives, generator, limit=limit)

    def born(self, count: int) -> Tensor:
        """A stationary signal and no position."""
        return torch.stack([self.normal(count), torch.zeros(count)], -1)

    def observe(self, state: Tensor) -> Tensor:
        return state * torch.tensor([1.0, 0.5])

    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        signal, held = state.unbind(-1)
        position = _traded(held, action)
        surprise = self.market.sigma * self.normal(len(signal))
        reward = self._worth(signal, held, position, surprise)
        following = self._next_signal(signal, self.normal(len(signal)))
        return torch.stack([following, position], -1), reward, torch.zeros(len(signal), dtype=torch.bool)

    def optimal(self, observation: Tensor) -> Tensor:
        """The exact optimum as a policy, (B, 2) -> (B, 1)."""
        return self._linear(observation, *self.market.optimum())

    def myopic(self, observation: Tensor) -> Tensor:
        """Markowitz at once, as if trading were free."""
        return self._linear(observation, 1.0, self.market.markowitz)

    @torch.no_grad()
    def capture(self, act: Act, *, seed: int, lives: int = 2048, steps: int = 400) -> float:
        """Expected discounted result of `act` (observation -> action) over the optimum's, both on the same signals."""
        return self._result(act, seed, lives, steps) / self._result(self.optimal, seed, lives, steps)

    def _result(self, act: Act, seed: int, lives: int, steps: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        signal, held = torch.randn(lives, generator=generator), torch.zeros(lives)
        calm, total = torch.zeros(lives), 0.0
        for t in range(steps):
            position = _traded(held, act(self.observe(torch.stack([signal, held], -1))))
            weight = (1.0 - self.market.discount) ** t
            total += weight * float(self._worth(signal, held, position, calm).mean())
            signal, held = self._next_signal(signal, torch.randn(lives, generator=generator)), position
        return total

    def _next_signal(self, signal: Tensor, shock: Tensor) -> Tensor:
        kept = 1.0 - self.market.phi
        return kept * signal + math.sqrt(1.0 - kept**2) * shock

    def _worth(self, signal: Tensor, held: Tensor, position: Tensor, surprise: Tensor) -> Tensor:
        market, variance = self.market, self.market.sigma**2
        earned = position * (market.slope * signal + surprise) - 0.5 * market.risk_aversion * variance * position**2
        paid = 0.5 * market.cost * variance * (position - held) ** 2
        return ((1.0 - market.discount) * earned - paid) / market.sigma

    def _linear(self, observation: Tensor, rate: float, aim: float) -> Tensor:
        signal, held = observation[..., 0], 2.0 * observation[..., 1]
        return (rate * (aim * signal - held) / LARGEST_TRADE).clamp(-1.0, 1.0).unsqueeze(-1)


def _traded(held: Tensor, action: Tensor) -> Tensor:
    return (held + LARGEST_TRADE * action[..., 0]).clamp(-LARGEST_POSITION, LARGEST_POSITION)
