"""The market of planted links is what its documentation says: recursion, innovations, hidden driver, seed."""

from __future__ import annotations

import numpy as np
import pytest

from cryptoai.testing.market.causal_graph import COEFFICIENT, planted_graph, simulate_links


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_one_shock_travels_along_the_links() -> None:
    """A unit shock at node 0 arrives at node 1 two rows later and decays there by the node's own memory."""
    shocks = np.zeros((6, 2))
    shocks[0, 0] = 1.0
    x = simulate_links({(0, 1, 2): 0.3}, np.array([0.0, 0.5]), shocks)
    assert np.allclose(x[:, 0], [1, 0, 0, 0, 0, 0])
    assert np.allclose(x[:, 1], [0, 0, 0.3, 0.15, 0.075, 0.0375])


def test_links_are_as_many_and_as_strong_as_asked_for() -> None:
    """Distinct pairs, coefficients of .15 to .35, lags 1 to 3, and columns that do not run away."""
    market = planted_graph(rng(), 20, 3_000, 30)
    assert len(market.links) == 30
    assert len({link[:2] for link in market.links}) == 30
    assert all(i != j and 1 <= lag <= 3 for i, j, lag in market.links)
    assert all(COEFFICIENT[0] <= abs(value) <= COEFFICIENT[1] for value in market.links.values())
    assert np.abs(market.columns).max() < 30
    assert market.driven is None


def test_least_squares_on_the_true_parents_recovers_the_coefficients() -> None:
    """The truth it claims: each node is its parents plus white noise."""
    market = planted_graph(rng(1), 6, 20_000, 8)
    x = market.columns
    for target in range(6):
        parents = [(target, 1, market.own[target])]
        parents += [(i, lag, value) for (i, j, lag), value in market.links.items() if j == target]
        design = np.column_stack([x[3 - lag : len(x) - lag, i] for i, lag, _ in parents])
        fitted = np.linalg.lstsq(design, x[3:, target], rcond=None)[0]
        assert np.allclose(fitted, [value for _, _, value in parents], atol=0.03)


def test_heavy_innovations_have_unit_variance_fat_tails_and_clusters() -> None:
    """Without links: kurtosis far above 3, squares that remember, and no memory in the values beyond the node's own."""
    plain, heavy = (planted_graph(rng(2), 4, 20_000, 0, heavy=heavy) for heavy in (False, True))
    rest = [m.columns[1:] - m.own * m.columns[:-1] for m in (plain, heavy)]
    assert rest[1].std(0) == pytest.approx(np.ones(4), abs=0.25)
    kurtosis = [np.mean(r**4, 0) / np.mean(r**2, 0) ** 2 for r in rest]
    assert kurtosis[0].max() < 3.3
    assert kurtosis[1].min() > 4.5
    memory = [np.corrcoef(r[1:, 0] ** 2, r[:-1, 0] ** 2)[0, 1] for r in rest]
    assert memory[0] < 0.03
    assert memory[1] > 0.05


def test_a_hidden_driver_links_two_nodes_that_have_no_link() -> None:
    """The first of the pair foreshadows the second by a row, and neither is planted as the other's cause."""
    market = planted_graph(rng(3), 8, 10_000, hidden=0.0)
    assert market.driven is not None
    first, second = market.driven
    assert all({i, j} != {first, second} for i, j, _ in market.links)
    assert market.columns.shape == (10_000, 8)
    ahead = np.corrcoef(market.columns[:-1, first], market.columns[1:, second])[0, 1]
    assert ahead > 0.05


def test_the_seed_is_the_market() -> None:
    """Same seed, same bytes; another seed, another graph."""
    one, again, other = planted_graph(rng(4)), planted_graph(rng(4)), planted_graph(rng(5))
    assert one.columns.tobytes() == again.columns.tobytes()
    assert one.links == again.links
    assert other.links != one.links
