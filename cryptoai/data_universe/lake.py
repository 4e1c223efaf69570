"""The lake: event rows as Parquet files that are written once, whole or not at all.

    ROOT/kind=events/venue=binance_usdm/symbol=BTCUSDT/date=2024-08-08/FINGERPRINT.parquet
    ROOT/kind=events/venue=binance_usdm/symbol=BTCUSDT/date=2024-08-08/FINGERPRINT-HASH.parquet   a piece of a recording

`import_capture` fills it from captures, a recorder with `append_events`; training, features and replays read it. A file
holds rows of one capture that became known on one UTC day, sorted by `known_at`, with the instrument and the import
report in its metadata. The name is the import's fingerprint, so importing the same capture twice changes nothing.
Captures of one instrument that overlap in time are refused: their depth chains cannot be merged. This module must never
change a row.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash
from cryptoai.core.instruments import Instrument
from cryptoai.data_universe.events import GAP, EventArray
from cryptoai.data_universe.lake_files import META, arrow, made, metadata_of, partition, refusals, trusted, write_whole
from cryptoai.data_universe.market_microstructure.capture import Progress
from cryptoai.data_universe.market_microstructure.report import ImportReport
from cryptoai.data_universe.market_microstructure.tape import Capture, corrected

__all__ = [
    "SCHEMA_VERSION",
    "Part",
    "append_events",
    "available",
    "compact_events",
    "import_capture",
    "parts",
    "read_events",
    "store_capture",
    "stream_events",
    "write_events",
]

SCHEMA_VERSION = 1
"""Of the columns and metadata below; a file of another version is refused, not converted."""

_DAY = 86_400 * SECOND
_NAMES = [column.name for column in fields(EventArray)]
_SCHEMA = pa.schema([(name, pa.int8() if name in ("kind", "side", "last") else pa.int64()) for name in _NAMES])
_ROW_GROUP = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """What one file of the lake says about itself; `first` and `last` known_at in ns UTC, inclusive."""

    path: Path
    instrument: Instrument
    report: ImportReport
    rows: int
    first: int
    last: int
    replaces: tuple[str, ...] = ()
    """Names of the files of its folder that compaction has taken into it."""


def import_capture(root: Path, path: Path, instrument: Instrument, on_progress: Progress | None = None) -> ImportReport:
    """Import one capture into the lake with bounded memory; a second time it only returns the report of the first.

    Raises `DataError` as `read_capture` does, if the capture overlaps with another one of the instrument, or if the
    disk refuses; the lake is then as it was, but for whole days already written, which a new import completes.
    """
    return store_capture(root, Capture(path, instrument), on_progress)


def store_capture(root: Path, capture: Capture, on_progress: Progress | None = None) -> ImportReport:
    """The same for a capture that is open already; if its rows were there, it is not read."""
    instrument = capture.instrument
    done = _imported(root, instrument, capture.fingerprint())
    if done:
        return done
    with refusals(root), tempfile.TemporaryFile(dir=made(root)) as spool:
        for chunk in capture.chunks(on_progress):
            for name in _NAMES:
                np.save(spool, getattr(chunk, name), allow_pickle=False)
        report = capture.report()
        end = spool.tell()
        spool.seek(0)
        rows = (corrected(chunk, report.clock_error_ns) for chunk in _spooled(spool, end))
        _write(root, instrument, rows, report)
    return report


def write_events(root: Path, instrument: Instrument, events: EventArray, report: ImportReport) -> list[Path]:
    """Store rows sorted by `known_at`; returns the files written (none if the fingerprint is there)."""
    if _imported(root, instrument, report.fingerprint):
        return []
    with refusals(root):
        chunks = (events.slice(i, min(i + _ROW_GROUP, len(events))) for i in range(0, len(events), _ROW_GROUP))
        return _write(root, instrument, chunks, report)


def append_events(root: Path, instrument: Instrument, events: EventArray, report: ImportReport) -> list[Path]:
    """Store the next rows of a recording that still runs; returns the files written, one a day.

    `report` tells of the recording so far; its fingerprint names the recording and is the same in every call. Rows of
    one recording are one tape: no GAP row stands between them. A piece that is there already is not written again.
    `DataError` if a row is older than what the recording has stored, or as `write_events`.
    """
    there = [part for part in parts(root, instrument) if part.report.fingerprint == report.fingerprint]
    known = {name for part in there for name in (part.path.name, *part.replaces)}
    written = []
    for _, rows in _by_day([events]):
        name = f"{report.fingerprint}-{content_hash(rows.fingerprint().encode(), 16)}"
        if f"{name}.parquet" in known:
            continue
        if there and rows.known_at[0] < max(part.last for part in there):
            raise DataError(
                f"rows of {instrument.id} are older than what their recording stored; start a new recording"
            )
        with refusals(root):
            written += _write(root, instrument, [rows], report, name)
    return written


def compact_events(root: Path, instrument: str) -> int:
    """Join the pieces of recordings, one file a recording and day, and return how many files that saved.

    The joined file names what it replaces, so a reader never sees a row twice, wherever a crash falls.
    """
    saved = 0
    for folder in sorted(partition(root, "events", instrument).glob("date=*")):
        before = len(list(folder.glob("*.parquet")))
        with refusals(root):
            for pieces in _recordings(folder):
                _compact(folder, pieces)
            _drop_replaced(folder)
        saved += before - len(list(folder.glob("*.parquet")))
    return saved


def available(root: Path) -> list[str]:
    """Ids of the instruments that have rows, sorted; empty if there is no lake."""
    folders = {file.parents[1] for file in root.glob("kind=events/venue=*/symbol=*/date=*/*.parquet")}
    return sorted(f"{_value(folder.parent)}:{_value(folder)}" for folder in folders)


def parts(root: Path, instrument: Instrument | str, damaged: list[Path] | None = None) -> list[Part]:
    """The files of one instrument in time order, from their metadata alone.

    `DataError` for a file that is damaged; if the caller gives a list, it is named there and left out.
    """
    name = instrument if isinstance(instrument, str) else instrument.id
    found = _readable(sorted(partition(root, "events", name).glob("date=*/*.parquet")), damaged)
    return sorted(found, key=lambda part: (part.first, part.last))


def read_events(
    root: Path,
    instrument: Instrument | str,
    start: int | None = None,
    stop: int | None = None,
    damaged: list[Path] | None = None,
) -> EventArray:
    """All rows of an instrument, or those of every file that touches known_at in [start, stop).

    Where one capture ends and another begins there is a GAP row: nothing is known of the time between. Raises
    `DataError` if there are no rows, a file is damaged, or it was stored with another tick or step. A damaged file is
    skipped only for a caller who gives a list to name it in; a GAP row stands where it was.
    """
    chosen = _chosen(root, instrument, start, stop, damaged)
    out = EventArray(*(np.empty(sum(p.rows + 1 for p in chosen), field.type.to_pandas_dtype()) for field in _SCHEMA))
    at = 0
    for piece in _pieces(chosen, damaged):
        for name in _NAMES:
            getattr(out, name)[at : at + len(piece)] = getattr(piece, name)
        at += len(piece)
    return out.slice(0, at)


def stream_events(
    root: Path, instrument: Instrument | str, start: int | None = None, stop: int | None = None
) -> Iterator[EventArray]:
    """The same rows in pieces of at most a million, so that memory does not grow with the tape."""
    yield from _pieces(_chosen(root, instrument, start, stop, None), None)


def _chosen(
    root: Path, instrument: Instrument | str, start: int | None, stop: int | None, damaged: list[Path] | None
) -> list[Part]:
    there = parts(root, instrument, damaged)
    chosen = [p for p in there if (stop is None or p.first < stop) and (start is None or p.last >= start)]
    name = instrument if isinstance(instrument, str) else instrument.id
    if not chosen:
        raise DataError(f"the lake {root} has no events of {name}; there is: {', '.join(available(root)) or 'nothing'}")
    grid = chosen[0].instrument if isinstance(instrument, str) else instrument
    for part in chosen:
        if (part.instrument.tick, part.instrument.step) != (grid.tick, grid.step):
            raise DataError(f"{part.path} was stored with another tick or step of {name}; delete it and import again")
    return chosen


def _pieces(chosen: Sequence[Part], damaged: list[Path] | None) -> Iterator[EventArray]:
    """Row groups in time order with a GAP row where the tape is broken."""
    before, known = None, 0
    holes = {path.parent for path in damaged or ()}
    for part in chosen:
        recording = None if part.path.parent in holes else part.report.fingerprint
        if before is not None and recording != before[0]:
            yield _gap(part.first)
        try:
            for piece in _groups(part.path):
                if piece.known_at[0] < known or np.any(piece.known_at[1:] < piece.known_at[:-1]):
                    raise DataError(f"events of {part.path} are not in time order; delete it and import again")
                known = int(piece.known_at[-1])
                yield piece
            before = (recording,)
        except DataError:
            if damaged is None:
                raise
            damaged.append(part.path)
            before = (None,)


def _gap(known_at: int) -> EventArray:
    row = (known_at, known_at, GAP, 0, 1, 0, 0)
    kinds = (field.type.to_pandas_dtype() for field in _SCHEMA)
    return EventArray(*(np.array([value], kind) for value, kind in zip(row, kinds, strict=True)))


def _groups(path: Path) -> Iterator[EventArray]:
    with trusted(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=_NAMES)
            yield EventArray(*(table[name].to_numpy() for name in _NAMES))


def _readable(paths: list[Path], damaged: list[Path] | None) -> list[Part]:
    found = []
    for path in paths:
        try:
            stat = path.stat()
            found.append(_part(path, stat.st_size, stat.st_mtime_ns))
        except FileNotFoundError:  # a compaction took it
            continue
        except DataError:
            if damaged is None:
                raise
            damaged.append(path)
    gone = {part.path.with_name(name) for part in found for name in part.replaces}
    return [part for part in found if part.path not in gone]


@lru_cache(maxsize=16_384)
def _part(path: Path, _size: int, _changed: int) -> Part:
    with trusted(path), pq.ParquetFile(path) as file:
        meta = metadata_of(path, file, SCHEMA_VERSION)
        known = [
            file.metadata.row_group(g).column(_NAMES.index("known_at")).statistics for g in range(file.num_row_groups)
        ]
        instrument = Instrument.model_validate(meta["instrument"])
        report = ImportReport.model_validate(meta["report"])
        replaces = tuple(meta.get("replaces", ()))
        return Part(path, instrument, report, file.metadata.num_rows, known[0].min, known[-1].max, replaces)


def _imported(root: Path, instrument: Instrument, fingerprint: str) -> ImportReport | None:
    """The report of an import that is there whole."""
    there = _readable(sorted(partition(root, "events", instrument.id).glob(f"date=*/{fingerprint}.parquet")), None)
    whole = there and sum(part.rows for part in there) == there[0].report.total_rows
    return there[0].report if whole else None


def _write(
    root: Path, instrument: Instrument, chunks: Iterable[EventArray], report: ImportReport, name: str | None = None
) -> list[Path]:
    _refuse_overlap(root, instrument, report)
    schema = _schema(instrument, report, ())
    folder = partition(root, "events", instrument.id)
    days = groupby(_by_day(chunks), key=itemgetter(0))
    return [
        _write_day(
            folder / f"date={day}" / f"{name or report.fingerprint}.parquet", schema, (rows for _, rows in found)
        )
        for day, found in days
    ]


def _schema(instrument: Instrument, report: ImportReport, replaces: Sequence[str]) -> pa.Schema:
    meta = {
        "schema_version": SCHEMA_VERSION,
        "instrument": instrument.model_dump(mode="json"),
        "report": report.model_dump(mode="json"),
        **({"replaces": list(replaces)} if replaces else {}),
    }
    return _SCHEMA.with_metadata({META: json.dumps(meta, sort_keys=True)})


def _by_day(chunks: Iterable[EventArray]) -> Iterator[tuple[str, EventArray]]:
    """Chunks cut at midnight UTC of `known_at`."""
    for chunk in chunks:
        days = chunk.known_at // _DAY
        cuts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(chunk)]
        for start, stop in pairwise(cuts):
            if stop > start:
                yield f"{datetime.fromtimestamp(int(days[start]) * 86_400, UTC):%Y-%m-%d}", chunk.slice(start, stop)


def _write_day(path: Path, schema: pa.Schema, rows: Iterable[EventArray]) -> Path:
    def write(raw: IO[bytes]) -> None:
        with pq.ParquetWriter(raw, schema, compression="zstd", write_page_checksum=True) as writer:
            for chunk in rows:
                columns = [arrow(getattr(chunk, column)) for column in _NAMES]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))

    return write_whole(path, write)


def _recordings(folder: Path) -> list[list[Part]]:
    """The pieces of each recording in one day's folder, in time order."""
    pieces = _readable(sorted(folder.glob("*-*.parquet")), None)
    pieces.sort(key=lambda part: (part.report.fingerprint, part.first, part.last))
    groups = groupby(pieces, key=lambda part: part.report.fingerprint)
    return [list(group) for _, group in groups]


