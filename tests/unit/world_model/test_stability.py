"""Stability selection: true links return in every half of the data, and halves are halves."""

from __future__ import annotations

import numpy as np
import pytest

from cryptoai.core.errors import DataError
from cryptoai.testing.market.causal_graph import planted_graph
from cryptoai.world_model.causal_graph import Settings, discover
from cryptoai.world_model.stability import Stability, halves

NAMES = [str(n) for n in range(8)]


def test_halves_are_disjoint_complete_and_made_of_blocks() -> None:
    """Every row is in exactly one half; nearly all neighbours stay together."""
    first, second = halves(1_000, np.random.default_rng(0))
    assert sorted([*first, *second]) == list(range(1_000))
    assert abs(len(first) - len(second)) <= 32
    assert np.mean(np.diff(first) == 1) > 0.95
    with pytest.raises(DataError, match="halves"):
        halves(3, np.random.default_rng(0))


def test_true_links_return_and_lucky_ones_do_not() -> None:
    """Frequencies of planted links are near 1; of all other pairs and lags hardly any passes a half."""
    market = planted_graph(np.random.default_rng(21))
    graph = discover(market.columns, NAMES, Settings("var", level=0.05, pairs=20))
    frequency = {(int(e.source), int(e.target), e.lag): e.frequency or 0.0 for e in graph.cross()}
    true = [frequency[link] for link in market.links]
    false = [value for link, value in frequency.items() if link not in market.links]
    assert min(true) > 0.6
    assert np.mean(true) > 0.95
    assert max(false, default=0.0) < 0.6


def test_the_same_seed_gives_the_same_frequencies() -> None:
    """Drawn from the seed of the settings and from nothing else."""
    columns = planted_graph(np.random.default_rng(5), rows=300).columns
    first, again, other = (discover(columns, NAMES, Settings("var", pairs=3, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert [e.frequency for e in first.edges] != [e.frequency for e in other.edges]


def test_the_bound_on_false_links() -> None:
    """10 found a half out of 100 possible, threshold .9: at most 100 / (.8 x 100) false ones expected."""
    frequency = np.zeros((5, 5, 4))
    frequency.flat[:10] = 1.0
    assert Stability(frequency).expected_false(0.9) == pytest.approx(1.25)
