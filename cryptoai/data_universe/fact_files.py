"""One Parquet file of facts: written whole, named by its content, read with its checksums.

Only the fact lake, its compaction and `inspect` call this; they decide which rows lie in which file. A file says in its
metadata which times it spans, so that most files need not be opened for their rows. It must never change a value.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash
from cryptoai.data_universe.facts import KINDS, Facts
from cryptoai.data_universe.lake_files import META, arrow, arrow_texts, metadata_of, trusted, write_whole

__all__ = ["SCHEMA_VERSION", "Stored", "read_files", "stored_files", "write_file"]

SCHEMA_VERSION = 1
"""Of the columns and metadata of a file of facts; another version is refused, not converted."""
_ROW_GROUP = 1 << 17


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file says of itself; times in ns UTC, inclusive."""

    path: Path
    kind: str
    rows: int
    first_event: int
    last_event: int
    first_known: int
    last_known: int


def write_file(folder: Path, facts: Facts, source: str | Sequence[str], reasons: Sequence[str] | None = None) -> Path:
    """Store rows in one new file of a folder; `source` is one text or one a row, `reasons` say why they are refused."""
    sources = [source] * len(facts) if isinstance(source, str) else list(source)
    table = _table(facts, sources, reasons)
    parts = [facts.fingerprint(), *sorted(set(sources)), *(reasons or ())]
    name = content_hash("\n".join(parts).encode(), 32)

    def write(raw: IO[bytes]) -> None:
        pq.write_table(table, raw, compression="zstd", write_page_checksum=True, row_group_size=_ROW_GROUP)

    return write_whole(folder / f"{name}.parquet", write)


def stored_files(folder: Path) -> list[Stored]:
    """The files of a folder by name, from their metadata; `DataError` names one that is damaged."""
    found = []
    for path in sorted(folder.glob("*.parquet")):
        try:
            stat = path.stat()
            found.append(_stored(path, stat.st_size, stat.st_mtime_ns))
        except FileNotFoundError:
            continue
    return found


def read_files(
    files: Sequence[Stored], kind: str, reasons: list[str] | None = None, sources: list[str] | None = None
) -> Facts:
    """The rows of several files, sorted by `known_at`; appends reasons and sources in the same order if asked."""
    tables = [_read(file.path, kind, reasons is not None, sources is not None) for file in files]
    if not tables:
        return Facts.none(kind)
    table = pa.concat_tables(tables)
    known = table["known_at"].to_numpy()
    order = np.argsort(known, kind="stable")
    for texts, name in ((reasons, "reason"), (sources, "source")):
        if texts is not None:
            texts.extend(table[name].take(pa.array(order)).to_pylist())
    columns = [table[name].to_numpy()[order] for name in KINDS[kind].names]
    return Facts(kind, table["event_time"].to_numpy()[order], known[order], np.column_stack(columns))


def _read(path: Path, kind: str, reasons: bool, sources: bool) -> pa.Table:
    names = ["event_time", "known_at", *KINDS[kind].names, *["reason"] * reasons, *["source"] * sources]
    with trusted(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        table = file.read(columns=names)
        texts = [name for name in ("reason", "source") if name in names]
        for name in texts:
            table = table.set_column(names.index(name), name, table[name].cast(pa.string()))
        return table.select(names).replace_schema_metadata(None)


@lru_cache(maxsize=16_384)
def _stored(path: Path, _size: int, _changed: int) -> Stored:
    with trusted(path), pq.ParquetFile(path) as file:
        meta = metadata_of(path, file, SCHEMA_VERSION)
        if meta["columns"] != list(KINDS[meta["kind"]].names):
            raise DataError(f"{path} has other columns of {meta['kind']} than this version; import its source again")
        return Stored(path, meta["kind"], file.metadata.num_rows, *meta["event_time"], *meta["known_at"])


def _table(facts: Facts, sources: list[str], reasons: Sequence[str] | None) -> pa.Table:
    texts = {"source": sources, **({"reason": list(reasons)} if reasons is not None else {})}
    arrays = {
        "event_time": arrow(facts.event_time),
        "known_at": arrow(facts.known_at),
        **{name: arrow(facts.column(name)) for name in KINDS[facts.kind].names},
        **{name: arrow_texts(text) for name, text in texts.items()},
    }
    meta: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": facts.kind,
        "columns": list(KINDS[facts.kind].names),
        "event_time": [int(facts.event_time.min()), int(facts.event_time.max())],
        "known_at": [int(facts.known_at.min()), int(facts.known_at.max())],
    }
    return pa.table(arrays).replace_schema_metadata({META: json.dumps(meta, sort_keys=True)})
