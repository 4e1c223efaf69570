"""Files of the lake: each is there whole or not at all, also after a SIGKILL or a full disk.

Used by the event lake, the fact lake and their compaction. A file is written beside its place under a hidden name that
its writer holds locked, made durable, then renamed; the folder is made durable after it. What a killed writer left
hidden is swept by the next one, who can tell by the lock. This module must never show a half-written file.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from cryptoai.core.errors import DataError
from cryptoai.core.ids import parse_instrument

__all__ = [
    "META",
    "arrow",
    "arrow_texts",
    "keep_lines",
    "kept_lines",
    "made",
    "metadata_of",
    "partition",
    "refusals",
    "sweep",
    "sync_folder",
    "trusted",
    "write_whole",
]

META = b"cryptoai"
"""Key of our JSON in the metadata of a Parquet file."""


def partition(root: Path, kind: str, instrument: str) -> Path:
    """`ROOT/kind=KIND/venue=VENUE/symbol=SYMBOL`; `DataError` if the id is not venue:SYMBOL."""
    venue, symbol = parse_instrument(instrument)
    return root / f"kind={kind}" / f"venue={venue}" / f"symbol={symbol}"


def arrow(column: npt.NDArray[np.generic]) -> pa.Array:
    """A column of numbers without nulls for a Parquet file, not copied. `pa.array` would import pandas: 50 MB."""
    data = np.ascontiguousarray(column)
    return pa.Array.from_buffers(pa.from_numpy_dtype(data.dtype), len(data), [None, pa.py_buffer(data)])


def arrow_texts(texts: Sequence[str]) -> pa.Array:
    """The same for texts, each different one stored once."""
    whole = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, whole)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(whole))]
    return pa.Array.from_buffers(pa.string(), len(whole), buffers).dictionary_encode()


def write_whole(path: Path, write: Callable[[IO[bytes]], None]) -> Path:
    """Put at `path` what `write` writes, durably and at once. `OSError` as the disk gives it; nothing is left then."""
    sweep(made(path.parent))
    raw, beside = _locked(path.parent)
    try:
        with raw:
            write(raw)
            raw.flush()
            os.fsync(raw.fileno())
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)
    return path


def keep_lines(root: Path, kind: str, instrument: str, name: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Quarantine lines that are no rows, {line, reason, text} and `count` where one stands for more; none, no file."""
    if rows:
        path = partition(root / "quarantine", kind, instrument) / f"{name}.jsonl"
        with refusals(root):
            write_whole(path, lambda raw: raw.writelines(orjson.dumps(row) + b"\n" for row in rows))


def kept_lines(root: Path, kind: str, instrument: str) -> Counter[str]:
    """How many quarantined lines there are of each reason."""
    found: Counter[str] = Counter()
    for path in sorted(partition(root / "quarantine", kind, instrument).glob("*.jsonl")):
        for row in map(orjson.loads, path.read_bytes().splitlines()):
            found[row["reason"]] += row.get("count", 1)
    return found


def sweep(folder: Path) -> int:
    """Remove what killed writers left in a folder, and count it; files of writers that live are not touched."""
    swept = 0
    for path in folder.glob(".*.tmp"):
        try:
            with path.open("rb") as raw:
                fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
                swept += 1
        except (BlockingIOError, FileNotFoundError):
            continue
    return swept


def made(folder: Path) -> Path:
    """The folder, made with its parents if it was not there, so that it outlives a power cut."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in new:
        sync_folder(each.parent)
    return folder


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def metadata_of(path: Path, file: pq.ParquetFile, version: int) -> dict[str, Any]:
    """Our JSON in an open file; `DataError` for another schema version."""
    meta: dict[str, Any] = json.loads(file.schema_arrow.metadata[META])
    if meta["schema_version"] != version:
        raise DataError(f"{path} has lake schema {meta['schema_version']}, not {version}; import it again")
    return meta


@contextmanager
def refusals(root: Path) -> Iterator[None]:
    """What the disk refuses, as one sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"the lake {root} cannot be written ({reason}); free space or rights, then import again"
        ) from error


@contextmanager
def trusted(path: Path) -> Iterator[None]:
    """What a damaged file makes a reader raise, as one sentence that names it."""
    try:
        yield
    except (DataError, FileNotFoundError):
        raise
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and import its source again") from error


def _locked(folder: Path) -> tuple[IO[bytes], Path]:
    """A hidden file that no sweep removes while we live."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
        raw = os.fdopen(handle, "wb")
        fcntl.flock(raw, fcntl.LOCK_EX)
        if os.fstat(raw.fileno()).st_nlink:  # a sweep between the two lines above took it
            return raw, Path(name)
        raw.close()
