"""The lake: whole files or none, the same rows back, and never a silent merge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe import lake, lake_files
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import BID, CLEAR, GAP, LEVEL, EventArray
from cryptoai.data_universe.market_microstructure.report import ImportReport

PERP = instrument("binance_usdm:BTCUSDT")
MIDNIGHT = 1_723_161_600 * SECOND
LINES = "".join(
    f'{(1_723_161_599_000 + n * 500) * 1_000_000} {{"data":{{"e":"trade","s":"BTCUSDT",'
    f'"T":{1_723_161_599_001 + n * 500},"p":"6{n}.0","q":"1","m":false,"X":"MARKET"}}}}\n'
    for n in range(5)
)


def _events(first: int, count: int = 10) -> EventArray:
    time = first + np.arange(count, dtype=np.int64) * SECOND
    side, last = np.full(count, BID, np.int8), np.ones(count, np.int8)
    kind = np.array([CLEAR] + [LEVEL] * (count - 1), np.int8)
    return EventArray(time, time, kind, side, last, np.arange(1, count + 1), np.arange(count))


def _report(events: EventArray, name: str = "a") -> ImportReport:
    return ImportReport(
        source=name,
        instrument=PERP.id,
        lines=len(events),
        messages={"depthUpdate": len(events)},
        rows={"level": len(events) - 1, "clear": 1},
        quarantined_lines={"corrupt JSON": 2},
        quarantined_rows={"absurd price": 1},
        first_refused={},
        unsynced_rows=0,
        rounded_rows=0,
        gaps=1,
        clock_error_ns=SECOND // 2,
        held_times=0,
        first_known_at=int(events.known_at[0]),
        last_known_at=int(events.known_at[-1]),
        fingerprint=events.fingerprint(),
    )


def _stored(root: Path, first: int = MIDNIGHT, name: str = "a") -> EventArray:
    events = _events(first)
    lake.write_events(root, PERP, events, _report(events, name))
    return events


def _contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_rows_come_back_bitwise_and_cut_by_day(tmp_path: Path) -> None:
    """Rows on both sides of midnight are two files and one array again."""
    events = _stored(tmp_path, MIDNIGHT - 4 * SECOND)
    days = sorted(path.parent.name for path in tmp_path.rglob("*.parquet"))
    assert days == ["date=2024-08-08", "date=2024-08-09"]
    assert lake.read_events(tmp_path, PERP).fingerprint() == events.fingerprint()
    assert lake.available(tmp_path) == [PERP.id]


def test_the_same_capture_twice_changes_nothing(tmp_path: Path) -> None:
    """A second import finds the first, returns its report and touches no file."""
    tape, root = tmp_path / "tape", tmp_path / "lake"
    tape.write_text(LINES)
    first = lake.import_capture(root, tape, PERP)
    before = _contents(root)
    stamps = {path: path.stat().st_mtime_ns for path in before}
    assert lake.import_capture(root, tape, PERP) == first
    assert _contents(root) == before
    assert {path: path.stat().st_mtime_ns for path in before} == stamps
    assert (lake.read_events(root, PERP).known_at >= lake.read_events(root, PERP).event_time).all()


def test_an_import_that_was_cut_off_is_completed(tmp_path: Path) -> None:
    """If one day's file is missing, importing again brings back exactly what was there."""
    tape, root = tmp_path / "tape", tmp_path / "lake"
    tape.write_text(LINES)
    lake.import_capture(root, tape, PERP)
    before = _contents(root)
    assert len(before) == 2
    sorted(before)[0].unlink()
    lake.import_capture(root, tape, PERP)
    assert _contents(root) == before


def test_two_captures_are_joined_with_a_hole_between(tmp_path: Path) -> None:
    """Where the second begins there is a GAP row, so that no book lives across the unknown time."""
    first, second = _stored(tmp_path), _stored(tmp_path, MIDNIGHT + 60 * SECOND, "b")
    joined = lake.read_events(tmp_path, PERP)
    assert len(joined) == len(first) + 1 + len(second)
    assert joined.kind[len(first)] == GAP
    assert joined.known_at[len(first)] == second.known_at[0]


def test_a_window_reads_only_the_files_it_touches(tmp_path: Path) -> None:
    """Start and stop choose files by known_at."""
    first, second = _stored(tmp_path), _stored(tmp_path, MIDNIGHT + 60 * SECOND, "b")
    assert lake.read_events(tmp_path, PERP, stop=MIDNIGHT + 30 * SECOND).fingerprint() == first.fingerprint()
    assert lake.read_events(tmp_path, PERP, start=MIDNIGHT + 30 * SECOND).fingerprint() == second.fingerprint()
    with pytest.raises(DataError, match="no events"):
        lake.read_events(tmp_path, PERP, start=MIDNIGHT + 900 * SECOND)


def test_overlapping_captures_are_refused(tmp_path: Path) -> None:
    """A second capture of the same minutes is an error that names the first, and nothing changes."""
    _stored(tmp_path)
    before = _contents(tmp_path)
    with pytest.raises(DataError, match=r"b overlaps in time with .*from a"):
        _stored(tmp_path, MIDNIGHT + 5 * SECOND, "b")
    assert _contents(tmp_path) == before


