"""Everything of the black-swan part that a bundle carries, as one object: the tail and the anomaly score.

Training fits it and saves `tensors()` as risk.safetensors; inference reads it back. It must never change after it
was read: a bundle is immutable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from cryptoai.black_swan.anomaly import Mahalanobis
from cryptoai.black_swan.evt import Tail, fit_tail
from cryptoai.data_universe.schema import WIDTH, group_slice

__all__ = ["IGNORED", "RiskModel"]

IGNORED = ("asset", "portfolio")
"""Groups that cannot be anomalous: the calendar and the contract are not the market, and neither are we."""


@dataclass(frozen=True, slots=True)
class RiskModel:
    """tail: of the one-step absolute surprise |return - forecast mean| / forecast sd; anomaly: of the states."""

    tail: Tail
    anomaly: Mahalanobis

    @classmethod
    def fit(
        cls,
        values: npt.NDArray[np.floating],
        mask: npt.NDArray[np.bool_],
        surprises: npt.NDArray[np.floating],
        *,
        min_exceed: int = 100,
    ) -> Self:
        """values, mask [N, 200] in time order; surprises [M] without unit, of either sign: both sides are losses."""
        tail = fit_tail(np.abs(surprises), min_exceed=min_exceed)
        judged = np.ones(WIDTH, dtype=bool)
        for group in IGNORED:
            judged[group_slice(group)] = False
        return cls(tail, Mahalanobis.fit(values, mask & judged))

    def loss(self, p: float, mean: float, sd: float) -> tuple[float, float]:
        """(VaR, ES) at level `p` of the worse side of one step, in the unit of the forecast's `mean` and `sd`."""
        return abs(mean) + sd * self.tail.var(p), abs(mean) + sd * self.tail.es(p)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Contiguous float64 tensors by name, ready for safetensors."""
        return self.tail.tensors() | self.anomaly.tensors()

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Self:
        """BundleError names what is missing or impossible."""
        return cls(Tail.from_tensors(tensors), Mahalanobis.from_tensors(tensors))
