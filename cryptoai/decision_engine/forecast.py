"""The world model's forecast in the words of an `Inference`: basis points, named horizons, quantiles and regimes.

Inference calls it for one state at a time. It only reads the forecast's own distribution function: it must never
sample, so that the answer for a state is always the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cryptoai.world_model import HORIZONS, ReturnMixture
from cryptoai.world_model.distributions import t4_quantile

__all__ = ["QUANTILES", "REGIMES", "Outlook", "horizon_names", "outlook"]

QUANTILES = {"p01": 0.01, "p05": 0.05, "p50": 0.50, "p95": 0.95, "p99": 0.99}
REGIMES = {"calm": (0.0, 0.5), "normal": (0.5, 2.0), "stressed": (2.0, float("inf"))}
"""A regime's probability is that the next step's |return| falls into this range, in volatility units of training."""

_GRID = torch.linspace(0.0, 1.0, 33)
_ROUNDS = 4
_WANTED = torch.tensor(list(QUANTILES.values()))


@dataclass(frozen=True, slots=True)
class Outlook:
    """mean, sd (H,): by horizon; quantiles, regime: by name, of the next step. All in volatility units."""

    mean: list[float]
    sd: list[float]
    quantiles: dict[str, float]
    regime: dict[str, float]


def horizon_names(interval_ms: int) -> tuple[str, ...]:
    """'1s', '4s', '16s', '64s' for decisions a second apart."""
    return tuple(f"{steps * interval_ms / 1000:g}s" for steps in HORIZONS)


def outlook(mixture: ReturnMixture) -> Outlook:
    """What a mixture of shape (1, H, K) says."""
    first = ReturnMixture(*(part[0, 0] for part in (mixture.logits, mixture.loc, mixture.scale)))
    return Outlook(mixture.mean[0].tolist(), mixture.sd[0].tolist(), _quantiles(first), _regime(first))


def _quantiles(first: ReturnMixture) -> dict[str, float]:
    """All at once: each lies between the least and greatest of its components', brackets shrink by 32 a round."""
    wanted = _WANTED.unsqueeze(-1)
    parts = first.loc + first.scale * t4_quantile(wanted)
    low, high = parts.amin(-1, keepdim=True), parts.amax(-1, keepdim=True)
    for _ in range(_ROUNDS):
        grid = low + (high - low) * _GRID
        above = (first.cdf(grid) < wanted).sum(-1, keepdim=True).clamp(1, len(_GRID) - 1)
        low, high = grid.gather(-1, above - 1), grid.gather(-1, above)
    return dict(zip(QUANTILES, (0.5 * (low + high)).squeeze(-1).tolist(), strict=True))


def _regime(first: ReturnMixture) -> dict[str, float]:
    inner = torch.tensor([edge for _, edge in REGIMES.values()][:-1])
    within = np.array([0.0, *(first.cdf(inner) - first.cdf(-inner)).tolist(), 1.0])
    return dict(zip(REGIMES, np.clip(np.diff(within), 0.0, 1.0).tolist(), strict=True))