def test_one_flipped_byte_is_found(tmp_path: Path) -> None:
    """Wherever a data page is damaged, reading names the file and the fix."""
    _stored(tmp_path)
    path = next(tmp_path.rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"\.parquet is damaged .*delete it and import"):
        lake.read_events(tmp_path, PERP)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all" * 99])
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    """A truncated or foreign file is an error from every reader, not an empty result."""
    _stored(tmp_path)
    path = next(tmp_path.rglob("*.parquet"))
    path.write_bytes(content)
    for read in (lake.read_events, lake.parts):
        with pytest.raises(DataError, match=path.name):
            read(tmp_path, PERP)


def test_another_tick_size_is_refused(tmp_path: Path) -> None:
    """Integers mean ticks of the stored instrument; a changed tick needs a new import."""
    _stored(tmp_path)
    with pytest.raises(DataError, match="another tick or step"):
        lake.read_events(tmp_path, PERP.model_copy(update={"tick": PERP.tick / 10}))


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk refuses in the middle, there is one sentence, no half file and no temporary file."""

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lake_files.os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        _stored(tmp_path)
    assert _contents(tmp_path) == {}


def test_no_data_lists_what_there_is(tmp_path: Path) -> None:
    """An instrument without rows is an error that lists the others; a lake that is not there lists nothing."""
    assert lake.available(tmp_path / "none") == []
    _stored(tmp_path)
    with pytest.raises(DataError, match="binance_spot:BTCUSDT; there is: binance_usdm:BTCUSDT"):
        lake.read_events(tmp_path, "binance_spot:BTCUSDT")


def _recorded(root: Path, count: int = 4) -> EventArray:
    """One recording of `count` seconds, flushed each second, across midnight."""
    events = _events(MIDNIGHT - 2 * SECOND, count)
    for place in range(count):
        lake.append_events(root, PERP, events.slice(place, place + 1), _report(events, "live"))
    return events


def test_the_pieces_of_a_recording_are_one_tape(tmp_path: Path) -> None:
    """No GAP between them, and a piece that comes again changes nothing."""
    events = _recorded(tmp_path)
    assert len(_contents(tmp_path)) == 4
    assert lake.read_events(tmp_path, PERP).fingerprint() == events.fingerprint()
    assert lake.append_events(tmp_path, PERP, events.slice(3, 4), _report(events, "live")) == []


def test_a_recording_does_not_go_back(tmp_path: Path) -> None:
    """Rows older than what is stored are refused, and so is another recording of the same time."""
    events = _recorded(tmp_path)
    with pytest.raises(DataError, match="start a new recording"):
        lake.append_events(tmp_path, PERP, _events(MIDNIGHT - 9 * SECOND), _report(events, "live"))
    other = _report(events, "other").model_copy(update={"fingerprint": "f" * 32})
    with pytest.raises(DataError, match="overlaps in time"):
        lake.append_events(tmp_path, PERP, events, other)


def test_compaction_joins_pieces_and_keeps_every_row(tmp_path: Path) -> None:
    """One file a day is left; appending and compacting go on after it."""
    events = _recorded(tmp_path)
    assert lake.compact_events(tmp_path, PERP.id) == 2
    assert len(_contents(tmp_path)) == 2
    assert lake.read_events(tmp_path, PERP).fingerprint() == events.fingerprint()
    assert lake.append_events(tmp_path, PERP, events.slice(2, 3), _report(events, "live")) == []
    more = _events(MIDNIGHT + 60 * SECOND, 1)
    lake.append_events(tmp_path, PERP, more, _report(events, "live"))
    assert lake.compact_events(tmp_path, PERP.id) == 1
    assert lake.compact_events(tmp_path, PERP.id) == 0
    assert len(lake.read_events(tmp_path, PERP)) == len(events) + 1


def test_a_compaction_killed_half_way_shows_no_row_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The joined file is there and so are the pieces: readers take it alone, the next compaction removes them."""
    events = _recorded(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(lake, "_drop_replaced", lambda _folder: None)
        lake.compact_events(tmp_path, PERP.id)
    assert len(_contents(tmp_path)) == 6
    assert lake.read_events(tmp_path, PERP).fingerprint() == events.fingerprint()
    assert lake.compact_events(tmp_path, PERP.id) == 4
    assert lake.read_events(tmp_path, PERP).fingerprint() == events.fingerprint()


def test_a_damaged_file_is_skipped_only_on_request(tmp_path: Path) -> None:
    """Its place is a GAP, and its name is in the list that the caller gave."""
    _recorded(tmp_path, 3)
    bad = sorted(tmp_path.rglob("*.parquet"), key=lambda path: lake.parts(tmp_path, PERP)[1].path != path)[0]
    content = bytearray(bad.read_bytes())
    content[60] ^= 0xFF
    bad.write_bytes(bytes(content))
    with pytest.raises(DataError, match=bad.name):
        lake.read_events(tmp_path, PERP)
    named: list[Path] = []
    rows = lake.read_events(tmp_path, PERP, damaged=named)
    assert named == [bad]
    assert rows.kind.tolist() == [CLEAR, GAP, LEVEL]


def test_a_stream_gives_the_same_rows(tmp_path: Path) -> None:
    """Piece by piece, with the GAP between captures."""
    _stored(tmp_path)
    _stored(tmp_path, MIDNIGHT + 60 * SECOND, "b")
    pieces = list(lake.stream_events(tmp_path, PERP))
    assert [len(piece) for piece in pieces] == [10, 1, 10]
    whole = lake.read_events(tmp_path, PERP)
    assert np.concatenate([piece.qty for piece in pieces]).tolist() == whole.qty.tolist()
