"""The switching market (`market.switching`) as something to live in: drawn step by step, or along recorded rows.

The gates of imagination train policies in it and judge all policies by it. `TrueMarket` shows what a filter with the
true parameters knows; `Recorded` shows any feature of the rows. Neither may show the regime, or a return before it is
traded over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cryptoai.decision_engine.objectives import PREFERENCES, situate
from cryptoai.decision_engine.policy import Policy
from cryptoai.decision_engine.reward import reward
from cryptoai.testing.market.switching import AR, BETA, MEAN, SD, STAY

__all__ = ["BASE_WILD", "UNIT_BP", "Known", "Outcome", "Place", "Recorded", "Seen", "TrueMarket", "trade"]

BASE_WILD = (1 - STAY[0]) / (2 - STAY[0] - STAY[1])
"""Stationary share of the wild regime."""
UNIT_BP = math.sqrt((1 - BASE_WILD) * SD[0] ** 2 + BASE_WILD * SD[1] ** 2)
"""A volatility unit in basis points: the deviation of the return, but for its small mean."""

_BURN_IN = 64


@dataclass(frozen=True, slots=True)
class Known:
    """Mean and sd (B, 1) of the next return, in volatility units, given what is known."""

    mean: Tensor
    sd: Tensor


@dataclass(frozen=True, slots=True)
class Seen:
    """signal (B,); belief (B,): P(the next return's regime is wild) to a filter; wild (B,): whether it is, hidden."""

    signal: Tensor
    belief: Tensor
    wild: Tensor

    @property
    def feature(self) -> Tensor:
        """(B, 2): signal and centred belief, never the regime."""
        return torch.stack([self.signal, 2 * self.belief - 1], -1)


class TrueMarket:
    """The simulator itself, as the dynamics that imagination takes."""

    def start(self, lives: int, generator: torch.Generator) -> Seen:
        """Stationary, with a filter that has watched for a while."""
        wild = (torch.rand(lives, generator=generator) < BASE_WILD).float()
        seen = Seen(torch.randn(lives, generator=generator), torch.full((lives,), BASE_WILD), wild)
        for _ in range(_BURN_IN):
            seen, _ = self.step(seen, generator)
        return seen

    def lives(self, seed: int, steps: int, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Drawn lives as `Recorded.lives` cuts them."""
        generator = torch.Generator().manual_seed(seed)
        seen, rows = self.start(count, generator), []
        for _ in range(steps):
            known = self.forecast(seen)
            after, returns = self.step(seen, generator)
            rows.append((seen.feature, known.mean[:, 0], known.sd[:, 0], returns))
            seen = after
        feature, mean, sd, returns = (torch.stack(column) for column in zip(*rows, strict=True))
        return feature, mean, sd, returns

    def forecast(self, latent: Seen) -> Known:
        calm, wild = MEAN[0] / UNIT_BP, MEAN[1] / UNIT_BP
        base = calm + latent.belief * (wild - calm)
        second = (1 - latent.belief) * (SD[0] ** 2 + MEAN[0] ** 2) + latent.belief * (SD[1] ** 2 + MEAN[1] ** 2)
        sd = (second / UNIT_BP**2 - base**2).sqrt()
        return Known((base + BETA / UNIT_BP * latent.signal).unsqueeze(-1), sd.unsqueeze(-1))

    def step(self, latent: Seen, generator: torch.Generator) -> tuple[Seen, Tensor]:
        shocks = torch.randn(2, len(latent.signal), generator=generator)
        mean, sd = (pair[0] + latent.wild * (pair[1] - pair[0]) for pair in (MEAN, SD))
        returns = mean + BETA * latent.signal + sd * shocks[0]
        belief = _filtered(latent.belief, returns - BETA * latent.signal)
        stay = STAY[0] + latent.wild * (STAY[1] - STAY[0])
        moved = torch.rand(len(stay), generator=generator) >= stay
        wild = torch.where(moved, 1 - latent.wild, latent.wild)
        signal = AR * latent.signal + math.sqrt(1 - AR**2) * shocks[1]
        return Seen(signal, belief, wild), returns / UNIT_BP


@dataclass(frozen=True, slots=True)
class Place:
    """rows (B,) of a recording, and what is seen there."""

    rows: Tensor
    feature: Tensor


@dataclass(frozen=True, slots=True)
class Recorded:
    """Rows that follow each other. features (N, F); mean, sd, returns (N,): of the return after each row."""

    features: Tensor
    mean: Tensor
    sd: Tensor
    returns: Tensor

    def at(self, rows: Tensor) -> Place:
        return Place(rows, self.features[rows])

    def forecast(self, latent: Place) -> Known:
        return Known(self.mean[latent.rows].unsqueeze(-1), self.sd[latent.rows].unsqueeze(-1))

    def step(self, latent: Place, generator: torch.Generator) -> tuple[Place, Tensor]:
        """The market does not react to us, so the record is what happens; nothing is drawn."""
        del generator
        return self.at(latent.rows + 1), self.returns[latent.rows]

    def lives(self, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Cut into `count` lives side by side, each column (T, count, ...): features, mean, sd, returns."""
        steps = len(self.features) // count

        def cut(column: Tensor) -> Tensor:
            return column[: steps * count].reshape(count, steps, *column.shape[1:]).transpose(0, 1)

        return cut(self.features), cut(self.mean), cut(self.sd), cut(self.returns)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What each of B lives came to, means over its steps. rewards (B, 5) by OBJECTIVES, with the expected return;
    exposure (B,) of its absolute value; drawdown (B,); losses (T, B): realised loss of the position at each step.
    """

    rewards: Tensor
    exposure: Tensor
    drawdown: Tensor
    losses: Tensor

    @property
    def net(self) -> Tensor:
        """(B,): expected return less cost, volatility units a step."""
        return self.rewards[:, :2].sum(-1)

    @property
    def turnover(self) -> float:
        return -float(self.rewards[:, 4].mean())

    def tail(self, level: float = 0.95) -> float:
        """Mean of the losses beyond their `level` quantile, over all steps and lives (expected shortfall)."""
        ordered = self.losses.flatten().sort(descending=True).values
        return float(ordered[: max(1, round(len(ordered) * (1 - level)))].mean())


@torch.no_grad()
def trade(
    policy: Policy, lives: tuple[Tensor, Tensor, Tensor, Tensor], cost: float, preferences: Tensor | None = None
) -> Outcome:
    """The policy's mode along lives (see `Recorded.lives`) that begin flat; preferences (4,), the default without."""
    features, means, sds, returns = lives
    held, depth = torch.zeros_like(means[0]), torch.zeros_like(means[0])
    wanted = (torch.zeros(PREFERENCES) if preferences is None else preferences).expand(len(held), -1)
    rows: list[tuple[Tensor, ...]] = []
    for feature, mean, sd, after in zip(features, means, sds, returns, strict=True):
        action = policy(situate(feature, depth, wanted), held).mode()
        step = reward(action, held, after, cost, expected=mean, spread=sd, drawdown=depth)
        held, depth = step.exposure, step.drawdown
        rows.append((step.reward, held.abs(), depth, -held * after))
    rewards, exposure, drawdown, losses = (torch.stack(column) for column in zip(*rows, strict=True))
    return Outcome(rewards.mean(0), exposure.mean(0), drawdown.mean(0), losses)


def _filtered(wild: Tensor, residual: Tensor) -> Tensor:
    """P(the regime after a step is wild), from that before it and the step's return less its signal (Hamilton 1989)."""
    fits = [torch.exp(-0.5 * ((residual - MEAN[k]) / SD[k]) ** 2) / SD[k] for k in (0, 1)]
    after = wild * fits[1] / ((1 - wild) * fits[0] + wild * fits[1]).clamp(min=1e-30)
    return after * STAY[1] + (1 - after) * (1 - STAY[0])
