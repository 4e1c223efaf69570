"""States of which one in twenty is not what it seems: marginals intact, dependence broken.

The gate of the anomaly score uses it. A planted anomaly takes some of its features from another state, so no single
feature is out of its range: only what belongs together says so. All of it follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["PlantedAnomalies", "planted_anomalies", "swap_features"]

FACTORS = 10
HIDDEN = 30
"""Nonlinear functions of the factors; the features are mixtures of them."""
DEGREES = 5
"""Of freedom, of factors and noise: the tails of a market."""
NOISE = 0.35
"""Deviation of what each feature has of its own, beside a common part of deviation 1."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PlantedAnomalies:
    """train float64 [N, D]: clean; test float64 [M, D]; odd bool [M]: which of the test rows were tampered with."""

    train: Floats
    test: Floats
    odd: Bools


def planted_anomalies(
    seed: int, train: int = 5000, test: int = 4000, *, dims: int = 200, swapped: int = 20, share: float = 0.05
) -> PlantedAnomalies:
    """x = tanh(f A) B + noise: 10 Student-t(5) factors f, 30 hidden functions, `dims` features, t(5) noise.

    `swapped` features of a share of the test rows are taken from another row each.
    """
    rng = np.random.default_rng(seed)
    inner = rng.standard_normal((FACTORS, HIDDEN)) / np.sqrt(FACTORS / 2)
    outer = rng.standard_normal((HIDDEN, dims)) / np.sqrt(HIDDEN)
    rows = [_rows(rng, count, inner, outer) for count in (train, test)]
    odd = np.zeros(test, dtype=bool)
    odd[rng.choice(test, round(share * test), replace=False)] = True
    return PlantedAnomalies(rows[0], swap_features(rows[1], odd, swapped, rng), odd)


def swap_features(rows: Floats, odd: Bools, swapped: int, rng: np.random.Generator) -> Floats:
    """A copy of rows [N, D] whose `odd` ones have `swapped` features, drawn anew for each, from another row each."""
    out = rows.copy()
    for row in np.flatnonzero(odd):
        features = rng.choice(rows.shape[1], swapped, replace=False)
        out[row, features] = rows[rng.integers(0, len(rows), swapped), features]
    return out


def _rows(rng: np.random.Generator, count: int, inner: Floats, outer: Floats) -> Floats:
    unit = np.sqrt((DEGREES - 2) / DEGREES)
    factors = rng.standard_t(DEGREES, (count, FACTORS)) * unit
    noise = rng.standard_t(DEGREES, (count, outer.shape[1])) * unit
    common = np.tanh(factors @ inner) @ outer
    return np.asarray(common + NOISE * noise)
