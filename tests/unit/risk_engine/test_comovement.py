"""The correlation behind the portfolio limits."""

from __future__ import annotations

import numpy as np
import pytest

from cryptoai.risk_engine.comovement import LEAST, Comovement


def fed(rho: float, rounds: int) -> Comovement:
    """Two prices whose log returns have correlation `rho`, and one that stands still."""
    draws = np.random.default_rng(1).standard_normal((rounds, 2)) * 1e-3
    draws[:, 1] = rho * draws[:, 0] + np.sqrt(1 - rho**2) * draws[:, 1]
    seen, logs = Comovement(), np.zeros(2)
    for row in np.vstack([np.zeros(2), draws]):
        logs = logs + row
        seen.observe({"a": float(100 * np.exp(logs[0])), "b": float(7 * np.exp(logs[1])), "still": 1.0})
    return seen


@pytest.mark.parametrize("rho", [-0.8, 0.0, 0.6, 1.0])
def test_it_finds_the_planted_correlation(rho: float) -> None:
    """Within what some two hundred effective returns can tell."""
    assert fed(rho, 2000).correlation("a", "b") == pytest.approx(rho, abs=0.2)


def test_what_was_seen_too_rarely_is_unknown() -> None:
    """Before thirty common returns, and of a price that never moved."""
    assert fed(0.5, LEAST - 1).correlation("a", "b") is None
    assert fed(0.5, LEAST).correlation("a", "b") is not None
    assert fed(0.5, 100).correlation("a", "still") is None
    assert fed(0.5, 100).correlation("a", "never") is None


def test_it_is_symmetric() -> None:
    """The same number from both sides, to the last bit."""
    seen = fed(0.3, 200)
    assert seen.correlation("a", "b") == seen.correlation("b", "a")
