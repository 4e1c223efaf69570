"""On-chain metrics from a CSV or Parquet file: daily or block-wise, wide or long, as providers leave them.

Made by `cryptoai data onchain import` and by tests. Reads one file that a person names, and never writes.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq

from cryptoai.core.errors import DataError
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.onchain.metrics import METRIC_NAMES
from cryptoai.data_universe.onchain.records import COLUMNS, NATIVE_COLUMNS, Record, Wanted, assemble

__all__ = ["FileSource"]


_BEYOND = "beyond the last column"


class FileSource:
    """`OnChainSource` over one file of one asset (`BTC`), or of many where it has a column `asset`.

    `now` (ns) hides values that are not public yet, such as those of a day that has not ended.
    """

    def __init__(self, path: Path, asset: str, now: int | None = None) -> None:
        self._path = path
        self._asset = asset.upper()
        self._now = now
        self._refused: Mapping[str, int] = MappingProxyType({})

    @property
    def refused(self) -> Mapping[str, int]:
        return self._refused

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the file has a column for, or all that exist if it is long."""
        first = next(_records(self._path), {})
        columns = {str(name).strip().lower() for name in first}
        if "metric" in columns:
            return METRIC_NAMES
        there = {COLUMNS.get(column) or NATIVE_COLUMNS.get(column) for column in columns}
        return tuple(name for name in METRIC_NAMES if name in there)

    def read(self, asset: str, metrics: Sequence[str], start: int, stop: int) -> Facts:
        """See `OnChainSource.read`; `DataError` if the file has no column that is known."""
        wanted = Wanted.of(asset, metrics, start, stop, self._now)
        if not self.metrics:
            raise DataError(f"{self._path} has no column of a metric; name one of {', '.join(sorted(COLUMNS))}")
        columns = {str(name).strip().lower() for name in next(_records(self._path), {})}
        if wanted.asset != self._asset and not columns & {"asset", "coin", "chain"}:
            return Facts.none("onchain")
        broken: Counter[str] = Counter()
        answer = assemble(_records(self._path, broken), wanted)
        self._refused = MappingProxyType(dict(broken + Counter(answer.refused)))
        return answer.facts


def _records(path: Path, broken: Counter[str] | None = None) -> Iterator[Record]:
    """Rows of the file, one at a time; lines with more or fewer cells than the head are counted and left out."""
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(4096):
                    yield from batch.to_pylist()
        else:
            with path.open(encoding="utf-8-sig", errors="replace", newline="") as text:
                for row in csv.DictReader(text, restkey=_BEYOND):
                    whole = _BEYOND not in row and None not in row.values()
                    if whole:
                        yield row
                    elif broken is not None:
                        broken["a line with more or fewer cells than the head"] += 1
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as {path.suffix[1:] or 'CSV'}: {error}") from error
