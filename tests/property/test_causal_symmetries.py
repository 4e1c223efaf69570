"""What a causal graph may not depend on: the order, the names, the units and, with ranks, the scale of its columns."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoai.testing.market.causal_graph import planted_graph
from cryptoai.world_model.causal_graph import CausalGraph, Settings, discover

COLUMNS = planted_graph(np.random.default_rng(6), 5, 400, 5, heavy=True).columns
NAMES = ["a", "b", "c", "d", "e"]
METHODS = st.sampled_from(["pcmci", "var"])
PROFILE = settings(max_examples=12, deadline=None, derandomize=True)

Found = set[tuple[str, str, int, float, str]]


def links(graph: CausalGraph) -> Found:
    return {(e.source, e.target, e.lag, round(e.strength, 9), e.evidence) for e in graph.edges}


def pairs(graph: CausalGraph) -> set[tuple[frozenset[str], float]]:
    return {(frozenset((p.first, p.second)), round(p.strength, 9)) for p in graph.pairs}


@PROFILE
@given(st.permutations(range(5)), METHODS)
def test_the_order_of_columns_changes_nothing(order: list[int], method: str) -> None:
    """Columns and names moved together give the same links, pairs and evidence."""
    chosen = Settings(method, level=0.05)
    moved = discover(COLUMNS[:, order], [NAMES[n] for n in order], chosen)
    plain = discover(COLUMNS, NAMES, chosen)
    assert links(moved) == links(plain)
    assert pairs(moved) == pairs(plain)


@PROFILE
@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(-50, 50)), min_size=5, max_size=5), METHODS)
def test_units_change_nothing(units: list[tuple[float, float]], method: str) -> None:
    """A column in other units, with another zero: the same graph."""
    scale, shift = np.array(units).T
    chosen = Settings(method, level=0.05)
    assert links(discover(COLUMNS * scale + shift, NAMES, chosen)) == links(discover(COLUMNS, NAMES, chosen))


@PROFILE
@given(st.integers(0, 4), METHODS)
def test_turning_a_column_over_turns_its_signs_over(column: int, method: str) -> None:
    """Strengths of links into and out of it change sign, its own past's and all the others' stay."""
    sign = np.where(np.arange(5) == column, -1.0, 1.0)
    chosen = Settings(method, level=0.05)
    turned = {
        (s, t, lag, round(strength * sign[NAMES.index(s)] * sign[NAMES.index(t)], 9), evidence)
        for s, t, lag, strength, evidence in links(discover(COLUMNS * sign, NAMES, chosen))
    }
    assert turned == links(discover(COLUMNS, NAMES, chosen))


@PROFILE
@given(st.sampled_from([np.sinh, np.tanh, np.exp, lambda x: x**3]), METHODS)
def test_with_ranks_any_rising_scale_is_the_same(curve: np.ufunc, method: str) -> None:
    """A rising curve keeps all ranks, so the graph; without ranks it does not."""
    ranked = Settings(method, level=0.05, ranks=True)
    bent = curve(np.clip(COLUMNS, -15, 15) / 5)
    assert links(discover(bent, NAMES, ranked)) == links(discover(np.clip(COLUMNS, -15, 15), NAMES, ranked))
    raw = Settings(method, level=0.05)
    assert links(discover(bent, NAMES, raw)) != links(discover(COLUMNS, NAMES, raw))
