"""The same graph from one vector autoregression: every lagged pair given all the others (Granger 1969).

`causal_graph` uses it where rows are many; it is the baseline that `pcmci` must beat where they are few. All targets
share one factor of one matrix. It must never be asked with fewer rows than lagged columns: then it says so.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from cryptoai.core.errors import DataError
from cryptoai.world_model.causal_tests import Correlations, Floats, Links, p_values

__all__ = ["DEPTH", "var_links"]

DEPTH = 1
"""Lags needed for each lag asked about."""


def var_links(corr: Correlations, max_lag: int) -> Links:
    """Partial correlations of all pairs at lags 1..max_lag given every other lagged column, and what is left over."""
    nodes, many = corr.nodes, corr.nodes * max_lag
    freedom = corr.rows - many - 1
    past = corr.matrix[nodes : nodes + many, nodes : nodes + many]
    if freedom < 1 or np.linalg.eigvalsh(past)[0] < 1e-9:
        raise DataError(f"{corr.rows} rows do not determine {many} lagged columns: take a smaller max_lag, or pcmci")
    factor = cho_factor(past)
    cross = corr.matrix[nodes : nodes + many, :nodes]
    weights, inverse = cho_solve(factor, cross), cho_solve(factor, np.eye(many))
    residual = corr.matrix[:nodes, :nodes] - cross.T @ weights
    t = weights / np.sqrt(np.outer(np.diag(inverse), np.diag(residual)) / freedom)
    r = t / np.sqrt(t**2 + freedom)
    same = residual / np.sqrt(np.outer(np.diag(residual), np.diag(residual)))
    np.fill_diagonal(same, 0.0)
    return Links(_by_lag(r, nodes), _by_lag(p_values(r, freedom), nodes), same, _of_pairs(same, freedom - 1))


def _by_lag(table: Floats, nodes: int) -> Floats:
    """[lags * N, N] -> [N, N, lags]."""
    return np.asarray(table.reshape(-1, nodes, nodes).transpose(1, 2, 0))


def _of_pairs(same: Floats, freedom: int) -> Floats:
    p = p_values(same, freedom)
    np.fill_diagonal(p, 1.0)
    return p
