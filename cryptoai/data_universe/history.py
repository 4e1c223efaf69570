"""The offline store: feature rows as Parquet, and the point-in-time join that makes training sets from them.

    FOLDER/<group>/<venue>__<symbol>.parquet

`cryptoai features materialize` and training write it, Feast reads the same files (one folder is one Feast source), and
training joins it here: Feast's own join builds every pair within ttl, this one looks each moment up. Both give the same
numbers, which the tests hold them to. A row is seen from its `known_at` on; of rows with the same `known_at` the one
created last wins. Each file is replaced whole or not at all, and carries the fingerprint of what it was computed from.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cryptoai.core.errors import DataError
from cryptoai.core.ids import parse_instrument
from cryptoai.data_universe import schema
from cryptoai.data_universe.packed import COMPUTED_GROUPS, Limits, StoredState

if TYPE_CHECKING:
    from cryptoai.data_universe.features import Batch

__all__ = ["CREATED", "JOIN_KEY", "TIMESTAMP", "History", "Joined", "event_column", "known_column", "usable_rows"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

JOIN_KEY, TIMESTAMP, CREATED = "instrument", "event_timestamp", "created_timestamp"
"""Columns that Feast needs; its event timestamp is our known_at, rounded up to microseconds."""

_META = b"cryptoai"
_ROW_GROUP = 1 << 15
_FORMAT: dict[str, Any] = {"compression": "zstd", "coerce_timestamps": "us"}


@dataclass(frozen=True, slots=True)
class Joined:
    """What was known at n moments: values float32[n, 200], 0.0 where missing; mask bool[n, 200]; no portfolio.

    known_at and event_times int64[n, 7] of the rows that were found, 0 where there was none.
    """

    values: npt.NDArray[np.float32]
    mask: Mask
    known_at: Ints
    event_times: Ints


def known_column(group: str) -> str:
    """Name of the column with the ns at which a group's row was computed."""
    return f"{group}_known_at_ns"


def event_column(group: str) -> str:
    """Name of the column with the ns of the newest fact in a group's row, 0 for none."""
    return f"{group}_event_time_ns"


