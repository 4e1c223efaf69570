"""The lake: event rows as Parquet files that are written once, whole or not at all.

    ROOT/kind=events/venue=binance_usdm/symbol=BTCUSDT/date=2024-08-08/FINGERPRINT.parquet

`import_capture` fills it from captures, training, features and replays read it. A file holds the rows of one capture
that became known on one UTC day, sorted by `known_at`, with the instrument and the import report in its metadata. The
name is the import's fingerprint, so importing the same capture twice changes nothing. Captures of one instrument that
overlap in time are refused: their depth chains cannot be merged. This module must never change a row.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.core.ids import parse_instrument
from cryptoai.core.instruments import Instrument
from cryptoai.data_universe.events import GAP, EventArray
from cryptoai.data_universe.market_microstructure.capture import Progress
from cryptoai.data_universe.market_microstructure.report import ImportReport
from cryptoai.data_universe.market_microstructure.tape import Capture, corrected

__all__ = ["SCHEMA_VERSION", "Part", "available", "import_capture", "parts", "read_events", "write_events"]

SCHEMA_VERSION = 1
"""Of the columns and metadata below; a file of another version is refused, not converted."""

_DAY = 86_400 * SECOND
_META = b"cryptoai"
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


def import_capture(root: Path, path: Path, instrument: Instrument, on_progress: Progress | None = None) -> ImportReport:
    """Import one capture into the lake with bounded memory; a second time it only returns the report of the first.

    Raises `DataError` as `read_capture` does, if the capture overlaps with another one of the instrument, or if the
    disk refuses; the lake is then as it was, but for whole days already written, which a new import completes.
    """
    capture = Capture(path, instrument)
    done = _imported(root, instrument, capture.fingerprint())
    if done:
        return done
    with _refusals(root), tempfile.TemporaryFile(dir=_made(root)) as spool:
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
    with _refusals(root):
        chunks = (events.slice(i, min(i + _ROW_GROUP, len(events))) for i in range(0, len(events), _ROW_GROUP))
        return _write(root, instrument, chunks, report)


def available(root: Path) -> list[str]:
    """Ids of the instruments that have rows, sorted; empty if there is no lake."""
    folders = {file.parents[1] for file in root.glob("kind=events/venue=*/symbol=*/date=*/*.parquet")}
    return sorted(f"{_value(folder.parent)}:{_value(folder)}" for folder in folders)


def parts(root: Path, instrument: Instrument | str) -> list[Part]:
    """The files of one instrument in time order, from their metadata alone. `DataError` for a file that is damaged."""
    found = [_part(file) for file in sorted(_folder(root, instrument).glob("date=*/*.parquet"))]
    return sorted(found, key=lambda part: (part.first, part.last))


def read_events(
    root: Path, instrument: Instrument | str, start: int | None = None, stop: int | None = None
) -> EventArray:
    """All rows of an instrument, or those of every capture day that touches known_at in [start, stop).

    Where one capture ends and another begins there is a GAP row: nothing is known of the time between. Raises
    `DataError` if there are no rows, a file is damaged, or it was stored with another tick or step.
    """
    chosen = [
        p for p in parts(root, instrument) if (stop is None or p.first < stop) and (start is None or p.last >= start)
    ]
    name = instrument if isinstance(instrument, str) else instrument.id
    if not chosen:
        raise DataError(f"the lake {root} has no events of {name}; there is: {', '.join(available(root)) or 'nothing'}")
    grid = chosen[0].instrument if isinstance(instrument, str) else instrument
    for part in chosen:
        if (part.instrument.tick, part.instrument.step) != (grid.tick, grid.step):
            raise DataError(f"{part.path} was stored with another tick or step of {name}; delete it and import again")
    return _joined(chosen)


def _joined(chosen: list[Part]) -> EventArray:
    breaks = [a.report.fingerprint != b.report.fingerprint for a, b in pairwise(chosen)]
    total = sum(part.rows for part in chosen) + sum(breaks)
    out = EventArray(*(np.empty(total, field.type.to_pandas_dtype()) for field in _SCHEMA))
    at = 0
    for part, new in zip(chosen, [False, *breaks], strict=True):
        if new:
            row = (part.first, part.first, GAP, 0, 1, 0, 0)
            for name, value in zip(_NAMES, row, strict=True):
                getattr(out, name)[at] = value
        at = _fill(out, at + new, part.path)
    if np.any(out.known_at[1:] < out.known_at[:-1]):
        raise DataError(f"events under {chosen[0].path.parents[1]} are not in time order; delete it and import again")
    return out


def _fill(out: EventArray, at: int, path: Path) -> int:
    with _trusted(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=_NAMES)
            for name in _NAMES:
                getattr(out, name)[at : at + len(table)] = table[name].to_numpy()
            at += len(table)
    return at


def _part(path: Path) -> Part:
    with _trusted(path), pq.ParquetFile(path) as file:
        meta = json.loads(file.schema_arrow.metadata[_META])
        if meta["schema_version"] != SCHEMA_VERSION:
            raise DataError(f"{path} has lake schema {meta['schema_version']}, not {SCHEMA_VERSION}; import it again")
        known = [
            file.metadata.row_group(g).column(_NAMES.index("known_at")).statistics for g in range(file.num_row_groups)
        ]
        instrument = Instrument.model_validate(meta["instrument"])
        report = ImportReport.model_validate(meta["report"])
        return Part(path, instrument, report, file.metadata.num_rows, known[0].min, known[-1].max)


def _imported(root: Path, instrument: Instrument, fingerprint: str) -> ImportReport | None:
    """The report of an import that is there whole."""
    files = sorted(_folder(root, instrument).glob(f"date=*/{fingerprint}.parquet"))
    there = [_part(file) for file in files]
    whole = there and sum(part.rows for part in there) == there[0].report.total_rows
    return there[0].report if whole else None


def _write(root: Path, instrument: Instrument, chunks: Iterable[EventArray], report: ImportReport) -> list[Path]:
    _refuse_overlap(root, instrument, report)
    meta = {
        "schema_version": SCHEMA_VERSION,
        "instrument": instrument.model_dump(mode="json"),
        "report": report.model_dump(mode="json"),
    }
    schema = _SCHEMA.with_metadata({_META: json.dumps(meta, sort_keys=True)})
    days = groupby(_by_day(chunks), key=itemgetter(0))
    return [
        _write_day(_folder(root, instrument) / f"date={day}" / f"{report.fingerprint}.parquet", schema, rows)
        for day, rows in days
    ]


def _by_day(chunks: Iterable[EventArray]) -> Iterator[tuple[str, EventArray]]:
    """Chunks cut at midnight UTC of `known_at`."""
    for chunk in chunks:
        days = chunk.known_at // _DAY
        cuts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(chunk)]
        for start, stop in pairwise(cuts):
            if stop > start:
                yield f"{datetime.fromtimestamp(int(days[start]) * 86_400, UTC):%Y-%m-%d}", chunk.slice(start, stop)


def _write_day(path: Path, schema: pa.Schema, rows: Iterable[tuple[str, EventArray]]) -> Path:
    """Write beside, make durable, then rename: the file is there whole or not at all."""
    handle, name = tempfile.mkstemp(dir=_made(path.parent), prefix=".", suffix=".tmp")
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as raw:
            with pq.ParquetWriter(raw, schema, compression="zstd", write_page_checksum=True) as writer:
                for _, chunk in rows:
                    columns = [pa.array(getattr(chunk, column)) for column in _NAMES]
                    writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            raw.flush()
            os.fsync(raw.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return path


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


def _folder(root: Path, instrument: Instrument | str) -> Path:
    venue, symbol = parse_instrument(instrument if isinstance(instrument, str) else instrument.id)
    return root / "kind=events" / f"venue={venue}" / f"symbol={symbol}"


def _value(folder: Path) -> str:
    return folder.name.split("=", 1)[1]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _refusals(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"the lake {root} cannot be written ({reason}); free space or rights, then import again"
        ) from error


@contextmanager
def _trusted(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and import its capture again") from error
