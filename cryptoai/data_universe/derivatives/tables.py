"""Tables from files, a piece at a time: CSV (plain, .gz or .zip) and Parquet, however large.

The importer of facts reads through this. Columns of a CSV stay text, so that no guess about a type can lose a row; what
they mean is decided by name. A line of a CSV with a wrong number of cells is no row: it is handed to whoever counts.
This module must never hold more than one piece in memory.
"""

from __future__ import annotations

import codecs
import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from cryptoai.core.errors import DataError

__all__ = ["Malformed", "pieces"]

Malformed = Callable[[int, str, str], None]
"""Called with line number (-1 if it is not known), reason and text of a line that is no row."""

_ROWS = 100_000
_BLOCK = 4 << 20
_KLINE = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "buy",
    "bought",
    "x",
)


def pieces(path: Path, malformed: Malformed = lambda _line, _reason, _text: None) -> Iterator[pl.DataFrame]:
    """Rows of a table in pieces of bounded size, in file order; `DataError` names a file that is no table."""
    if not path.is_file():
        raise DataError(f"there is no file {path}; give a CSV or Parquet file")
    try:
        yield from _parquet(path) if _magic(path) == b"PAR1" else _csv(path, malformed)
    except (pa.ArrowException, OSError, UnicodeDecodeError, zipfile.BadZipFile, csv.Error, EOFError) as error:
        raise DataError(f"{path} cannot be read as a table ({error}); give a CSV or Parquet file") from error


def _parquet(path: Path) -> Iterator[pl.DataFrame]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS):
            yield cast(pl.DataFrame, pl.from_arrow(pa.Table.from_batches([batch])))


def _csv(path: Path, malformed: Malformed) -> Iterator[pl.DataFrame]:
    with _opened(path) as raw:
        head = _first_line(raw).decode("utf-8-sig").strip()
    if not head:
        raise DataError(f"{path} is empty; give a CSV file with a header line")
    dialect = max(",;\t|", key=head.count)
    first = next(csv.reader([head], delimiter=dialect))
    names = [name.strip() for name in first] if not _numbers(first) else _unnamed(path, len(first))
    skipped = 0 if _numbers(first) else 1
    read = pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names, skip_rows=skipped)

    def refuse(row: Any) -> str:
        reason = f"{row.actual_columns} cells where the head has {row.expected_columns}"
        malformed(-1 if row.number is None else row.number, reason, row.text)
        return "skip"

    parse = pa_csv.ParseOptions(delimiter=dialect, invalid_row_handler=refuse)
    convert = pa_csv.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=True)
    with _opened(path) as raw, pa_csv.open_csv(pa.PythonFile(_Readable(raw), "r"), read, parse, convert) as reader:
        for batch in reader:
            yield cast(pl.DataFrame, pl.from_arrow(pa.Table.from_batches([batch])))


def _opened(path: Path) -> IO[bytes]:
    if _magic(path)[:2] != b"PK":
        packed = "gzip" if _magic(path)[:2] == b"\x1f\x8b" else "detect"
        return cast(IO[bytes], pa.input_stream(str(path), compression=packed))
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".csv")]
        if len(names) != 1:
            raise DataError(f"{path} holds {len(names)} CSV files; unpack it and import each")
        return archive.open(names[0])


class _Readable(io.RawIOBase):
    """Bytes that are no UTF-8 become `?`, so that they spoil their own cell and not the file; never more than asked."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._decoder = codecs.getincrementaldecoder("utf-8")(_QUESTION)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._raw.read(size if size < 0 else max(1, size - 4))
        return self._decoder.decode(data, final=not data).encode()


_QUESTION = "cryptoai-question"
codecs.register_error(_QUESTION, lambda error: ("?", cast(UnicodeDecodeError, error).end))


def _magic(path: Path) -> bytes:
    """What a file is, whatever it is called."""
    with path.open("rb") as raw:
        return raw.read(4)


def _first_line(raw: IO[bytes]) -> bytes:
    line = b""
    while b"\n" not in line and (more := raw.read(4_096)):
        line += more
        if len(line) > 1 << 20:
            raise DataError("the first line is longer than a million characters; this is no CSV file")
    return line.split(b"\n", 1)[0]


def _numbers(cells: list[str]) -> bool:
    """Whether a first line is already a row."""
    try:
        return bool([float(cell) for cell in cells if cell])
    except ValueError:
        return False


def _unnamed(path: Path, count: int) -> list[str]:
    if count == len(_KLINE):
        return list(_KLINE)
    raise DataError(f"{path} has no header line and {count} columns; add a line that names them")