class History:
    """The files below `folder`; nothing is kept in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, group: str, instrument: str) -> Path:
        return self.folder / group / f"{'__'.join(parse_instrument(instrument))}.parquet"

    def instruments(self) -> list[str]:
        """What has rows, sorted."""
        files = (self.folder / schema.STORED_GROUPS[-1]).glob("*.parquet")
        return sorted(file.stem.replace("__", ":", 1) for file in files)

    def write(
        self,
        instrument: str,
        times: Ints,
        rows: Batch,
        *,
        group_times: Mapping[str, Ints] | None = None,
        fingerprint: str = "",
    ) -> None:
        """Replaces the rows of `instrument`: those at `times`, int64[n] ns, rising by at least 1 us.

        `group_times`, int64[n] each, are the event times of groups that have their own; else the row's is taken.
        """
        if len(times) != len(rows.values):
            raise DataError(f"{len(times)} times came with {len(rows.values)} rows of features")
        stamps = -(-times // 1000)
        if np.any(np.diff(stamps) <= 0):
            raise DataError(
                "times of stored feature rows must rise by at least a microsecond, which is what Feast sees"
            )
        meta = {"fingerprint": fingerprint, "schema_hash": schema.SCHEMA_HASH}
        for group in schema.STORED_GROUPS:
            events = (group_times or {}).get(group, rows.event_times)
            table = _table(group, instrument, (stamps, times, events), rows)
            table = table.replace_schema_metadata({_META: json.dumps(meta, sort_keys=True)})
            _replace(self.path(group, instrument), table)

    def fingerprint(self, instrument: str) -> str | None:
        """Of what the rows were computed from; None if they are absent, unfinished or of another schema."""
        metas = {self._meta(group, instrument) for group in schema.STORED_GROUPS}
        found = metas.pop() if len(metas) == 1 else None
        return found[0] if found and found[1] == schema.SCHEMA_HASH else None

    def span(self, instrument: str) -> tuple[int, int]:
        """known_at of the first and the last row; DataError if there is none."""
        group = schema.STORED_GROUPS[0]
        with self._opened(group, instrument) as file:
            known = file.read(columns=[known_column(group)]).column(0).to_numpy()
        if not len(known):
            raise DataError(f"the stored features of {instrument} hold no row; materialize them again")
        return int(known.min()), int(known.max())

    def newest(self, instrument: str, until: int) -> StoredState:
        """The state that was known at `until`, ns, with the times of its groups; nothing is masked for its age."""
        found = self.join(instrument, np.array([until], np.int64), None)
        times = tuple(found.known_at[0].tolist()), tuple(found.event_times[0].tolist())
        return StoredState(
            instrument, *times, found.values[0].astype("<f4").tobytes(), found.mask[0].astype(np.uint8).tobytes()
        )

    def join(self, instrument: str | Sequence[str], times: Ints, allowed: Limits | None) -> Joined:
        """Point-in-time: for each of `times`, int64[n] ns in any order, the newest row known by then.

        `instrument` is one for all or one each; an unknown one has no features. Groups whose row or feed is older than
        `allowed` at that moment are missing, by the rule of the online store; None allows any age.
        """
        n, groups = len(times), len(schema.STORED_GROUPS)
        out = Joined(
            np.zeros((n, schema.WIDTH), np.float32), np.zeros((n, schema.WIDTH), np.bool_),
            np.zeros((n, groups), np.int64), np.zeros((n, groups), np.int64),
        )  # fmt: skip
        for name, wanted in _by_instrument(instrument, n):
            for k, group in enumerate(schema.STORED_GROUPS):
                if self.path(group, name).exists():
                    with self._opened(group, name) as file:
                        _look_up(file, group, k, (wanted, times[wanted]), out)
        if allowed is not None:
            _mask_old(out, times, allowed)
        return out

    def _meta(self, group: str, instrument: str) -> tuple[str, str] | None:
        if not self.path(group, instrument).exists():
            return None
        with self._opened(group, instrument) as file:
            meta = json.loads((file.schema_arrow.metadata or {}).get(_META, b"{}"))
        return meta.get("fingerprint", ""), meta.get("schema_hash", "")

    def _opened(self, group: str, instrument: str) -> pq.ParquetFile:
        path = self.path(group, instrument)
        try:
            return pq.ParquetFile(path, memory_map=True)
        except FileNotFoundError as error:
            raise DataError(
                f"no features of {instrument} are stored below {self.folder}; run `cryptoai features materialize`"
            ) from error
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is damaged ({error}); delete it and materialize its features again") from error


def usable_rows(group: str, known: Ints, events: Ints, times: Ints, allowed: int) -> Mask:
    """Whether the row of `group` found for each moment may be used: as `packed.masked`, for columns."""
    row = (known > 0) & (known <= times) & (times - known <= allowed)
    return row if group in COMPUTED_GROUPS else row & (events > 0) & (times - events <= allowed)


def _mask_old(out: Joined, times: Ints, allowed: Limits) -> None:
    for k, group in enumerate(schema.STORED_GROUPS):
        gone = ~usable_rows(group, out.known_at[:, k], out.event_times[:, k], times, allowed[group])
        out.values[gone, schema.group_slice(group)] = 0.0
        out.mask[gone, schema.group_slice(group)] = False


def _by_instrument(instrument: str | Sequence[str], n: int) -> list[tuple[str, Ints]]:
    """Places of the moments that ask for each instrument."""
    if isinstance(instrument, str):
        return [(instrument, np.arange(n))]
    if len(instrument) != n:
        raise DataError(f"{len(instrument)} instruments came with {n} times; give one for each, or a single one")
    names, which = np.unique(np.asarray(instrument), return_inverse=True)
    return [(str(name), np.flatnonzero(which == k)) for k, name in enumerate(names)]


def _look_up(file: pq.ParquetFile, group: str, k: int, asked: tuple[Ints, Ints], out: Joined) -> None:
    """Fills the columns of `group` for the moments asked[1], which are at the places asked[0] of `out`."""
    known, events, order = _times(file, group)
    found = np.searchsorted(known[order], asked[1], side="right") - 1
    places, rows = asked[0][found >= 0], order[found[found >= 0]]
    out.known_at[places, k], out.event_times[places, k] = known[rows], events[rows]
    first, columns = 0, list(schema.NAMES[schema.group_slice(group)])
    for part in range(file.num_row_groups):
        size = file.metadata.row_group(part).num_rows
        here = (rows >= first) & (rows < first + size)
        if here.any():
            table = file.read_row_group(part, columns=columns)
            _gather(table, rows[here] - first, places[here], (out, schema.group_slice(group).start))
        first += size


def _times(file: pq.ParquetFile, group: str) -> tuple[Ints, Ints, Ints]:
    """known_at, event times and the order of the rows: by known_at, then by when they were created."""
    names = known_column(group), event_column(group)
    table = file.read(columns=list(names))
    known, events = (table.column(name).to_numpy() for name in names)
    if np.all(known[1:] > known[:-1]):
        return known, events, np.arange(len(known))
    created = file.read(columns=[CREATED]).column(CREATED).cast(pa.int64()).to_numpy()
    return known, events, np.lexsort((created, known))


def _gather(table: pa.Table, rows: Ints, places: Ints, into: tuple[Joined, int]) -> None:
    """One write for each moment, not one for each number: the rows of `out` lie far apart."""
    out, start = into
    found = np.stack([column.to_numpy()[rows] for column in table.columns], axis=1)
    there, to = np.isfinite(found), slice(start, start + found.shape[1])
    out.values[places, to] = np.where(there, found, np.float32(0))
    out.mask[places, to] = there


def _table(group: str, instrument: str, times: tuple[Ints, Ints, Ints], rows: Batch) -> pa.Table:
    stamps = pa.array(times[0], pa.timestamp("us", tz="UTC"))
    columns: dict[str, Any] = {
        JOIN_KEY: pa.array([instrument] * len(times[1]), pa.string()),
        TIMESTAMP: stamps,
        CREATED: stamps,
        known_column(group): pa.array(times[1], pa.int64()),
        event_column(group): pa.array(times[2], pa.int64()),
    }
    for place in range(*schema.group_slice(group).indices(schema.WIDTH)):
        missing = ~rows.mask[:, place]
        columns[schema.NAMES[place]] = pa.array(rows.values[:, place].astype(np.float32), pa.float32(), mask=missing)
    return pa.table(columns)


def _replace(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent.parent, suffix=".part")  # not where Feast reads whole folders
    try:
        with os.fdopen(handle, "wb") as file:
            pq.write_table(table, file, use_dictionary=[JOIN_KEY], row_group_size=_ROW_GROUP, **_FORMAT)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
