"""Everything of the black-swan part that a bundle carries, as one object: the tail, its scale, and the signs of alarm.

Training fits it and saves `tensors()` as risk.safetensors; inference reads it back. It must never change after it
was read: a bundle is immutable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from cryptoai.black_swan.alarm import Signs
from cryptoai.black_swan.anomaly import Mahalanobis
from cryptoai.black_swan.cascade import pressure
from cryptoai.black_swan.detector import Choice, Detector, choose_detector, stored_detector
from cryptoai.black_swan.evt import Tail, fit_tail
from cryptoai.black_swan.scale import LogScale
from cryptoai.core.errors import BundleError, DataError
from cryptoai.data_universe.schema import WIDTH, group_slice, index

__all__ = ["IGNORED", "Forecasts", "RiskModel"]

IGNORED = ("asset", "portfolio")
"""Groups that cannot be anomalous: the calendar and the contract are not the market, and neither are we."""
MOVE = index("perp_return_1s")
RARE = 1e-5
"""Share of the states whose move of one second is beyond the limit: about one a day at one state a second."""
VOLATILITY = tuple(index(name) for name in ("realised_volatility_5s", "realised_volatility_30s"))
ENOUGH = 5000
"""Rows from which on an autoencoder has a chance against the distance; below, it is not tried."""
LEAST = 100
"""Surprises below which no scale is learned."""
PRIOR = 5.0
"""Independent rows that the scale's prior (the forecast's deviation is right) weighs as much as."""

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What the surprises were forecast from, so that their scale can be learned: M forecasts in time order.

    values, mask [M, 200]: the newest state of each; sd [M]: the forecast's deviation, in volatility units; stride: rows
    that one forecast spans, of which only one is independent.
    """

    values: Floats
    mask: Bools
    sd: Floats
    stride: int = 1


