"""The fact lake: every row once, a correction only when it was known, and nothing refused without its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.lake_facts import (
    FactReport,
    available_facts,
    read_facts,
    read_refused,
    stream_facts,
    write_facts,
)

BTC = "binance_usdm:BTCUSDT"
HOUR = 3_600 * SECOND
START = 1_704_067_200 * SECOND
"""2024-01-01."""


def _funding(count: int, first: int = 0, rate: float = 1e-4) -> Facts:
    time = START + (first + np.arange(count)) * 8 * HOUR
    return Facts.of("funding", time, time, np.column_stack((np.full(count, rate), np.full(count, 28_800))))


def _mark(prices: list[float], first: int = 0) -> Facts:
    time = START + (first + np.arange(len(prices))) * HOUR
    return Facts.of("mark", time, time, [(price, price) for price in prices])


def _contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    """Over months, in order, with the id and kind listed."""
    facts = _funding(200)
    report = write_facts(tmp_path, BTC, facts, "a.csv")
    assert (report.rows, report.written, report.known_already, dict(report.refused)) == (200, 200, 0, {})
    assert read_facts(tmp_path, BTC, "funding").fingerprint() == facts.fingerprint()
    assert available_facts(tmp_path) == [(BTC, "funding")]
    assert sorted(path.name for path in tmp_path.glob("kind=funding/*/*/*")) == [
        "date=2024-01-01",
        "date=2024-02-01",
        "date=2024-03-01",
    ]


def test_the_same_rows_again_change_nothing(tmp_path: Path) -> None:
    """Neither the whole file nor any overlapping part of it, refused rows included."""
    facts = _mark([10.0, 11.0, -1.0, 12.0, 13.0])
    write_facts(tmp_path, BTC, facts, "a")
    before = _contents(tmp_path)
    assert len(before) == 2
    for part in (facts, facts.slice(1, 4), facts.slice(3, 5)):
        report = write_facts(tmp_path, BTC, part, "b")
        assert report.written == 0
        assert report.rows == report.known_already + sum(report.refused.values())
    assert _contents(tmp_path) == before


def test_overlapping_files_make_one_tape(tmp_path: Path) -> None:
    """In whatever order they come."""
    for root, order in ((tmp_path / "a", (0, 1, 2)), (tmp_path / "b", (2, 0, 1))):
        pieces = [_funding(100), _funding(100, 50), _funding(30, 140)]
        written = sum(write_facts(root, BTC, pieces[place], "x").written for place in order)
        assert written == 170
        assert read_facts(root, BTC, "funding").fingerprint() == _funding(170).fingerprint()


def test_a_correction_is_not_seen_before_it_was_known(tmp_path: Path) -> None:
    """Both versions are there; a reader at any time sees what was known then, and a third version may be the first."""
    first = _funding(3)
    later = START + 100 * HOUR
    for known, rate in ((later, 5e-4), (later + HOUR, 1e-4)):
        write_facts(tmp_path, BTC, Facts.of("funding", [START], [known], [[rate, 28_800]]), "corrected")
    write_facts(tmp_path, BTC, first, "a")
    assert read_facts(tmp_path, BTC, "funding", stop=later).column("rate").tolist() == [1e-4] * 3
    assert read_facts(tmp_path, BTC, "funding").column("rate").tolist() == [1e-4] * 3 + [5e-4, 1e-4]
    assert read_facts(tmp_path, BTC, "funding", start=later).known_at.tolist() == [later, later + HOUR]


def test_what_is_said_again_keeps_its_first_time(tmp_path: Path) -> None:
    """A recorder sees the last payment in every poll; a file that knew it earlier moves it, one that knew later not."""
    live = Facts.of("funding", [START] * 3, START + np.array([5, 6, 7]) * SECOND, [[1e-4, 28_800]] * 3)
    assert write_facts(tmp_path, BTC, live, "poll").known_already == 2
    assert read_facts(tmp_path, BTC, "funding").known_at.tolist() == [START + 5 * SECOND]
    assert write_facts(tmp_path, BTC, _funding(1), "history").written == 1
    assert read_facts(tmp_path, BTC, "funding").known_at.tolist() == [START]


def test_two_values_for_one_moment_are_a_contradiction(tmp_path: Path) -> None:
    """The one that was there first stays, the other is kept with its reason."""
    write_facts(tmp_path, BTC, _funding(2), "a")
    report = write_facts(tmp_path, BTC, _funding(2, rate=9e-4), "b")
    assert dict(report.refused) == {"contradicts a row of the same moment": 2}
    refused, reasons = read_refused(tmp_path, BTC, "funding")
    assert refused.column("rate").tolist() == [9e-4, 9e-4]
    assert set(reasons) == {"contradicts a row of the same moment"}
    both = Facts.joined("funding", [_funding(1, 9), _funding(1, 9, rate=2e-4), _funding(1, 9)])
    report = write_facts(tmp_path, BTC, both, "c")
    assert (report.written, sum(report.refused.values())) == (1, 2)


def test_different_liquidations_of_one_moment_are_all_kept(tmp_path: Path) -> None:
    """Their price and size are part of their name."""
    rows = Facts.of("liquidations", [START] * 3, [START] * 3, [[-1, 10, 1], [-1, 10, 2], [1, 10, 1]])
    assert write_facts(tmp_path, BTC, rows, "a").written == 3


def test_a_stream_holds_back_what_was_known_later(tmp_path: Path) -> None:
    """Rows of an old month that became known in a new one come where they belong, piece by piece."""
    late = Facts.of("funding", [START], [START + 1_500 * HOUR], [[7e-4, 28_800]])
    write_facts(tmp_path, BTC, Facts.joined("funding", [_funding(250), late]), "a")
    pieces = list(stream_facts(tmp_path, BTC, "funding"))
    assert len(pieces) >= 3
    known = np.concatenate([piece.known_at for piece in pieces])
    assert (np.diff(known) >= 0).all()
    assert Facts.joined("funding", pieces).fingerprint() == read_facts(tmp_path, BTC, "funding").fingerprint()
    window = read_facts(tmp_path, BTC, "funding", START + 1_490 * HOUR, START + 1_510 * HOUR)
    assert 7e-4 in window.column("rate")
    assert len(window) == 3


def test_nothing_is_empty_and_a_wrong_kind_is_named(tmp_path: Path) -> None:
    """No rows are no error; a kind that is not there is."""
    assert len(read_facts(tmp_path, BTC, "mark")) == 0
    assert available_facts(tmp_path) == []
    assert read_refused(tmp_path, BTC, "mark")[1] == []
    assert write_facts(tmp_path, BTC, Facts.none("mark"), "a") == FactReport(BTC, "mark", "a")
    with pytest.raises(DataError, match="no kind of fact 'weather'"):
        read_facts(tmp_path, BTC, "weather")
    with pytest.raises(DataError, match="not venue:SYMBOL"):
        write_facts(tmp_path, "BTC", _funding(1), "a")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet" * 99])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    """By readers and by writers alike, whatever is left of it."""
    write_facts(tmp_path, BTC, _funding(2), "a")
    path = next(tmp_path.rglob("*.parquet"))
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path.name} is damaged"):
        read_facts(tmp_path, BTC, "funding")
    with pytest.raises(DataError, match=f"{path.name} is damaged"):
        write_facts(tmp_path, BTC, _funding(2), "a")


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    """The pages carry checksums."""
    write_facts(tmp_path, BTC, _funding(20), "a")
    path = next(tmp_path.rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[40] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="is damaged"):
        read_facts(tmp_path, BTC, "funding")


def test_a_file_says_where_its_rows_came_from(tmp_path: Path) -> None:
    """Source, schema version and zstd, for whoever reads it without us."""
    write_facts(tmp_path, BTC, _funding(2), "history.csv")
    file = pq.ParquetFile(next(tmp_path.rglob("*.parquet")))
    assert set(file.read(columns=["source"])["source"].to_pylist()) == {"history.csv"}
    assert b'"schema_version": 1' in file.schema_arrow.metadata[b"cryptoai"]
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_reports_of_parts_add_up() -> None:
    """Of a file that was imported in pieces."""
    one = FactReport(BTC, "mark", "a", 5, 3, 1, {"x": 1}, 7, 9)
    two = FactReport(BTC, "mark", "a", 4, 1, 0, {"x": 1, "y": 2}, 8, 12)
    whole = one.plus(two).plus(FactReport(BTC, "mark", "a"))
    assert whole == FactReport(BTC, "mark", "a", 9, 4, 1, {"x": 2, "y": 2}, 7, 12)
    assert "refused 2 row(s): y" in whole.summary()
