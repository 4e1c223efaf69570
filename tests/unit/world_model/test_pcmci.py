"""Causal discovery: exact tests of independence, planted graphs found, and what must not fool it."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from cryptoai.core.errors import ConfigError, DataError
from cryptoai.testing.market.causal_graph import planted_graph, simulate_links
from cryptoai.world_model.causal_graph import CausalGraph, Settings, discover, from_json, to_json
from cryptoai.world_model.causal_picture import draw
from cryptoai.world_model.causal_tests import (
    Correlations,
    correlations,
    lagged,
    normal_scores,
    p_values,
    q_values,
)
from cryptoai.world_model.exogeneity import CERTAIN, DOUBTFUL, LIKELY
from cryptoai.world_model.pcmci import parents

NAMES = [str(n) for n in range(8)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def columns(rows: int = 400, wide: int = 6) -> np.ndarray:
    return rng(1).standard_normal((rows, wide)) @ rng(2).standard_normal((wide, wide))


def test_a_partial_correlation_is_that_of_regression_residuals() -> None:
    """The last row of the factor equals the correlation of two least-squares residuals."""
    x = columns()
    given = np.column_stack([np.ones(len(x)), x[:, [2, 4]]])
    first, second = (x[:, n] - given @ np.linalg.lstsq(given, x[:, n], rcond=None)[0] for n in (0, 3))
    corr = correlations(x, 6)
    assert corr.partial(0, 3, [2, 4]) == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-12)
    assert corr.partials([0, 1], 3, [2, 4])[0] == pytest.approx(corr.partial(0, 3, [2, 4]), abs=1e-12)
    assert corr.partials([0, 1], 3, [])[1] == pytest.approx(np.corrcoef(x[:, 1], x[:, 3])[0, 1], abs=1e-12)


def test_p_values_are_those_of_pearsons_test() -> None:
    """Without conditions: scipy's own test of a correlation."""
    x = columns(60)
    found = stats.pearsonr(x[:, 0], x[:, 1])
    assert p_values(np.array([found.statistic]), 58)[0] == pytest.approx(found.pvalue, rel=1e-9)
    with pytest.raises(DataError, match="smaller max_lag"):
        p_values(np.array([0.1]), 0)


def test_false_discovery_rates_are_those_of_scipy() -> None:
    """Benjamini and Hochberg's step-up, any shape."""
    p = rng().random((4, 5)) ** 3
    expected = stats.false_discovery_control(p.ravel()).reshape(p.shape)
    assert np.allclose(q_values(p), expected, atol=1e-15)


def test_lagged_columns_stand_where_the_index_says() -> None:
    """Column (node, lag) is the node `lag` rows before; rows that touch a missing value are gone."""
    x = np.arange(100.0)[:, None] + np.array([0.0, 1000.0])
    x[50, 1] = np.nan
    design = lagged(x, 2)
    corr = Correlations(np.eye(6), 1, 2)
    assert len(design) == 100 - 2 - 3
    assert np.all(design[:, corr.column(1, 0)] - design[:, corr.column(1, 2)] == 2.0)
    assert design[0, corr.column(0, 1)] == 1.0


def test_normal_scores_keep_the_order_and_drop_the_tail() -> None:
    """A Cauchy column becomes normal, its order and its gaps stay."""
    x = rng().standard_cauchy((2_001, 1))
    x[7] = np.nan
    scores = normal_scores(x)
    assert np.isnan(scores[7, 0])
    known = np.delete(np.arange(2_001), 7)
    assert np.array_equal(np.argsort(scores[known, 0]), np.argsort(x[known, 0]))
    assert np.std(scores[known, 0]) == pytest.approx(1.0, abs=0.01)


def test_a_chain_is_not_short_circuited() -> None:
    """0 -> 1 -> 2: the parents of 2 hold 1 and not 0, though 0 and 2 are correlated."""
    x = simulate_links({(0, 1, 1): 0.6, (1, 2, 1): 0.6}, np.zeros(3), rng(3).standard_normal((2_000, 3)))
    corr = correlations(lagged(x, 2), 3)
    assert abs(corr.matrix[corr.column(0, 2), 2]) > 0.2
    assert parents(corr, 2, 2, level=0.01) == [corr.column(1, 1)]


@pytest.mark.parametrize("method", ["pcmci", "var"])
def test_a_planted_graph_is_found_link_by_link(method: str) -> None:
    """2,000 rows: every link with its lag and sign, at most one too many; p-values in disorder would fail."""
    market = planted_graph(rng(11))
    graph = discover(market.columns, NAMES, Settings(method))
    found = {(int(e.source), int(e.target), e.lag): e.strength for e in graph.cross()}
    assert set(market.links) <= set(found)
    assert len(found) <= len(market.links) + 1
    assert all(np.sign(found[link]) == np.sign(value) for link, value in market.links.items())


def test_ranks_keep_heavy_tails_from_inventing_links() -> None:
    """Unlinked GARCH-t4 columns, 24 sets: the raw test finds links in many of them, the ranked one in few."""
    sets = [planted_graph(rng(700 + seed), 8, 300, 0, heavy=True).columns for seed in range(24)]
    raw, ranked = (
        sum(bool(discover(x, NAMES, Settings("var", max_lag=2, ranks=ranks)).cross()) for x in sets)
        for ranks in (False, True)
    )
    assert ranked <= 2 < raw


