"""Living ahead inside the world model: the only experience the policy is trained on.

Training calls `imagine` with a frozen world model. The market does not react to us, so the latents are rolled out by
the model alone and the policy's exposure meets the return that comes after it. It must never hand the policy
anything of the step it is about to be paid for.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import torch
from torch import Tensor

from cryptoai.decision_engine.critic import Critic
from cryptoai.decision_engine.policy import Policy
from cryptoai.decision_engine.reward import reward
from cryptoai.decision_engine.rollout import Rollout

__all__ = ["Dynamics", "Forecast", "MarketLatent", "imagine"]


class MarketLatent(Protocol):
    """Where the market is, as the world model sees it."""

    @property
    def feature(self) -> Tensor:
        """(B, feature_dim)."""
        ...


class Forecast(Protocol):
    """A distribution of the next returns."""

    @property
    def mean(self) -> Tensor:
        """(B, horizons), in volatility units; horizon 0 is the next step."""
        ...


Latent = TypeVar("Latent", bound=MarketLatent)


class Dynamics(Protocol[Latent]):
    """The part of `world_model.WorldModel` that imagination uses."""

    def step(self, latent: Latent, generator: torch.Generator) -> tuple[Latent, Tensor]:
        """The next latent, drawn, and the return (B,) on the way there, in volatility units."""
        ...

    def forecast(self, latent: Latent) -> Forecast:
        """Of the returns that `step` draws from, shortest horizon first."""
        ...


@torch.no_grad()
def imagine(
    world_model: Dynamics[Latent],
    policy: Policy,
    critic: Critic,
    starts: Latent,
    horizon: int,
    cost: float,
    generator: torch.Generator,
) -> Rollout:
    """`horizon` steps from each of B starts, all truncated at the end (the market goes on).

    cost: of one unit of exposure traded at full urgency, in volatility units. The exposure that each life starts with
    is drawn: half start flat, half anywhere in [-1, 1], because trading will meet both. `starts` may be written on
    (its cache): fork it to use it twice.
    """
    latent, exposure = starts, _first_exposures(starts.feature, generator)
    rows: list[tuple[Tensor, ...]] = []
    for _ in range(horizon):
        feature, held = latent.feature, exposure
        actions = policy(feature, held)
        raw = actions.sample(generator)
        expected = world_model.forecast(latent).mean[:, 0]
        latent, returns = world_model.step(latent, generator)
        result = reward(torch.tanh(raw), held, returns, cost, expected=expected)
        exposure = result.exposure
        rows.append((feature, held, raw, actions.log_prob(raw), result.reward, critic(feature, held)))
    features, exposures, raws, log_probs, rewards, values = (torch.stack(column) for column in zip(*rows, strict=True))
    final = critic(latent.feature, exposure).unsqueeze(0)
    never = torch.zeros_like(log_probs, dtype=torch.bool)
    cut = never.clone()
    cut[-1] = True
    after = torch.cat([values[1:], final])
    return Rollout(features, exposures, raws, log_probs, rewards, values, after, never, cut)


def _first_exposures(feature: Tensor, generator: torch.Generator) -> Tensor:
    shape = feature.shape[:1]
    drawn = 2.0 * torch.rand(shape, generator=generator, device=feature.device) - 1.0
    held = torch.rand(shape, generator=generator, device=feature.device) < 0.5
    return torch.where(held, drawn, torch.zeros_like(drawn))