@dataclass(frozen=True, slots=True)
class RiskModel:
    """tail: of the one-step absolute surprise |return - forecast mean| / (forecast sd x scale); anomaly: of the states.

    scale: how far realised volatility says that the forecast's deviation is off, or None (always 1); move_limit: of
    |perp_return_1s|, in basis points, infinite if training never saw that feature; auroc: of both anomaly scores on
    planted oddities, (Mahalanobis, autoencoder), NaN where no choice was made.
    """

    tail: Tail
    anomaly: Detector
    scale: LogScale | None = None
    move_limit: float = math.inf
    auroc: tuple[float, float] = (math.nan, math.nan)

    @classmethod
    def fit(
        cls,
        values: Floats,
        mask: Bools,
        surprises: Floats,
        *,
        min_exceed: int = 100,
        forecasts: Forecasts | None = None,
        generator: torch.Generator | None = None,
    ) -> Self:
        """values, mask [N, 200] in time order; surprises [M] without unit, of either sign: both sides are losses.

        forecasts: with them the surprises are scaled before the tail is fitted, and their overlap is known. generator:
        with it, and enough rows, the autoencoder is tried beside the Mahalanobis distance, and the better one ships.
        """
        scale = None if forecasts is None or len(surprises) < LEAST else _fit_scale(surprises, forecasts)
        stride = 1 if forecasts is None else forecasts.stride
        tail = fit_tail(_scaled(scale, surprises, forecasts), min_exceed=min_exceed, overlap=stride)
        judged = np.ones(WIDTH, dtype=bool)
        for group in IGNORED:
            judged[group_slice(group)] = False
        chosen = _detector(values, mask & judged, generator)
        auroc = (chosen.mahalanobis, chosen.vae)
        return cls(tail, chosen.detector, scale, _move_limit(values[:, MOVE], mask[:, MOVE]), auroc)

    def losses(self, surprises: Floats, forecasts: Forecasts | None = None) -> Doubles:
        """The surprises [M] in the unit of `tail`: what to compare with `tail.var(p)`."""
        return _scaled(self.scale, surprises, forecasts)

    def loss(
        self, p: float, mean: float, sd: float, values: Floats | None = None, mask: Bools | None = None
    ) -> tuple[float, float]:
        """(VaR, ES) at level `p` of the worse side of one step, in the unit of the forecast's `mean` and `sd`.

        values, mask [200]: the newest state, whose realised volatility scales the deviation; without it that is right.
        """
        unit = sd
        if self.scale is not None and values is not None and mask is not None:
            unit *= float(_scale(self.scale, Forecasts(values[None], mask[None], np.array([sd])))[0])
        return abs(mean) + unit * self.tail.var(p), abs(mean) + unit * self.tail.es(p)

    def signs(self, values: Floats, mask: Bools, break_score: Floats | None = None) -> Signs:
        """The signs of alarm of a history of states [T, 200], oldest first.

        break_score [T]: probability of a regime break over the level that raises its own rule, from whoever runs it.
        """
        moved = np.where(mask[:, MOVE], np.abs(values[:, MOVE]), 0.0) / self.move_limit
        return Signs(self.anomaly.score(values, mask), moved, pressure(values, mask), break_score)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Contiguous float64 tensors by name, ready for safetensors (the autoencoder's weights are float32)."""
        mine = {"move_limit": torch.tensor([self.move_limit], dtype=torch.float64)}
        mine["anomaly.auroc"] = torch.tensor(self.auroc, dtype=torch.float64)
        scale = {} if self.scale is None else self.scale.tensors()
        return self.tail.tensors() | self.anomaly.tensors() | scale | mine

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Self:
        """BundleError names what is missing or impossible."""
        limit = float(tensors["move_limit"][0]) if "move_limit" in tensors else math.inf
        if not limit > 0:
            raise BundleError(f"the move limit of the risk file is {limit}; train the bundle again")
        figures = tensors.get("anomaly.auroc", torch.full((2,), math.nan)).tolist()
        scale = LogScale.from_tensors(tensors) if "scale.weights" in tensors else None
        detector = stored_detector(tensors)
        return cls(Tail.from_tensors(tensors), detector, scale, limit, (figures[0], figures[1]))


def _detector(values: Floats, mask: Bools, generator: torch.Generator | None) -> Choice:
    if generator is None or len(values) < ENOUGH:
        return Choice(Mahalanobis.fit(values, mask), math.nan, math.nan)
    return choose_detector(values, mask, generator)


def _fit_scale(surprises: Floats, known: Forecasts) -> LogScale:
    """A strong prior on short tapes, where rows that overlap are not many; a wilder market never lowers the scale."""
    drivers, ridge = _drivers(known), PRIOR * known.stride / len(surprises)
    scale = LogScale.fit(surprises, drivers, ridge=ridge)
    while (scale.weights < 0).any():
        drivers[:, scale.weights < 0] = np.nan
        scale = LogScale.fit(surprises, drivers, ridge=ridge)
    return scale


def _scaled(scale: LogScale | None, surprises: Floats, known: Forecasts | None) -> Doubles:
    sizes = np.abs(np.asarray(surprises, dtype=np.float64))
    return sizes if scale is None or known is None else sizes / _scale(scale, known)


def _scale(scale: LogScale, known: Forecasts) -> Doubles:
    """Factor on the forecast's deviation, [M]; 1 on an average day."""
    return np.asarray(scale.of(_drivers(known)) / math.exp(scale.level))


def _drivers(known: Forecasts) -> Doubles:
    """ln(realised volatility over 5 s and 30 s / forecast deviation), [M, 2], NaN where missing.

    Neither has the forecast's unit or horizon: only how they move is used, the level is the tail's business.
    """
    columns = list(VOLATILITY)
    seen, there = np.asarray(known.values, np.float64)[:, columns], known.mask[:, columns]
    logs = np.log(np.maximum(seen, 1e-3)) - np.log(np.maximum(known.sd, 1e-9))[:, None]
    return np.where(there, logs, np.nan)


def _move_limit(moves: Floats, there: Bools) -> float:
    """The move of one second that one state in 100,000 goes beyond, and never less than half above the largest seen."""
    sizes = np.abs(np.asarray(moves, np.float64)[there])
    if len(sizes) < 100 or not sizes.any():
        return math.inf
    try:
        tail = fit_tail(sizes, min_exceed=min(100, len(sizes) // 20))
    except DataError:
        return 1.5 * float(sizes.max())
    return max(tail.var(1.0 - RARE), 1.5 * float(sizes.max()))
