"""PCMCI: which lagged column drives which, from short and autocorrelated series (Runge et al. 2019, Science Advances).

    1  PC1   for each node, drop candidates that are independent of it given the strongest others: a superset of parents
    2  MCI   test each lagged pair given the parents of both ends: the past of the source cannot pretend to be a cause

`causal_graph` uses it where rows are few for the number of columns; with many rows `var_graph` finds the same, faster.
Written from the paper. It assumes that no common driver is hidden: what hints at one is in `Links.same_p`.
"""

from __future__ import annotations

from itertools import combinations, product

import numpy as np

from cryptoai.world_model.causal_tests import Correlations, Links, p_values

__all__ = ["DEPTH", "PC_LEVEL", "parents", "pcmci"]

DEPTH = 2
"""Lags needed for each lag asked about: the parents of a source lie before the source."""

PC_LEVEL = 0.05
"""Level of the first step. No correction for many tests: it proposes conditions, it does not decide."""

Parents = list[list[int]]


def pcmci(corr: Correlations, max_lag: int) -> Links:
    """All pairs at lags 1..max_lag; `corr` must reach back 2 * max_lag."""
    found = [parents(corr, node, max_lag) for node in range(corr.nodes)]
    shape = (corr.nodes, corr.nodes, max_lag)
    strength, p = np.zeros(shape), np.ones(shape)
    for i, j, k in product(*map(range, shape)):
        strength[i, j, k], p[i, j, k] = _mci(corr, found, (i, j, k + 1))
    same, same_p = np.zeros(shape[:2]), np.ones(shape[:2])
    for i, j in combinations(range(corr.nodes), 2):
        r, chance = _mci(corr, found, (i, j, 0))
        same[i, j] = same[j, i] = r
        same_p[i, j] = same_p[j, i] = chance
    return Links(strength, p, same, same_p)


def parents(corr: Correlations, node: int, max_lag: int, level: float = PC_LEVEL) -> list[int]:
    """PC1 (algorithm S1 of the paper): lagged columns kept for `node`, strongest first.

    In round n each candidate is tested given the n strongest others; its strength is the least |r| it ever had.
    """
    kept = list(range(corr.nodes, corr.nodes * (max_lag + 1)))
    least = np.full(corr.matrix.shape[0], np.inf)
    size = 0
    while len(kept) > size:
        r = np.abs(_round(corr, node, kept, size))
        least[kept] = np.minimum(least[kept], r)
        passed = p_values(r, corr.rows - size - 2) <= level
        kept = [column for column, ok in zip(kept, passed, strict=True) if ok]
        kept.sort(key=lambda column: -least[column])
        size += 1
    return kept


def _round(corr: Correlations, node: int, kept: list[int], size: int) -> np.ndarray:
    """corr(candidate, node | the `size` strongest others): one factor serves all that are not among these."""
    strongest, rest = kept[:size], kept[size:]
    first = [corr.partial(x, node, [c for c in kept[: size + 1] if c != x]) for x in strongest]
    return np.concatenate([first, corr.partials(rest, node, strongest)])


def _mci(corr: Correlations, found: Parents, link: tuple[int, int, int]) -> tuple[float, float]:
    """Momentary conditional independence of i at `lag` and j, given the parents of j and, shifted by it, those of i."""
    i, j, lag = link
    x = corr.column(i, lag)
    shifted = [column + lag * corr.nodes for column in found[i]]
    given = [column for column in dict.fromkeys([*found[j], *shifted]) if column != x]
    r = corr.partial(x, j, given)
    return r, corr.p_value(r, len(given))
