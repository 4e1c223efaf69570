"""The graph from a vector autoregression: the same numbers as ordinary least squares, from one matrix."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cryptoai.core.errors import DataError
from cryptoai.testing.market.causal_graph import planted_graph
from cryptoai.world_model.causal_tests import correlations, lagged
from cryptoai.world_model.var_graph import var_links


def ols_p_values(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Textbook two-sided p of each coefficient of y on x and a constant."""
    x = np.column_stack([np.ones(len(x)), x])
    weights = np.linalg.lstsq(x, y, rcond=None)[0]
    freedom = len(x) - x.shape[1]
    variance = np.sum((y - x @ weights) ** 2) / freedom * np.diag(np.linalg.inv(x.T @ x))
    return np.asarray(2 * stats.t.sf(np.abs(weights) / np.sqrt(variance), freedom)[1:])


def test_p_values_are_those_of_least_squares() -> None:
    """Ordinary least squares of each target on all lagged columns gives the same p-values, by node and lag."""
    x = planted_graph(np.random.default_rng(2), 4, 200, 3).columns
    design = lagged(x, 2)
    links = var_links(correlations(design, 4), 2)
    for target in range(4):
        expected = ols_p_values(design[:, target], design[:, 4:]).reshape(2, 4).T  # lag by node in the columns
        assert np.allclose(links.p[:, target, :], expected, rtol=1e-6, atol=1e-12)


def test_what_the_past_leaves_over_is_the_correlation_of_residuals() -> None:
    """Same-row correlations equal those of the OLS residuals, symmetric, none with itself."""
    x = np.random.default_rng(3).standard_normal((300, 3))
    x[:, 1] += 0.7 * x[:, 0]
    design = lagged(x, 1)
    links = var_links(correlations(design, 3), 1)
    past = np.column_stack([np.ones(len(design)), design[:, 3:]])
    rest = design[:, :3] - past @ np.linalg.lstsq(past, design[:, :3], rcond=None)[0]
    expected = np.corrcoef(rest.T) - np.eye(3)
    assert np.allclose(links.same_strength, expected, atol=1e-12)
    assert links.same_p[0, 1] < 1e-20
    assert np.all(np.diag(links.same_p) == 1.0)


def test_more_columns_than_rows_are_refused() -> None:
    """Forty rows cannot weigh sixty lagged columns; the message says what to change."""
    x = np.random.default_rng(4).standard_normal((43, 20))
    with pytest.raises(DataError, match="smaller max_lag, or pcmci"):
        var_links(correlations(lagged(x, 3), 20), 3)