def test_the_shadow_of_a_hidden_driver_is_doubtful() -> None:
    """A driver in no column links its two nodes; the link is found, and never called certain."""
    for memory in (0.0, 0.8):
        market = planted_graph(rng(101), hidden=memory)
        assert market.driven is not None
        between = [
            e for e in discover(market.columns, NAMES).cross() if {int(e.source), int(e.target)} == set(market.driven)
        ]
        assert between
        assert any(edge.evidence == DOUBTFUL for edge in between)
        assert all(edge.evidence != CERTAIN for edge in between)


def test_without_a_hidden_driver_most_true_links_are_certain() -> None:
    """The doubt is worth something: it spares what is real."""
    market = planted_graph(rng(12))
    evidence = [edge.evidence for edge in discover(market.columns, NAMES).cross()]
    assert evidence.count(CERTAIN) >= 0.75 * len(evidence)


def test_a_source_without_a_past_can_only_be_likely() -> None:
    """Nothing explains the source, so no instrument can confirm its link: it is not called certain."""
    x = simulate_links({(0, 1, 1): 0.5}, np.array([0.0, 0.5]), rng(3).standard_normal((1_000, 2)))
    (edge,) = discover(x, ["a", "b"]).cross()
    assert (edge.source, edge.target, edge.lag, edge.evidence) == ("a", "b", 1, LIKELY)


def test_an_effect_within_a_row_is_a_pair_without_direction() -> None:
    """y takes half of x in the same row: no arrow between them, one pair."""
    shocks = rng(5).standard_normal((2_000, 2))
    graph = discover(np.column_stack([shocks[:, 0], 0.5 * shocks[:, 0] + shocks[:, 1]]), ["x", "y"])
    assert not graph.cross()
    assert [(pair.first, pair.second) for pair in graph.pairs] == [("x", "y")]


def test_the_artefact_survives_its_json_and_names_its_data() -> None:
    """Out and in again is the same graph; another number in the data is another fingerprint."""
    market = planted_graph(rng(4), rows=300)
    graph = discover(market.columns, NAMES, Settings(pairs=2))
    assert from_json(to_json(graph)) == graph
    assert all(edge.frequency is not None for edge in graph.edges)
    other = market.columns.copy()
    other[0, 0] += 1e-9
    assert discover(other, NAMES).fingerprint != graph.fingerprint
    with pytest.raises(DataError, match="causal graph"):
        from_json('{"schema": 1}')


def test_the_picture_shows_nodes_lags_and_doubts() -> None:
    """One arrow for a pair with all its lags; a doubtful one is dashed; markup in names is escaped."""
    market = planted_graph(rng(101), hidden=0.8)
    graph = discover(market.columns, ["<b>", *NAMES[1:]])
    picture = draw(graph, "A & B")
    assert "&lt;b&gt;" in picture
    assert "<b>" not in picture
    assert "A &amp; B" in picture
    arrows = {(e.source, e.target) for e in graph.cross()}
    assert picture.count('<path class="edge') == len(arrows) + 3  # the key shows three
    assert 'doubtful" stroke-width="1' in picture or 'doubtful" stroke-width="2' in picture
    assert f"{graph.rows:,} rows" in picture


@pytest.mark.parametrize("nodes", [2, 3, 8, 21, 60])
def test_no_node_of_the_picture_lies_on_another(nodes: int) -> None:
    """Up to the most that the command takes, with long names: all boxes are apart and inside the picture."""
    names = tuple(f"some_long_feature_name_{n}" for n in range(nodes))
    picture = draw(CausalGraph(names, (), (), 100, Settings(), "0" * 64))
    found = re.findall(r'class="node" x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)"', picture)
    boxes = [tuple(map(float, box)) for box in found]
    assert len(boxes) == nodes
    assert all(x > 0 and y > 0 and x + wide < 960 for x, y, wide, _ in boxes)
    for (x, y, wide, high), (x2, y2, *_) in combinations(boxes, 2):
        assert abs(x - x2) >= wide - 4 or abs(y - y2) >= high


def test_refusals_name_the_column_and_the_fix() -> None:
    """A constant column, a sum of others, too few rows, unknown settings."""
    x = rng().standard_normal((100, 3))
    with pytest.raises(DataError, match="column b never changes"):
        discover(np.column_stack([x, np.ones(100)]), ["a", "c", "d", "b"])
    with pytest.raises(DataError, match="do not determine"):
        discover(np.column_stack([x, x @ np.ones(3)]), ["a", "b", "c", "d"], Settings("var"))
    with pytest.raises(DataError, match="are needed"):
        discover(x[:25], ["a", "b", "c"])
    with pytest.raises(DataError, match="one name each"):
        discover(x, ["a", "b", "b"])
    with pytest.raises(ConfigError, match="pcmci and var"):
        Settings("granger")
    with pytest.raises(ConfigError, match="max_lag"):
        Settings(max_lag=0)
