"""The world model's forecast in the words of an `Inference`: basis points, named horizons, quantiles and regimes.

Inference calls it for one state at a time. It only reads the forecast's own distribution function: it must never
sample, so that the answer for a state is always the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from cryptoai.world_model import HORIZONS
from cryptoai.world_model.distributions import t4_quantile

__all__ = ["QUANTILES", "REGIMES", "Outlook", "horizon_names", "outlook"]

QUANTILES = {"p01": 0.01, "p05": 0.05, "p50": 0.50, "p95": 0.95, "p99": 0.99}
REGIMES = {"calm": (0.0, 0.5), "normal": (0.5, 2.0), "stressed": (2.0, float("inf"))}
"""A regime's probability is that the next step's |return| falls into this range, in volatility units of training."""

_GRID = np.linspace(0.0, 1.0, 17)
_ROUNDS = 3
_WANTED = np.array(list(QUANTILES.values()))
_EDGES = np.array([edge for _, edge in REGIMES.values()][:-1])
_T4_QUANTILES = t4_quantile(torch.from_numpy(_WANTED)).numpy()

Floats = npt.NDArray[np.float64]


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


def outlook(weights: Floats, loc: Floats, scale: Floats) -> Outlook:
    """What a mixture of Student-t (4 degrees of freedom) says, each (H, K)."""
    mean = (weights * loc).sum(-1)
    second = (weights * (2 * scale**2 + loc**2)).sum(-1)
    sd = np.sqrt(np.maximum(second - mean**2, 1e-12))
    first = weights[0], loc[0], scale[0]
    return Outlook(mean.tolist(), sd.tolist(), _quantiles(*first), _regime(*first))


def _cdf(x: Floats, weights: Floats, loc: Floats, scale: Floats) -> Floats:
    """P(return <= x), as `ReturnMixture.cdf`: for one state, numpy costs a fraction of the calls of torch."""
    z = (x[..., None] - loc) / scale
    square = z * z
    share = 1.0 / (1.0 + 0.25 * square)
    return np.asarray(0.5 + (0.375 * z * np.sqrt(share) * (1.0 - square * share / 12.0)) @ weights)


def _quantiles(weights: Floats, loc: Floats, scale: Floats) -> dict[str, float]:
    """All at once: each lies between the least and greatest of its components', brackets shrink by 16 a round.

    The last bracket is a 4,096th of the first, where the distribution function is a straight line to six digits.
    """
    parts = loc + scale * _T4_QUANTILES[:, None]
    low, high = parts.min(-1, keepdims=True), parts.max(-1, keepdims=True)
    each = np.arange(len(low))[:, None]
    for _ in range(_ROUNDS):
        grid = low + (high - low) * _GRID
        reached = _cdf(grid, weights, loc, scale)
        above = np.clip((reached < _WANTED[:, None]).sum(-1, keepdims=True), 1, len(_GRID) - 1)
        low, high = grid[each, above - 1], grid[each, above]
    left, right = reached[each, above - 1], reached[each, above]
    share = np.clip((_WANTED[:, None] - left) / np.maximum(right - left, 1e-300), 0.0, 1.0)
    return dict(zip(QUANTILES, (low + share * (high - low))[:, 0].tolist(), strict=True))


def _regime(weights: Floats, loc: Floats, scale: Floats) -> dict[str, float]:
    inside = _cdf(_EDGES, weights, loc, scale) - _cdf(-_EDGES, weights, loc, scale)
    within = np.array([0.0, *inside.tolist(), 1.0])
    return dict(zip(REGIMES, np.clip(np.diff(within), 0.0, 1.0).tolist(), strict=True))