def _compact(folder: Path, pieces: list[Part]) -> None:
    if len(pieces) < 2:
        return
    newest = pieces[-1]
    names = [name for part in pieces for name in (part.path.name, *part.replaces)]
    path = folder / f"{newest.report.fingerprint}-{content_hash('|'.join(names).encode(), 16)}.parquet"
    rows = (group for part in pieces for group in _groups(part.path))
    _write_day(path, _schema(newest.instrument, newest.report, names), _gathered(rows))


def _gathered(groups: Iterable[EventArray]) -> Iterator[EventArray]:
    """Small row groups joined to ones of about a million rows."""
    waiting: list[EventArray] = []
    for group in groups:
        waiting.append(group)
        if sum(map(len, waiting)) >= _ROW_GROUP:
            yield _together(waiting)
            waiting = []
    if waiting:
        yield _together(waiting)


def _together(pieces: Sequence[EventArray]) -> EventArray:
    return EventArray(*(np.concatenate([getattr(piece, name) for piece in pieces]) for name in _NAMES))


def _drop_replaced(folder: Path) -> None:
    """Remove what joined files replace, also what a compaction that was killed left."""
    for part in _readable(sorted(folder.glob("*-*.parquet")), None):
        for name in part.replaces:
            part.path.with_name(name).unlink(missing_ok=True)


def _refuse_overlap(root: Path, instrument: Instrument, report: ImportReport) -> None:
    for part in parts(root, instrument):
        ours = part.report.fingerprint == report.fingerprint
        if not ours and part.first <= report.last_known_at and report.first_known_at <= part.last:
            raise DataError(
                f"{report.source} overlaps in time with {part.path} (from {part.report.source}); delete that file or"
                f" import into another lake: two captures of {instrument.id} cannot be merged"
            )


def _spooled(spool: IO[bytes], end: int) -> Iterator[EventArray]:
    while spool.tell() < end:
        yield EventArray(*(np.load(spool, allow_pickle=False) for _ in _NAMES))


def _value(folder: Path) -> str:
    return folder.name.split("=", 1)[1]
