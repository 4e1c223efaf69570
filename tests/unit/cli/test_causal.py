"""`cryptoai causal`: a table in, graph.json and graph.svg out, gaps kept as gaps, and refusals in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from cryptoai.cli import app
from cryptoai.cli.causal import _changed, _on_grid
from cryptoai.core.errors import ConfigError, DataError
from cryptoai.testing.market.causal_graph import simulate_links
from cryptoai.world_model.causal_graph import from_json

ROWS = 600
START = datetime(2024, 1, 1, tzinfo=UTC)


def table(path: Path) -> Path:
    """flow drives price two rows later, as levels of a price; noise drives nothing."""
    shocks = np.random.default_rng(3).standard_normal((ROWS, 3))
    x = simulate_links({(0, 1, 2): 0.6}, np.array([0.4, 0.0, 0.4]), shocks)
    price = 100 * np.exp(np.cumsum(x[:, 1]) / 100)
    times = [START + timedelta(minutes=5 * n) for n in range(ROWS)]
    frame = pl.DataFrame(
        {"time": times, "flow": x[:, 0], "price": price, "noise": x[:, 2], "truth_x": x[:, 1], "venue": ["x"] * ROWS}
    )
    frame.write_parquet(path)
    return path


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["causal", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_planted_link_goes_from_a_parquet_to_the_artefact(tmp_path: Path) -> None:
    """Every number is a node; text, time and a synthetic market's truth are not; both files are written."""
    out = tmp_path / "out"
    said = run(str(table(tmp_path / "t.parquet")), "--log-change", "price", "--pairs", "2", "--out", str(out))
    graph = from_json((out / "graph.json").read_text())
    assert graph.nodes == ("flow", "price", "noise")
    assert [(edge.source, edge.target, edge.lag) for edge in graph.cross()] == [("flow", "price", 2)]
    assert graph.settings.ranks
    assert "<svg" in (out / "graph.svg").read_text()
    assert "1 links, 0 of them doubtful" in said
    assert "593 of 599 rows" in said


def test_gaps_become_missing_rows() -> None:
    """Two rows are absent from the table: the grid has them as missing, so no lag of one reaches over the gap."""
    times = pl.Series("time", [START + timedelta(minutes=n) for n in (0, 1, 2, 5, 6)])
    made = _on_grid(np.arange(5.0)[:, None], times)
    assert np.array_equal(made[:, 0], [0, 1, 2, np.nan, np.nan, 3, 4], equal_nan=True)


def test_uneven_or_disordered_times_are_refused() -> None:
    """The message names the column and what to do."""
    uneven = pl.Series("time", [START + timedelta(seconds=n) for n in (0, 60, 120, 150, 210)])
    with pytest.raises(DataError, match="time is not evenly spaced at row 3"):
        _on_grid(np.zeros((5, 1)), uneven)
    with pytest.raises(DataError, match="sort the rows"):
        _on_grid(np.zeros((5, 1)), uneven.reverse())


def test_changes_are_taken_where_asked_for() -> None:
    """Log change, change, and the third column as it is; a log of nothing is missing, not infinite."""
    values = np.array([[1.0, 1.0, 7.0], [np.e, 3.0, 8.0], [0.0, 6.0, 9.0]])
    made = _changed(["a", "b", "c"], values, ["b"], ["a"])
    assert np.allclose(made[0], [1.0, 2.0, 8.0])
    assert np.isnan(made[1, 0])
    with pytest.raises(ConfigError, match="d is not among"):
        _changed(["a", "b", "c"], values, ["d"], [])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """No source, a column that is not there, stored features without names, and a file that is no table."""
    with pytest.raises(ConfigError, match="--asset"):
        run()
    with pytest.raises(ConfigError, match="has no depth; it has time, flow"):
        run(str(table(tmp_path / "t.parquet")), "--columns", "flow,depth")
    with pytest.raises(ConfigError, match=r"docs/features\.md"):
        run("--asset", "BTCUSDT")
    (tmp_path / "x.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match="no table"):
        run(str(tmp_path / "x.parquet"))
