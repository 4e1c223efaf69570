"""Is this state like the ones that the model was trained on: a shrunk Mahalanobis distance, 1.0 at the limit.

Training fits it, inference scores every state with it. It must never call a state normal because it could not be
scored: what is not finite is the caller's error, and `coverage` tells how much of the state was there to be judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from cryptoai.core.errors import BundleError, DataError

__all__ = ["LIMIT", "Mahalanobis", "block_bound", "ledoit_wolf"]

LIMIT = 0.999
"""Quantile of the distances within one stretch of time that the limit is about."""
BLOCKS = 5
"""Stretches that the training rows are cut into; each is scored by a fit to the others."""
CONFIDENCE = 0.99
"""That the next stretch, if it is like the training ones, stays below the limit."""
MOST_ROWS = 20_000
"""Rows that are used, evenly spaced: neighbours say the same."""
CLIP = 8.0
"""Standard deviations at which one feature stops adding: many odd features weigh more than one wild one."""

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Mahalanobis:
    """Fitted distance; D features.

    mean, sd: float64 [D] over the rows where the feature is present; whitening: float64 [D, D] with
    whitening @ whitening.T = inverse of the shrunk correlation of the standardised features, zero rows for features
    that never varied in training; usual: float64 [D], 1 where the feature is present in half of the rows or more;
    limit: the raw distance that scores 1, an upper bound for stretches of time like those of training.
    """

    mean: Doubles
    sd: Doubles
    whitening: Doubles
    usual: Doubles
    limit: float

    @classmethod
    def fit(cls, values: Floats, mask: Bools) -> Self:
        """values [N, D] in time order, mask [N, D] True = present; DataError below 50 rows or if all is missing.

        Rows close in time say almost the same, so neither the shape nor the limit may count them as many. The shape
        is shrunk by the number of independent rows; the limit is a prediction bound for a stretch of time never seen.
        """
        if values.ndim != 2 or values.shape != mask.shape or len(values) < 10 * BLOCKS or not mask.any():
            raise DataError(f"the anomaly score needs {10 * BLOCKS} rows of values and a mask of the same shape")
        thin = -(-len(values) // MOST_ROWS)
        values, mask = values[::thin], mask[::thin]
        memory = _memory(_standardise(values, mask, *_moments(values, mask)))
        mean, sd, whitening = _shape(values, mask, memory)
        usual = ((mask.mean(axis=0) >= 0.5) & (sd > 0)).astype(np.float64)
        return cls(mean, sd, whitening, usual, _limit(values, mask, memory))

    def score(self, values: Floats, mask: Bools) -> Doubles:
        """Distance over the limit, float64 [n] for values and mask [n, D]; > 1 is out of distribution.

        A missing feature counts as average, so missing data can only lower a score: read it beside `coverage`.
        """
        z = _standardise(values, mask, self.mean, self.sd)
        return np.asarray(np.linalg.norm(z @ self.whitening, axis=1) / self.limit)

    def coverage(self, mask: Bools) -> Doubles:
        """Share of the usual features that are present, float64 [n] for mask [n, D]."""
        return np.asarray((mask @ self.usual) / max(float(self.usual.sum()), 1.0))

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `from_tensors` reads back exactly."""
        rows = {"mean": self.mean, "sd": self.sd, "whitening": self.whitening, "usual": self.usual}
        named = {f"anomaly.{name}": torch.from_numpy(row.copy()) for name, row in rows.items()}
        return named | {"anomaly.limit": torch.tensor([self.limit], dtype=torch.float64)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Self:
        try:
            rows = {name: tensors[f"anomaly.{name}"].double().numpy() for name in cls.__slots__}
        except KeyError as error:
            raise BundleError(f"the risk file has no tensor {error}; train the bundle again") from None
        if not all(np.isfinite(row).all() for row in rows.values()) or not (rows["limit"] > 0).all():
            raise BundleError("the anomaly tensors of the risk file are not finite; train the bundle again")
        return cls(rows["mean"], rows["sd"], rows["whitening"], rows["usual"], float(rows["limit"][0]))


def ledoit_wolf(centred: Doubles, memory: float = 1.0) -> tuple[Doubles, float]:
    """Covariance shrunk toward a multiple of the identity, and the weight of the identity (Ledoit and Wolf 2004).

    centred: float64 [N, D] with column means 0; memory: rows that say as much as one independent row, which raises the
    noise of the estimate. Returns ([D, D], weight in [0, 1]); never singular unless all is 0.
    """
    n, d = centred.shape
    sample = centred.T @ centred / n
    level = float(np.trace(sample)) / d
    distance = float(((sample - level * np.eye(d)) ** 2).sum())
    squares = centred**2
    noise = float((squares.T @ squares / n - sample**2).sum()) * memory / n
    weight = min(noise, distance) / distance if distance > 0 else 1.0
    return (1.0 - weight) * sample + weight * level * np.eye(d), weight


def block_bound(scores: Doubles) -> float:
    """Upper prediction bound, for one more stretch of time, of the 99.9 % quantile of its scores.

    scores: float64 [N] in time order of rows that the score was not fitted on; cut into BLOCKS stretches, whose
    quantiles are taken for draws of one normal law: mean + t(.99) sd sqrt(1 + 1 / BLOCKS).
    """
    edges = np.linspace(0, len(scores), BLOCKS + 1).astype(int)
    worst = np.array([np.quantile(scores[first:last], LIMIT) for first, last in pairwise(edges)])
    spread = float(worst.std(ddof=1)) * np.sqrt(1.0 + 1.0 / BLOCKS)
    return float(worst.mean() + stats.t.ppf(CONFIDENCE, BLOCKS - 1) * spread)


def _limit(values: Floats, mask: Bools, memory: float) -> float:
    """Upper prediction bound, for one more block, of the 99.9 % quantile of its distances from a fit to the others."""
    edges = np.linspace(0, len(values), BLOCKS + 1).astype(int)
    distances = np.empty(len(values))
    for first, last in pairwise(edges):
        others = np.r_[0:first, last : len(values)]
        mean, sd, whitening = _shape(values[others], mask[others], memory)
        z = _standardise(values[first:last], mask[first:last], mean, sd)
        distances[first:last] = np.linalg.norm(z @ whitening, axis=1)
    return max(block_bound(distances), 1e-6)


def _shape(values: Floats, mask: Bools, memory: float) -> tuple[Doubles, Doubles, Doubles]:
    """mean [D], sd [D], whitening [D, D]."""
    mean, sd = _moments(values, mask)
    return mean, sd, _whitening(_standardise(values, mask, mean, sd), sd > 0, memory)


def _memory(z: Doubles) -> float:
    """Mean integrated autocorrelation time of the columns in rows, at least 1 (Sokal 1997), summed while above .05."""
    n = len(z)
    total, columns = np.zeros(n), 0
    for column in z.T:
        spectrum = np.fft.rfft(column - column.mean(), 2 * n)
        covariance = np.fft.irfft(spectrum * spectrum.conj(), 2 * n)[:n]
        if covariance[0] > 0:
            total, columns = total + covariance / covariance[0], columns + 1
    correlation = total / max(columns, 1)
    below = np.flatnonzero(correlation < 0.05)
    return 1.0 + 2.0 * float(correlation[1 : below[0] if below.size else n].sum())


def _moments(values: Floats, mask: Bools) -> tuple[Doubles, Doubles]:
    """Mean and sd of each feature over its present rows; sd 0 where it never varies."""
    kept = np.where(mask, values, 0.0).astype(np.float64)
    count = np.maximum(mask.sum(axis=0), 1)
    mean = kept.sum(axis=0) / count
    variance = (np.where(mask, values - mean, 0.0) ** 2).sum(axis=0) / count
    sd = np.sqrt(variance)
    return mean, np.where(sd > 1e-9 * (1.0 + np.abs(mean)), sd, 0.0)


def _standardise(values: Floats, mask: Bools, mean: Doubles, sd: Doubles) -> Doubles:
    known = mask & (sd > 0)
    z = np.where(known, values - mean, 0.0) / np.where(sd > 0, sd, 1.0)
    return np.asarray(np.clip(z, -CLIP, CLIP), dtype=np.float64)


def _whitening(z: Doubles, varies: Bools, memory: float) -> Doubles:
    kept = np.flatnonzero(varies)
    whitening = np.zeros((z.shape[1], z.shape[1]))
    if kept.size:
        part = z[:, kept]
        covariance, _ = ledoit_wolf(part - part.mean(axis=0), memory)
        size, axes = np.linalg.eigh(covariance)
        whitening[np.ix_(kept, kept)] = axes / np.sqrt(np.maximum(size, 1e-9))
    return whitening
