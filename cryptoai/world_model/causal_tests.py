"""Conditional independence of lagged columns: one correlation matrix, then each test is a small Cholesky factor.

`pcmci`, `var_graph` and `stability` ask here. A partial correlation needs no regression: in the Cholesky factor of the
correlation matrix of (conditions, x, y), the last row holds it. So the data are read once, however many tests follow.
It must never look at the time after a row: column (node, lag) is what the node was `lag` rows before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special
from scipy.linalg import cholesky, solve_triangular
from scipy.stats import rankdata

from cryptoai.core.errors import DataError

__all__ = ["Correlations", "Floats", "Links", "correlations", "lagged", "normal_scores", "p_values", "q_values"]

Floats = npt.NDArray[np.float64]

_LEAST_ROWS = 30
_SINGULAR = (
    "columns are linearly dependent at these lags: drop a column that others add up to, or take a smaller max_lag"
)


@dataclass(frozen=True, slots=True)
class Links:
    """What a method found. strength (partial correlation) and p: float64[N, N, lags], [i, j, k] is i -> j at lag k + 1.

    same_strength, same_p: float64[N, N], symmetric: correlation of the same row's values that the past leaves over. It
    has no direction. Its p on the diagonal is 1.
    """

    strength: Floats
    p: Floats
    same_strength: Floats
    same_p: Floats


@dataclass(frozen=True, slots=True)
class Correlations:
    """matrix float64[M, M] of the lagged columns, `rows` they were taken over; column lag * nodes + node."""

    matrix: Floats
    rows: int
    nodes: int

    def column(self, node: int, lag: int) -> int:
        return lag * self.nodes + node

    def partial(self, x: int, y: int, given: Sequence[int]) -> float:
        """corr(x, y | given) of columns, in [-1, 1]; DataError if a column is a sum of others."""
        index = [*given, x, y]
        last = _factor(self.matrix[np.ix_(index, index)])[-1, -2:]
        return float(last[0] / np.hypot(*last))

    def partials(self, xs: list[int], y: int, given: list[int]) -> Floats:
        """The same of many x with the same conditions, float64[len(xs)], from one factor."""
        if not given:
            return np.asarray(self.matrix[xs, y])
        index = np.asarray([*xs, y])
        half = solve_triangular(_factor(self.matrix[given][:, given]), self.matrix[given][:, index], lower=True)
        variance = 1.0 - (half**2).sum(0)
        if variance.min() < 1e-10:
            raise DataError(_SINGULAR)
        left = self.matrix[index[:-1], y] - half[:, :-1].T @ half[:, -1]
        return np.asarray(left / np.sqrt(variance[:-1] * variance[-1]))

    def p_value(self, r: float, given: int) -> float:
        return float(p_values(np.asarray(r), self.rows - given - 2))


def lagged(columns: Floats, depth: int) -> Floats:
    """[T, N] -> [n, N * (depth + 1)]: each row with its `depth` rows before; rows with a NaN anywhere are left out."""
    stacked = np.hstack([columns[depth - lag : len(columns) - lag] for lag in range(depth + 1)])
    whole = stacked[np.isfinite(stacked).all(1)]
    if len(whole) < _LEAST_ROWS:
        raise DataError(f"only {len(whole)} rows are complete with their {depth} rows before, {_LEAST_ROWS} are needed")
    return np.asarray(whole)


def correlations(design: Floats, nodes: int) -> Correlations:
    """Of `lagged` rows; DataError names a column that never changes."""
    spread = design.std(0)
    still = np.flatnonzero(spread <= 1e-12 * np.maximum(np.abs(design).max(0), 1e-300))
    if len(still):
        raise DataError(f"column {int(still[0]) % nodes} never changes: leave it out")
    scaled = (design - design.mean(0)) / spread
    return Correlations(scaled.T @ scaled / len(design), len(design), nodes)


def normal_scores(columns: Floats) -> Floats:
    """Each column's ranks as normal quantiles, [T, N]; NaN stays. Any tail becomes a normal one (Liu et al. 2009)."""
    ranks = rankdata(columns, axis=0, nan_policy="omit")
    known = np.isfinite(columns).sum(0)
    return np.asarray(special.ndtri(ranks / (known + 1)))


def p_values(r: Floats, freedom: int) -> Floats:
    """Two-sided p of partial correlations with `freedom` = rows - conditions - 2, by Student's t."""
    if freedom < 1:
        raise DataError(f"{1 - freedom} rows are missing for this many columns and lags: take a smaller max_lag")
    t = np.abs(r) * np.sqrt(freedom / np.maximum(1.0 - r**2, 1e-300))
    return np.asarray(2.0 * special.stdtr(freedom, -t))


def q_values(p: Floats) -> Floats:
    """False discovery rate at which each test would pass (Benjamini and Hochberg 1995); any shape."""
    order = np.argsort(p, axis=None)
    scaled = p.ravel()[order] * p.size / np.arange(1, p.size + 1)
    out = np.empty(p.size)
    out[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return out.reshape(p.shape)


def _factor(matrix: Floats) -> Floats:
    try:
        factor: Floats = cholesky(matrix, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        raise DataError(_SINGULAR) from None
    if np.diag(factor).min() < 1e-5:
        raise DataError(_SINGULAR)
    return factor
