"""`cryptoai data import`: every form of file goes the right way, and a wrong one ends in one sentence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import cryptoai.cli
from cryptoai.cli.console import fail_in_one_sentence
from cryptoai.cli.data import app
from cryptoai.core.errors import ConfigError, DataError
from cryptoai.data_universe.asset_registry.registry import REGISTRY_FILE, instrument, of_lake
from cryptoai.data_universe.lake import read_events
from cryptoai.data_universe.lake_facts import read_facts

BTC = "binance_usdm:BTCUSDT"
US = 1_704_067_200_000_000
BARS = "open_time,open,high,low,close,volume\n" + "".join(f"{US // 1000 + 60_000 * n},10,12,9,11,5\n" for n in range(4))
TICKER = (
    "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate,predicted_funding_rate,open_interest,"
    "last_price,index_price,mark_price\n"
    f"bybit,NEWUSDT,{US},{US + 5},{US + 8 * 10**9},0.0001,,900,42,42,42.5\n"
)


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["import", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("name", ["bars.csv", "bars.csv.gz", "bars.parquet"])
def test_a_table_of_candles(tmp_path: Path, name: str) -> None:
    """The same command as for recordings; the form is said, and twice changes nothing."""
    path, lake = tmp_path / name, tmp_path / "lake"
    if name.endswith("parquet"):
        pl.read_csv(BARS.encode()).write_parquet(path)
    else:
        path.write_bytes(gzip.compress(BARS.encode()) if name.endswith("gz") else BARS.encode())
    said = run(str(path), "--instrument", BTC, "--lake", str(lake))
    assert "table of candles (OHLCV)" in said
    assert "4 of 4 rows written" in said
    assert read_facts(lake, BTC, "candles").values[0].tolist() == [60, 10, 12, 9, 11, 5]
    assert "0 of 4 rows written, 4 already there" in run(str(path), "--instrument", BTC, "--lake", str(lake))


def test_a_table_without_its_instrument(tmp_path: Path) -> None:
    """No venue is guessed."""
    (tmp_path / "bars.csv").write_text(BARS)
    with pytest.raises(ConfigError, match="give --instrument venue:SYMBOL"):
        run(str(tmp_path / "bars.csv"), "--lake", str(tmp_path / "lake"))


def test_a_ticker_of_tardis_needs_no_tick(tmp_path: Path) -> None:
    """It names its instrument, and facts lie on no grid."""
    (tmp_path / "derivative_ticker.csv").write_text(TICKER)
    assert "Tardis-style CSV" in run(str(tmp_path / "derivative_ticker.csv"), "--lake", str(tmp_path / "lake"))
    assert read_facts(tmp_path / "lake", "bybit:NEWUSDT", "mark").values.tolist() == [[42.5, 42.0]]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty; accepted are raw captures"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is no text and no Parquet file; accepted are"),
        (b"PAR1 but no table", "cannot be read as a table .*; accepted are"),
        (b"<?xml version='1.0'?><rss/>", "XML or HTML .*news import.*; accepted are"),
        (b'{"title": "x"}\n', "JSON without a local time .*; accepted are"),
        (b"[section]\nkey = 1\n", "no column of times among .*; accepted are"),
        (b"time,colour\n1704067200,red\n", "no columns of a known kind.*; accepted are"),
        (gzip.compress(b"time,rate\n"), "(no rows|cannot be read as a table).*; accepted are"),
    ],
)
def test_a_wrong_file_ends_in_one_sentence(tmp_path: Path, content: bytes, match: str) -> None:
    """It says what is wrong and what is accepted."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=match):
        run(str(tmp_path / "file"), "--lake", str(tmp_path / "lake"))
    with pytest.raises(DataError, match="there is no file"):
        run(str(tmp_path / "other"), "--lake", str(tmp_path / "lake"))


def test_a_recording_is_read_with_the_registry_of_its_time(tmp_path: Path) -> None:
    """The lake's registry gives the grid that held when the recording began, not that of today."""
    ns = US * 1000
    body = {"e": "depthUpdate", "E": US // 1000, "s": "NEWUSDT", "U": 1, "u": 2, "pu": 0, "b": [], "a": []}
    trade = {"e": "trade", "E": US // 1000, "s": "NEWUSDT", "t": 1, "p": "10.25", "q": "3", "X": "MARKET", "m": True}
    lines = "".join(f"{ns} {json.dumps(message)}\n" for message in (body, trade))
    (tmp_path / "capture").write_text(lines)
    made = instrument(BTC).model_copy(update={"id": "binance_usdm:NEWUSDT", "base": "NEW", "listed": None})
    first, _ = of_lake(tmp_path / "lake").updated([made.model_copy(update={"tick": made.tick / 2})], ns - 1, "venue")
    second, _ = first.updated([made], ns + 10**9, "venue")
    second.write(tmp_path / "lake" / REGISTRY_FILE)
    run(str(tmp_path / "capture"), "--lake", str(tmp_path / "lake"))
    assert read_events(tmp_path / "lake", "binance_usdm:NEWUSDT").price.tolist() == [205]


def test_the_help_names_every_source() -> None:
    """So that nobody has to guess what can be brought in."""
    shown = CliRunner().invoke(cryptoai.cli.app, ["data", "--help"]).stdout.lower()
    wanted = (
        "raw captures/several connections/tardis/candles/funding/mark/open interest/liquidations/ratios/l2 book/quotes/"
        "binance/bybit/okx/coinbase/kraken/poll/onchain/whale/news/rss/atom/brackets"
    )
    assert [name for name in wanted.split("/") if name not in shown] == []


def test_a_missing_library_is_named_with_its_extra(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence; what no extra brings is a defect and is raised."""

    def needs(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    assert fail_in_one_sentence(lambda: needs("ccxt.pro")) != 0
    assert "needs ccxt, which is not installed here; run pip install 'cryptoai[venues]'" in capsys.readouterr().err
    assert fail_in_one_sentence(lambda: needs("httpx")) != 0
    assert "pip install 'cryptoai[trading]'" in capsys.readouterr().err
    with pytest.raises(ModuleNotFoundError):
        fail_in_one_sentence(lambda: needs("cryptoai.nowhere"))
