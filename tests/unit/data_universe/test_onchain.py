"""On-chain files and records: names, units and times of others become ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cryptoai.cli.onchain import app
from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe.lake_facts import read_facts
from cryptoai.data_universe.onchain.files import FileSource
from cryptoai.data_universe.onchain.metrics import DAY, METRICS, known_at, metric
from cryptoai.data_universe.onchain.records import COLUMNS, Wanted, assemble, moment

NEW_YEAR = 1_704_067_200 * SECOND
ALL = tuple(found.name for found in METRICS)


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01",
        "2024-01-01T00:00:00.000000000Z",
        "2024-01-01T01:00:00+01:00",
        "1704067200",
        1_704_067_200_000,
        "1704067200000000",
        NEW_YEAR,
    ],
)
def test_one_moment_is_written_in_many_ways(text: object) -> None:
    """ISO with and without a zone, unix s, ms, us and ns."""
    assert moment(text) == NEW_YEAR


@pytest.mark.parametrize("text", ["yesterday", "", None, "9" * 21, "9" * 20, "9999-12-31"])
def test_what_is_no_time_is_refused(text: object) -> None:
    """And never read as another one."""
    with pytest.raises(ValueError, match=r".+"):
        moment(text)


def test_columns_of_the_coin_become_quote() -> None:
    """Fees in BTC times the price of the same row; without a price they are refused, not taken as dollars."""
    rows = [{"date": "2024-01-01", "fees_btc": "20", "price": "42000"}, {"date": "2024-01-02", "fees_btc": "20"}]
    answer = assemble(rows, Wanted.of("BTC", ["fees"], 0, 2**62))
    assert answer.facts.column("value").tolist() == [840_000.0]
    assert dict(answer.refused) == {"fees_btc without a price": 1}


def test_a_publication_time_can_only_delay() -> None:
    """The later one of the provider's and our lag counts; a revision is a second row."""
    rows = [
        {"time": "2024-01-01", "sopr": 1.0, "published": "2024-01-01T06:00"},
        {"time": "2024-01-01", "sopr": 1.1, "published": "2024-01-05"},
        {"time": "2024-01-01", "sopr": 1.2, "published": "2024-01-05"},
    ]
    answer = assemble(rows, Wanted.of("BTC", ["sopr"], 0, 2**62))
    assert answer.facts.known_at.tolist() == [known_at(metric("sopr"), NEW_YEAR), NEW_YEAR + 4 * DAY]
    assert answer.facts.column("value").tolist() == [1.0, 1.1]
    assert dict(answer.refused) == {"said twice": 1}


def test_a_time_that_cannot_be_read_is_counted() -> None:
    """The rest goes on."""
    answer = assemble([{"date": "soon", "sopr": 1}, {"date": "2024-01-01", "sopr": 1}], Wanted.of("B", ALL, 0, 2**62))
    assert len(answer.facts) == 1
    assert dict(answer.refused) == {"a time that cannot be read": 1}


def test_every_column_name_is_a_metric() -> None:
    """And no two metrics have the same index or an odd range."""
    assert set(COLUMNS.values()) == set(ALL)
    assert len(set(ALL)) == len(ALL)
    assert all(found.low < found.high and found.lag_s >= 0 for found in METRICS)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("none.csv", b"date,mood\n2024-01-01,1\n", "no column"),
        ("empty.csv", b"", "no column"),
        ("bad.parquet", b"date,sopr\n", "cannot be read"),
        ("absent.csv", None, "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, name: str, content: bytes | None, why: str) -> None:
    """The message names the file."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}.*{why}"):
        FileSource(path, "BTC").read("BTC", ALL, 0, 2**62)


def test_a_file_of_one_asset_has_no_other(tmp_path: Path) -> None:
    """Without an asset column the file is about the asset that was named."""
    path = tmp_path / "btc.csv"
    path.write_text("date,sopr\n2024-01-01,1.5\n")
    source = FileSource(path, "BTC")
    assert source.metrics == ("sopr",)
    assert len(source.read("ETH", ALL, 0, 2**62)) == 0
    assert len(source.read("BTC", ALL, 0, 2**62)) == 1


def test_the_command_imports_once(tmp_path: Path) -> None:
    """The second time nothing is written; what was refused is said; the list shows what there is."""
    path, lake = tmp_path / "chain.csv", str(tmp_path / "lake")
    path.write_text("date,tx_count,sopr\n2024-01-01,5,1.5\n2024-01-02,6,x\n")
    first, second = (
        CliRunner().invoke(app, ["import", str(path), "--lake", lake], catch_exceptions=False) for _ in range(2)
    )
    assert "3 of 3 rows written" in first.stdout
    assert "sopr is not a number" in first.stderr
    assert "0 of 3 rows written, 3 already there" in second.stdout
    assert len(read_facts(Path(lake), "chain:BTC", "onchain")) == 3
    shown = CliRunner().invoke(app, ["list", "--lake", lake], catch_exceptions=False).stdout
    assert "2024-01-02" in next(line for line in shown.splitlines() if "transactions" in line)
