"""How large will the next loss be, as far as what is known says so: the mean of |loss| as the exponent of a line.

`conditional` puts it behind the GARCH filter (ranges of candles say more of volatility than closes), `guard` behind the
world model's forecast. It must never see the loss that it scales: drivers are known before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from scipy import signal

from cryptoai.core.errors import BundleError, DataError

__all__ = ["LogScale", "candle_drivers"]

RIDGE = 1e-3
"""Weight of the squared coefficients beside the mean likelihood of one loss, drivers in their own deviations."""
ROUNDS = 50
REACH = 3.0
"""A driver counts for at most this many deviations: beyond what training saw the line is not believed."""
SPANS = (1, 3, 12, 48, 288)
"""Bars over which ranges are averaged: the last one to a day of five-minute bars (Corsi 2009)."""
HARMONICS = 4
FLOOR = 1e-6
"""Of a range, whose logarithm is taken: a hundredth of a basis point."""

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Moments = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LogScale:
    """E |loss| = exp(level + weights . (drivers - centre) / spread); K drivers, float64 [K] each.

    Fitted as a gamma regression with a logarithmic link, which needs no more than that this mean is right.
    """

    level: float
    weights: Doubles
    centre: Doubles
    spread: Doubles

    @classmethod
    def fit(cls, losses: Floats, drivers: Floats, *, ridge: float = RIDGE) -> Self:
        """losses [n] of either sign, drivers [n, K], NaN unknown; DataError below 10 rows a driver or if all are 0."""
        size = np.abs(np.asarray(losses, dtype=np.float64))
        known = np.asarray(drivers, dtype=np.float64)
        if known.shape[0] != len(size) or len(size) < 10 * (1 + known.shape[1]) or np.isinf(known).any():
            raise DataError("the scale needs 10 rows a driver, none infinite, one row of drivers for each loss")
        if not np.isfinite(size).all() or not size.mean() > 0:
            raise DataError("the losses of the scale are all 0 or not finite; there is nothing to scale")
        centre, spread = _moments(known)
        x = _standard(known, centre, spread)
        level, weights = np.log(size.mean()), np.zeros(x.shape[1])
        matrix = x.T @ x / len(x) + ridge * np.eye(x.shape[1])
        for _ in range(ROUNDS):  # Fisher scoring: the information of this family does not depend on the coefficients
            off = size / np.exp(level + x @ weights) - 1.0
            step = np.linalg.solve(matrix, x.T @ off / len(x) - ridge * weights)
            weights, level = weights + np.clip(step, -0.5, 0.5), level + float(np.clip(off.mean(), -0.5, 0.5))
            if np.abs(step).max(initial=0.0) < 1e-8:
                break
        return cls(float(level), weights, centre, spread)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `from_tensors` reads back exactly."""
        rows = {"weights": self.weights, "centre": self.centre, "spread": self.spread, "level": np.array([self.level])}
        return {f"scale.{name}": torch.from_numpy(row.copy()) for name, row in rows.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Self:
        """BundleError if a tensor is missing, misshapen or not finite."""
        try:
            weights, centre, spread, level = (
                tensors[f"scale.{name}"].double().numpy() for name in ("weights", "centre", "spread", "level")
            )
        except KeyError as error:
            raise BundleError(f"the risk file has no tensor {error}; train the bundle again") from None
        whole = weights.shape == centre.shape == spread.shape and level.shape == (1,) and (spread > 0).all()
        if not whole or not all(np.isfinite(row).all() for row in (weights, centre, spread, level)):
            raise BundleError("the scale of the risk file is impossible; train the bundle again")
        return cls(float(level[0]), weights, centre, spread)

    def of(self, drivers: Floats) -> Doubles:
        """The expected |loss|, [n] of [n, K]; a driver that is unknown (NaN) counts as average."""
        return np.exp(self.level + _standard(np.asarray(drivers, np.float64), self.centre, self.spread) @ self.weights)


def candle_drivers(returns: Floats, high: Floats, low: Floats, times: Moments) -> Doubles:
    """What the bars before say of the size of each return: [n + 1, 14], the last row for the return to come.

    returns [n]: of the closes; high, low [n]: of the same bars; times int64 [n]: ns at which the bars end. Parkinson
    (1980) ranges over five spans, the last return, and four harmonics of the time of day (Andersen, Bollerslev 1997).
    """
    ranges = np.log(high / low) / np.sqrt(4.0 * np.log(2.0))
    means = [np.log(np.maximum(_smooth(ranges, span), FLOOR)) for span in SPANS]
    moved = 0.5 * np.log(np.square(returns) + np.square(0.1 * _smooth(ranges, 48)) + FLOOR**2)
    seen = np.stack([*means, moved], axis=1)
    step = int(np.median(np.diff(times)))
    day = 2.0 * np.pi * (np.append(times, times[-1] + step) % _DAY) / _DAY
    clock = [wave(k * day) for k in range(1, HARMONICS + 1) for wave in (np.sin, np.cos)]
    return np.hstack([np.vstack([seen[:1], seen]), np.stack(clock, axis=1)])


_DAY = 86_400_000_000_000


def _smooth(x: Floats, span: int) -> Doubles:
    """Exponential mean of this and earlier values; it starts at the first value."""
    share = 2.0 / (span + 1.0)
    smooth, _ = signal.lfilter([share], [1.0, share - 1.0], x, zi=[(1.0 - share) * x[0]])
    return np.asarray(smooth)


def _moments(drivers: Doubles) -> tuple[Doubles, Doubles]:
    """Mean and deviation of each driver where it is known; (0, 1) where it never is or never varies."""
    there = ~np.isnan(drivers)
    count = np.maximum(there.sum(axis=0), 1)
    centre = np.where(there, drivers, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(there, drivers - centre, 0.0) ** 2).sum(axis=0) / count)
    return centre, np.where(spread > 1e-9, spread, 1.0)


def _standard(drivers: Doubles, centre: Doubles, spread: Doubles) -> Doubles:
    return np.nan_to_num(np.clip((drivers - centre) / spread, -REACH, REACH))
