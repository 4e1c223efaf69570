"""Tables from files, a piece at a time: CSV (plain, .gz or .zip) and Parquet, however large.

The importer of facts reads through this. Columns of a CSV stay text, so that no guess about a type can lose a row; what
they mean is decided by name. It must never hold more than one piece in memory.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from cryptoai.core.errors import DataError

__all__ = ["pieces"]

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


def pieces(path: Path) -> Iterator[pl.DataFrame]:
    """Rows of a table in pieces of bounded size, in file order; `DataError` names a file that is no table."""
    if not path.is_file():
        raise DataError(f"there is no file {path}; give a CSV or Parquet file")
    try:
        yield from _parquet(path) if path.suffix in (".parquet", ".pq") else _csv(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError, zipfile.BadZipFile, csv.Error, EOFError) as error:
        raise DataError(f"{path} cannot be read as a table ({error}); give a CSV or Parquet file") from error


def _parquet(path: Path) -> Iterator[pl.DataFrame]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS):
            yield cast(pl.DataFrame, pl.from_arrow(pa.Table.from_batches([batch])))


def _csv(path: Path) -> Iterator[pl.DataFrame]:
    with _opened(path) as raw:
        head = io.TextIOWrapper(io.BytesIO(_first_line(raw)), "utf-8-sig").read().strip()
    if not head:
        raise DataError(f"{path} is empty; give a CSV file with a header line")
    dialect = max(",;\t|", key=head.count)
    first = next(csv.reader([head], delimiter=dialect))
    names = [name.strip() for name in first] if not _numbers(first) else _unnamed(path, len(first))
    read = pa_csv.ReadOptions(block_size=_BLOCK, column_names=names, skip_rows=0 if _numbers(first) else 1)
    parse = pa_csv.ParseOptions(delimiter=dialect, invalid_row_handler=lambda _row: "skip")
    convert = pa_csv.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=True)
    with _opened(path) as raw, pa_csv.open_csv(raw, read, parse, convert) as reader:
        for batch in reader:
            yield cast(pl.DataFrame, pl.from_arrow(pa.Table.from_batches([batch])))


def _opened(path: Path) -> IO[bytes]:
    if path.suffix != ".zip":
        return cast(IO[bytes], pa.input_stream(str(path), compression="detect"))
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".csv")]
        if len(names) != 1:
            raise DataError(f"{path} holds {len(names)} CSV files; unpack it and import each")
        return archive.open(names[0])


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
