"""`cryptoai data synth`: a market into a file, never into a lake."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import cryptoai.cli
from cryptoai.core.errors import ConfigError, DataError


def run(*words: str) -> str:
    result = CliRunner().invoke(cryptoai.cli.app, ["data", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_it_writes_the_same_file_for_the_same_seed(tmp_path: Path) -> None:
    """Truth in truth_* columns, and a note in the file that it is synthetic."""
    paths = [tmp_path / name for name in ("a.parquet", "b.parquet")]
    for path in paths:
        said = run("synth", "regimes", "--rows", "500", "--seed", "7", "--out", str(path))
        assert "500 rows" in said
    assert paths[0].read_bytes() == paths[1].read_bytes()
    table = pq.read_table(paths[0])
    assert table.column_names == ["return_bp", "truth_regime", "truth_p_0", "truth_p_1", "truth_p_2"]
    assert table.schema.metadata[b"cryptoai.synthetic"] == b"regimes"
    assert sorted(tmp_path.iterdir()) == paths


def test_it_lists_the_markets() -> None:
    """By name, a line each."""
    said = run("synth", "--list")
    assert "hawkes" in said
    assert "causal-graph" in said


def test_it_does_not_write_into_the_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor below it, nor by way of `..`, nor into another lake, nor what is no Parquet file; nothing is left behind."""
    monkeypatch.setenv("CRYPTOAI__DATA__LAKE", str(tmp_path / "lake"))
    for out in ("lake/x.parquet", "lake/deep/x.parquet", "other/../lake/x.parquet"):
        with pytest.raises(ConfigError, match="market data only"):
            run("synth", "regimes", "--out", str(tmp_path / out))
    with pytest.raises(ConfigError, match=r"must end in \.parquet"):
        run("synth", "regimes", "--out", str(tmp_path / "x.csv"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "other" / "kind=events").mkdir(parents=True)
    for out in ("other/x.parquet", "other/kind=events/x.parquet", "other/deep/x.parquet"):
        with pytest.raises(ConfigError, match="market data only"):
            run("synth", "regimes", "--out", str(tmp_path / out))


@pytest.mark.parametrize("name", ["switching", "hawkes", "breaks", "planted-alpha"])
def test_no_importer_takes_it_for_market_data(tmp_path: Path, name: str) -> None:
    """`data import` refuses the file, with an instrument named too."""
    path = tmp_path / "market.parquet"
    run("synth", name, "--rows", "200", "--out", str(path))
    with pytest.raises(DataError):
        run("import", str(path), "--instrument", "binance_usdm:BTCUSDT", "--lake", str(tmp_path / "lake"))


def test_without_a_name_it_says_what_to_give() -> None:
    """In one sentence."""
    with pytest.raises(ConfigError, match="--list"):
        run("synth")
