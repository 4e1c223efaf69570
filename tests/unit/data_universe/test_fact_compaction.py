"""Compaction: fewer files, the same facts, whatever happens in between; and readers that are not ours."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from cryptoai.core.clock import SECOND
from cryptoai.data_universe import fact_compaction, lake_facts
from cryptoai.data_universe.fact_compaction import compact_facts
from cryptoai.data_universe.fact_files import stored_files
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.lake_facts import read_facts, read_refused, write_facts

BTC = "binance_usdm:BTCUSDT"
START = 1_704_067_200 * SECOND


def _ratio(first: int, count: int = 1, known: int = 0, value: float = 1.5) -> Facts:
    time = START + (first + np.arange(count)) * SECOND
    return Facts.of(
        "positioning", time, time + known, np.full((count, 1), value) + np.arange(first, first + count)[:, None] % 9_000
    )


def _files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.parquet"))


def test_a_flush_each_second_does_not_make_a_file_each_second(tmp_path: Path) -> None:
    """Seventy flushes of one row leave a few dozen files and every row."""
    for second in range(70):
        write_facts(tmp_path, BTC, _ratio(second), "live")
        assert len(_files(tmp_path)) <= 33
    assert read_facts(tmp_path, BTC, "positioning").fingerprint() == _ratio(0, 70).fingerprint()
    assert write_facts(tmp_path, BTC, _ratio(0, 70), "again").written == 0


def test_a_large_file_is_not_rewritten_for_every_small_one(tmp_path: Path) -> None:
    """The history of a month stays as it is while a recorder appends beside it."""
    write_facts(tmp_path, BTC, _ratio(0, 5_000), "history")
    (large,) = _files(tmp_path)
    for second in range(40):
        write_facts(tmp_path, BTC, _ratio(5_000 + second), "live")
    assert large.exists()
    assert compact_facts(tmp_path) > 0
    assert len(_files(tmp_path)) == 1
    assert read_facts(tmp_path, BTC, "positioning").fingerprint() == _ratio(0, 5_040).fingerprint()


def test_a_crash_before_the_old_files_go_shows_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The joined file and the old ones are there together; the next compaction ends it."""
    for second in range(5):
        write_facts(tmp_path, BTC, _ratio(second), "live")
    with monkeypatch.context() as patched:

        def killed(_path: Path, **_how: bool) -> None:
            raise KeyboardInterrupt

        patched.setattr(fact_compaction.Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            compact_facts(tmp_path)
    assert len([path for path in _files(tmp_path) if not path.name.startswith(".")]) == 6
    assert read_facts(tmp_path, BTC, "positioning").fingerprint() == _ratio(0, 5).fingerprint()
    assert compact_facts(tmp_path) == 5
    assert compact_facts(tmp_path) == 0
    assert read_facts(tmp_path, BTC, "positioning").fingerprint() == _ratio(0, 5).fingerprint()


def test_versions_and_sources_survive(tmp_path: Path) -> None:
    """A correction stays a correction, and each row keeps the name of its source."""
    write_facts(tmp_path, BTC, _ratio(0, 3), "a")
    write_facts(tmp_path, BTC, _ratio(1, 1, known=9 * SECOND, value=7.0), "b")
    before = read_facts(tmp_path, BTC, "positioning").fingerprint()
    compact_facts(tmp_path)
    assert read_facts(tmp_path, BTC, "positioning").fingerprint() == before
    assert sorted(pl.read_parquet(_files(tmp_path)[0])["source"].to_list()) == ["a", "a", "a", "b"]


def test_quarantine_is_joined_too(tmp_path: Path) -> None:
    """Reasons stay with their rows."""
    for second in range(3):
        write_facts(tmp_path, BTC, _ratio(second, value=-5.0), "live")
        write_facts(tmp_path, BTC, _ratio(second, value=np.nan), "live")
    assert len(_files(tmp_path)) == 6
    compact_facts(tmp_path)
    assert len(_files(tmp_path)) == 1
    rows, reasons = read_refused(tmp_path, BTC, "positioning")
    assert len(rows) == 6
    assert reasons.count("no long_short_ratio") == reasons.count("long_short_ratio out of bounds") == 3
    assert [bool(np.isnan(value)) for value in rows.values[:, 0]] == [why.startswith("no ") for why in reasons]


def test_a_reader_is_not_disturbed_by_a_compaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that vanish between listing and reading are looked for again."""
    for second in range(4):
        write_facts(tmp_path, BTC, _ratio(second), "live")
    calls: list[int] = []

    def listed(folder: Path) -> list[object]:
        found = stored_files(folder)
        calls.append(len(found))
        if len(calls) == 1:
            compact_facts(tmp_path)
        return list(found)

    monkeypatch.setattr(lake_facts, "stored_files", listed)
    assert len(read_facts(tmp_path, BTC, "positioning")) == 4
    assert calls == [4, 1]


def test_polars_and_duckdb_read_the_lake_by_glob(tmp_path: Path) -> None:
    """Hive partitions, plain columns: nobody needs our code to read what we store."""
    write_facts(tmp_path, BTC, _ratio(0, 10), "a")
    write_facts(tmp_path, "bybit_linear:ETHUSDT", _ratio(40 * 86_400, 3), "a")
    glob = f"{tmp_path}/kind=*/**/*.parquet"
    frame = pl.scan_parquet(glob, hive_partitioning=True).filter(pl.col("symbol") == "ETHUSDT").collect()
    assert frame["venue"].unique().to_list() == ["bybit_linear"]
    assert frame["known_at"].is_sorted()
    rows = duckdb.read_parquet(glob, hive_partitioning=True)
    found = rows.aggregate("venue, symbol, cast(date as varchar) as day, count(*), min(event_time)")
    counts = found.order("venue").fetchall()
    assert counts == [
        ("binance_usdm", "BTCUSDT", "2024-01-01", 10, START),
        ("bybit_linear", "ETHUSDT", "2024-02-01", 3, START + 40 * 86_400 * SECOND),
    ]
