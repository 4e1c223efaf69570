"""What a group of features is worth to the world model: the likelihood that is lost when the model never sees it.

Gates use it. Each ablation is a training of its own with the group masked in all rows, so that the rest may make up for
it; a group that the model can do without is reported so. It must never judge on rows that were fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from cryptoai.data_universe.schema import group_slice
from cryptoai.testing.forecasting import Recipe, mean_interval, memories, train_on
from cryptoai.testing.market.carriers import CarrierMarket
from cryptoai.world_model import HORIZONS

__all__ = ["MATERIAL", "Loss", "ablated", "without"]

MATERIAL = 0.005
"""Nats below which a loss says nothing about a group."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Loss:
    """Nats of the next return that are lost without `group`; low and high: 95 % interval over test rows."""

    group: str
    nats: float
    low: float
    high: float

    @property
    def matters(self) -> bool:
        """More than two trainings of one model differ by: the interval knows the rows, not the luck of the start."""
        return self.low > MATERIAL


def ablated(train: CarrierMarket, test: CarrierMarket, groups: Sequence[str], recipe: Recipe) -> list[Loss]:
    """One training with everything and one without each group."""
    whole = _losses(train, test, recipe)
    found = []
    for group in groups:
        lost = _losses(without(train, group), without(test, group), recipe) - whole
        found.append(Loss(group, float(lost.mean()), *mean_interval(lost, block=50)))
    return found


def without(market: CarrierMarket, group: str) -> CarrierMarket:
    """`market` with the group missing in every row."""
    mask = market.mask.copy()
    mask[:, group_slice(group)] = False
    return replace(market, mask=mask, values=np.where(mask, market.values, np.float32(0.0)))


def _losses(train: CarrierMarket, test: CarrierMarket, recipe: Recipe) -> Floats:
    """Negative log density of the next return at each test row that has a past."""
    trained = train_on(train, recipe)
    rows, memory = memories(trained.model, test.values, test.mask, recipe.sequence)
    x = torch.from_numpy(test.returns[rows] / trained.unit).float()[:, None].expand(-1, len(HORIZONS))
    with torch.no_grad():
        return np.asarray(-trained.model.mixture(memory).log_prob(x)[:, 0].double().numpy())
