"""Imagined returns over several steps, and their recalibration.

A path is drawn from latents that the model imagined itself, so its spread drifts away from the truth as it gets longer;
the direct heads do not. `RolloutMap` puts that right for each horizon: it maps the standardised imagined return through
the quantiles that realised returns had on the validation part (quantile mapping, Panofsky and Brier 1968, the same as
applying the inverse of the distribution of probability integral transforms, Kuleshov et al. 2018).

Training fits a map, whoever reads paths applies it. It must never be fitted on the rows that it is judged on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from cryptoai.core.errors import DataError
from cryptoai.world_model.model import Latent, WorldModel

__all__ = ["LEVELS", "RolloutMap", "imagined_returns", "ranks"]

LEVELS = torch.cat([torch.tensor([0.005, 0.01, 0.025]), torch.arange(1, 20) / 20, torch.tensor([0.975, 0.99, 0.995])])
"""Quantiles that a map is pinned at; between them it is linear, beyond them it goes on with a slope of one."""

_LEAST = 50


@torch.no_grad()
def imagined_returns(
    model: WorldModel, start: Latent, steps: tuple[int, ...], paths: int, generator: torch.Generator
) -> dict[int, Tensor]:
    """`paths` futures of each of B starts: cumulative returns (B, paths) after each number of steps.

    In volatility units. `start` needs room for the most steps; it is not written on.
    """
    latent, total, found = start.spread(paths), torch.zeros(len(start.h) * paths, device=start.h.device), {}
    for step in range(1, max(steps) + 1):
        latent, returns = model.step(latent, generator)
        total = total + returns
        if step in steps:
            found[step] = total.reshape(-1, paths)
    return found


def ranks(paths: Tensor, realised: Tensor, generator: torch.Generator) -> Tensor:
    """Probability integral transform of `realised` (B,) under its own paths (B, N), [0, 1]; uniform if calibrated.

    The rank among the paths, with the place inside its step drawn (Czado, Gneiting and Held 2009).
    """
    below = (paths < realised.unsqueeze(-1)).sum(-1)
    draw = torch.rand(len(realised), generator=generator, device=realised.device)
    return (below + draw) / (paths.shape[1] + 1)


@dataclass(frozen=True, slots=True)
class RolloutMap:
    """For each horizon: imagined (Q,) and realised (Q,) quantiles at LEVELS, both in sds of the start's own paths."""

    imagined: Mapping[int, Tensor]
    realised: Mapping[int, Tensor]

    @classmethod
    def fit(cls, paths: Mapping[int, Tensor], realised: Mapping[int, Tensor]) -> Self:
        """paths (B, N), realised (B,) by horizon, of one part of the data; DataError if there are too few starts."""
        left, right = {}, {}
        for steps, drawn in paths.items():
            if len(drawn) < _LEAST:
                raise DataError(f"a rollout map of {steps} steps needs {_LEAST} starts, not {len(drawn)}")
            centre, spread = _moments(drawn)
            left[steps] = torch.quantile(_sample((drawn - centre) / spread), LEVELS)
            right[steps] = torch.quantile((realised[steps] - centre[:, 0]) / spread[:, 0], LEVELS)
        return cls(left, right)

    def apply(self, steps: int, paths: Tensor) -> Tensor:
        """Imagined cumulative returns (B, N) of this horizon, recalibrated; order within a start is kept."""
        centre, spread = _moments(paths)
        return centre + spread * _through((paths - centre) / spread, self.imagined[steps], self.realised[steps])


def _moments(paths: Tensor) -> tuple[Tensor, Tensor]:
    return paths.mean(-1, keepdim=True), paths.std(-1, keepdim=True).clamp(min=1e-6)


def _sample(z: Tensor, most: int = 200_000) -> Tensor:
    """Flat, thinned evenly: torch.quantile takes no more than some millions."""
    flat = z.flatten()
    return flat[:: max(1, len(flat) // most)]


def _through(x: Tensor, at: Tensor, to: Tensor) -> Tensor:
    """Piecewise linear through the points (at, to), both rising."""
    right = torch.searchsorted(at, x.contiguous()).clamp(1, len(at) - 1)
    share = ((x - at[right - 1]) / (at[right] - at[right - 1]).clamp(min=1e-9)).clamp(0.0, 1.0)
    inside = to[right - 1] + share * (to[right] - to[right - 1])
    return inside + (x - at[-1]).clamp(min=0.0) + (x - at[0]).clamp(max=0.0)
