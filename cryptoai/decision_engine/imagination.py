"""Living ahead inside the world model: the only experience the policy is trained on.

Training calls `imagine` with a frozen world model. The market does not react to us, so the latents are rolled out by
the model alone and the policy's exposure meets the return that comes after it. It must never hand the policy
anything of the step it is about to be paid for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from cryptoai.decision_engine.critic import Critic
from cryptoai.decision_engine.objectives import draw_preferences, relative_weights, situate
from cryptoai.decision_engine.policy import Policy
from cryptoai.decision_engine.reward import Step, reward
from cryptoai.decision_engine.rollout import Rollout

__all__ = ["Conditions", "Dynamics", "Forecast", "MarketLatent", "imagine"]

_DEEP = 5.0  # mean drawdown of the lives that do not start at their peak, volatility units


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

    @property
    def sd(self) -> Tensor:
        """(B, horizons), likewise."""
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


@dataclass(frozen=True, slots=True)
class Conditions:
    """What lives are lived under.

    cost: of one unit of exposure traded at full urgency, in volatility units. penalty: (B,) >= 0 of a latent, taken
    from the return of each unit of exposure held there: where the model does not know, nothing is to be earned (MOPO,
    Yu et al. 2020). preferences: (B, 4) of the lives; drawn without.
    """

    cost: float
    penalty: Callable[[Any], Tensor] | None = None
    preferences: Tensor | None = None


@torch.no_grad()
def imagine(
    world_model: Dynamics[Latent],
    policy: Policy,
    critic: Critic,
    starts: Latent,
    horizon: int,
    conditions: Conditions | float,
    generator: torch.Generator,
) -> Rollout:
    """`horizon` steps from each of B starts, all truncated at the end (the market goes on).

    A plain number of `conditions` is the cost. What each life starts with is drawn, because trading will meet all of
    it: half start flat, half anywhere in [-1, 1]; half at their peak; half with the default weights. A life's rewards
    are times its relative weights, so that the learner's default weights become the life's own. `starts` may be written
    on (its cache): fork it to use it twice.
    """
    on = conditions if isinstance(conditions, Conditions) else Conditions(float(conditions))
    lives, latent = len(starts.feature), starts
    held, depth = _first_exposures(lives, generator), _first_drawdowns(lives, generator)
    wanted = draw_preferences(lives, generator) if on.preferences is None else on.preferences
    rows: list[tuple[Tensor, ...]] = []
    for _ in range(horizon):
        feature = situate(latent.feature, depth, wanted)
        actions = policy(feature, held)
        raw = actions.sample(generator)
        latent, step = _step(world_model, latent, torch.tanh(raw), (held, depth), on, generator)
        paid = relative_weights(wanted) * step.reward
        rows.append((feature, held, raw, actions.log_prob(raw), paid, critic(feature, held)))
        held, depth = step.exposure, step.drawdown
    return _rollout(rows, critic(situate(latent.feature, depth, wanted), held))


def _step(
    world_model: Dynamics[Latent],
    latent: Latent,
    action: Tensor,
    state: tuple[Tensor, Tensor],
    conditions: Conditions,
    generator: torch.Generator,
) -> tuple[Latent, Step]:
    """The next latent, and what is held and earned on the way there; state: exposure and drawdown (B,)."""
    ahead = world_model.forecast(latent)
    mean, sd = ahead.mean[:, 0], ahead.sd[:, 0]
    doubt = None if conditions.penalty is None else conditions.penalty(latent)
    latent, returns = world_model.step(latent, generator)
    step = reward(action, state[0], returns, conditions.cost, expected=mean, spread=sd, drawdown=state[1])
    if doubt is not None:
        step.reward[:, 0] -= doubt * step.exposure.abs()
    return latent, step


def _rollout(rows: list[tuple[Tensor, ...]], final: Tensor) -> Rollout:
    features, exposures, raw, log_probs, rewards, values = (torch.stack(column) for column in zip(*rows, strict=True))
    never = torch.zeros_like(log_probs, dtype=torch.bool)
    cut = never.clone()
    cut[-1] = True
    after = torch.cat([values[1:], final.unsqueeze(0)])
    return Rollout(
        features=features, exposures=exposures, raw=raw, log_probs=log_probs, rewards=rewards,
        values=values, next_values=after, terminated=never, truncated=cut,
    )  # fmt: skip


def _first_exposures(lives: int, generator: torch.Generator) -> Tensor:
    device = generator.device
    drawn = 2.0 * torch.rand(lives, generator=generator, device=device) - 1.0
    held = torch.rand(lives, generator=generator, device=device) < 0.5
    return torch.where(held, drawn, torch.zeros_like(drawn))


def _first_drawdowns(lives: int, generator: torch.Generator) -> Tensor:
    device = generator.device
    drawn = -_DEEP * torch.log1p(-torch.rand(lives, generator=generator, device=device))
    deep = torch.rand(lives, generator=generator, device=device) < 0.5
    return torch.where(deep, drawn, torch.zeros_like(drawn))
