"""The fact lake: facts as Parquet files that polars and duckdb can read by glob, each row stored once.

    ROOT/kind=funding/venue=binance_usdm/symbol=BTCUSDT/date=2024-08-01/HASH.parquet
    ROOT/quarantine/kind=funding/venue=binance_usdm/symbol=BTCUSDT/HASH.parquet      what was refused, with the reason

Importers, recorders, on-chain sources and the news classifier write, features and `cryptoai data inspect` read.
`date` is the first day of the month or year (see `FactKind.period`) that holds the `event_time`, so that
a fact, its repetitions and its corrections lie together. A file is never changed: a write adds one with the rows that
were not there, compaction replaces several by one of the same rows. A row says the same again if the version known just
before it does, and is not stored; another value known later is a correction and is kept beside the first; another value
for the same moment of knowledge contradicts and is refused. This module must never show a row before it was known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from operator import eq
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryptoai.core.clock import SECOND, iso
from cryptoai.core.errors import DataError
from cryptoai.data_universe.fact_compaction import compact_folder
from cryptoai.data_universe.fact_files import Stored, read_files, stored_files, write_file
from cryptoai.data_universe.fact_versions import CONTRADICTS, KEPT, TWICE, ranked, settle
from cryptoai.data_universe.facts import KINDS, Facts, Ints, Period
from cryptoai.data_universe.lake_files import partition, refusals
from cryptoai.data_universe.quarantine import ABSURD, judge

__all__ = [
    "FactReport",
    "available_facts",
    "available_refused",
    "read_facts",
    "read_refused",
    "stream_facts",
    "write_facts",
]

_CONTEXT = 24
_MOST_FILES = 32
_TRIES = 5


@dataclass(frozen=True, slots=True)
class FactReport:
    """What became of the rows of one source: rows = written + known_already + the sum of refused."""

    instrument: str
    kind: str
    source: str
    rows: int = 0
    written: int = 0
    known_already: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    first: int = 0
    """`known_at` of the first believed row, 0 if none."""
    last: int = 0

    def plus(self, other: FactReport) -> FactReport:
        """The report of two parts of one source."""
        firsts = [first for first in (self.first, other.first) if first]
        return FactReport(
            self.instrument,
            self.kind,
            self.source,
            self.rows + other.rows,
            self.written + other.written,
            self.known_already + other.known_already,
            dict(Counter(self.refused) + Counter(other.refused)),
            min(firsts, default=0),
            max(self.last, other.last),
        )

    def summary(self) -> str:
        """A few lines for people."""
        span = f", known from {iso(self.first)} to {iso(self.last)}" if self.first else ""
        counts = f"{self.written:,} of {self.rows:,} rows written, {self.known_already:,} already there"
        lines = [f"{self.instrument} {self.kind} from {self.source}: {counts}{span}"]
        return "\n".join([*lines, *(f"refused {count:,} row(s): {reason}" for reason, count in self.refused.items())])


def write_facts(root: Path, instrument: str, facts: Facts, source: str, *, now_ns: int | None = None) -> FactReport:
    """Store what is believed and new, keep what is refused in quarantine; the same rows again change nothing.

    `instrument` is an instrument id or an asset of a chain (`chain:BTC`); `source` names where the rows come from;
    `now_ns`, the time of the import, lets rows of the future be refused. Raises `DataError` if the disk refuses or a
    stored file is damaged: whole files are there then or not, and the same call completes them.
    """
    with refusals(root):
        return _write(root, instrument, facts, source, now_ns)


def read_facts(root: Path, instrument: str, kind: str, start: int | None = None, stop: int | None = None) -> Facts:
    """Rows of one kind with `known_at` in [start, stop), sorted by it; no rows are empty `Facts`, not an error."""
    return Facts.joined(kind, list(stream_facts(root, instrument, kind, start, stop)))


def stream_facts(
    root: Path, instrument: str, kind: str, start: int | None = None, stop: int | None = None
) -> Iterator[Facts]:
    """The same rows in pieces, in order, holding about one partition at a time. `DataError` for a damaged file."""
    folders = sorted(partition(root, _checked(kind), instrument).glob("date=*"))
    waiting = Facts.none(kind)
    for place, folder in enumerate(folders):
        if stop is not None and _begin(folder) >= stop:
            break
        waiting = Facts.joined(kind, [waiting, _partition_rows(folder, kind, start)])
        ready = waiting.until(_begin(folders[place + 1]) - 1) if place + 1 < len(folders) else len(waiting)
        yield from _window(waiting.slice(0, ready), start, stop)
        waiting = waiting.slice(ready, len(waiting))
    yield from _window(waiting, start, stop)


def available_facts(root: Path) -> list[tuple[str, str]]:
    """(instrument, kind) of every tape of facts there is, sorted; empty if there is no lake."""
    return _tapes({file.parents[1] for kind in KINDS for file in root.glob(f"kind={kind}/*/*/date=*/*.parquet")})


def available_refused(root: Path) -> list[tuple[str, str]]:
    """(instrument, kind) of everything that has rows in quarantine, sorted."""
    found = [path for end in ("parquet", "jsonl") for path in root.glob(f"quarantine/kind=*/*/*/*.{end}")]
    return [(name, kind) for name, kind in _tapes({file.parent for file in found}) if kind in KINDS]


def read_refused(root: Path, instrument: str, kind: str) -> tuple[Facts, list[str]]:
    """The quarantined rows of one kind with their reasons, sorted by `known_at`."""
    return _refused(partition(root / "quarantine", _checked(kind), instrument), kind)


def _write(root: Path, instrument: str, facts: Facts, source: str, now_ns: int | None) -> FactReport:
    folder = partition(root, facts.kind, instrument)
    shelf = partition(root / "quarantine", facts.kind, instrument)
    reasons = judge(facts, now_ns, *_context(folder, shelf, facts))
    believed = np.flatnonzero(reasons == "")
    statuses = settle(facts.take(believed))
    reasons[believed[statuses == TWICE]] = "duplicate row"
    reasons[believed[statuses == CONTRADICTS]] = "contradicts a row of the same moment"
    fresh = believed[statuses == KEPT]
    written = 0
    for date, rows in _periods(facts, fresh):
        new = _unstored(folder / f"date={date}", facts, rows, reasons)
        written += len(new)
        if len(new):
            write_file(folder / f"date={date}", facts.take(new), source)
            _tidy(folder / f"date={date}")
    _shelve(shelf, facts, reasons, source)
    good = facts.known_at[reasons == ""]
    refused = Counter(reasons[reasons != ""].tolist())
    ends = (int(good[0]), int(good[-1])) if len(good) else (0, 0)
    return FactReport(instrument, facts.kind, source, len(facts), written, len(good) - written, dict(refused), *ends)


def _unstored(folder: Path, facts: Facts, rows: Ints, reasons: npt.NDArray[np.object_]) -> Ints:
    """Those of `rows` that are not in a partition yet; marks those that contradict it."""
    first, last = facts.event_time[rows].min(), facts.event_time[rows].max()
    there = _settled_down(folder, facts.kind, lambda file: file.first_event <= last and file.last_event >= first)
    statuses = settle(Facts.joined(facts.kind, [there, facts.take(rows)]))
    order = np.argsort(np.concatenate((there.known_at, facts.known_at[rows])), kind="stable")
    given = np.empty(len(statuses), np.int8)
    given[order] = statuses
    verdict = given[len(there) :]
    reasons[rows[verdict == CONTRADICTS]] = "contradicts a row of the same moment"
    new: Ints = rows[verdict == KEPT]
    return new


def _tidy(folder: Path) -> None:
    """Keep a folder that is written to in small pieces readable: join the small files once there are many."""
    if len(stored_files(folder)) > _MOST_FILES:
        compact_folder(folder, all_sizes=False)


def _shelve(shelf: Path, facts: Facts, reasons: npt.NDArray[np.object_], source: str) -> None:
    """Keep the refused rows, once each."""
    rows = np.flatnonzero(reasons != "")
    if not len(rows):
        return
    there, why = _refused(shelf, facts.kind)
    seen = set(_lines(there, why))
    new = [
        row
        for row, line in zip(rows, _lines(facts.take(rows), reasons[rows].tolist()), strict=True)
        if line not in seen
    ]
    if new:
        chosen = np.array(new)
        write_file(shelf, facts.take(chosen), source, reasons[chosen].tolist())
        _tidy(shelf)


def _lines(facts: Facts, reasons: Sequence[str]) -> Iterator[tuple[int, int, bytes, str]]:
    times = zip(facts.event_time.tolist(), facts.known_at.tolist(), strict=True)
    return ((*both, row.tobytes(), why) for both, row, why in zip(times, facts.values, reasons, strict=True))


def _context(folder: Path, shelf: Path, facts: Facts) -> tuple[Facts | None, Facts | None]:
    """The rows that were believed and those that were doubted just before these."""
    if not KINDS[facts.kind].price or not len(facts):
        return None, None
    first = int(facts.known_at[0])
    doubted, why = _refused(shelf, facts.kind)
    earlier = doubted.take(np.array([reason == ABSURD for reason in why], np.bool_))
    return _before(folder, facts.kind, first), earlier.slice(0, earlier.until(first - 1))


def _before(folder: Path, kind: str, known_at: int) -> Facts:
    """The last rows known before a time, from as few files as hold them."""
    found = Facts.none(kind)
    for place in sorted(folder.glob("date=*"), reverse=True):
        if _begin(place) >= known_at:
            continue
        for file in sorted(stored_files(place), key=lambda file: -file.last_known):
            if len(found) == _CONTEXT and file.last_known < found.known_at[0]:
                break
            rows = ranked(Facts.joined(kind, [_settled_down(place, kind, partial(eq, file)), found]))
            found = rows.slice(max(0, rows.until(known_at - 1) - _CONTEXT), rows.until(known_at - 1))
        if len(found) == _CONTEXT:
            break
    return found


def _partition_rows(folder: Path, kind: str, start: int | None) -> Facts:
    """What a partition says, each thing once; nothing if all of it was known before `start`."""
    if start is not None and all(file.last_known < start for file in stored_files(folder)):
        return Facts.none(kind)
    rows = _settled_down(folder, kind, lambda _file: True)
    return ranked(rows.take(settle(rows) == KEPT))


def _settled_down(folder: Path, kind: str, wanted: Callable[[Stored], bool]) -> Facts:
    """The rows of the wanted files; a folder that a compaction changes meanwhile is read again."""
    for _ in range(_TRIES):
        try:
            return read_files([file for file in stored_files(folder) if wanted(file)], kind)
        except FileNotFoundError:
            continue
    raise DataError(f"{folder} changes faster than it can be read; try again")


def _window(facts: Facts, start: int | None, stop: int | None) -> Iterator[Facts]:
    begin = 0 if start is None else facts.until(start - 1)
    end = len(facts) if stop is None else facts.until(stop - 1)
    if end > begin:
        yield facts.slice(begin, end)


def _periods(facts: Facts, rows: Ints) -> Iterator[tuple[str, Ints]]:
    """Rows by the partition that holds their `event_time`."""
    days = facts.event_time[rows] // (86_400 * SECOND)
    dates = {day: _first_day(int(day), KINDS[facts.kind].period) for day in np.unique(days).tolist()}
    names = np.array([dates[day] for day in days.tolist()], object)
    for date in sorted(set(dates.values())):
        yield date, rows[names == date]


def _first_day(day: int, period: Period) -> str:
    date = datetime.fromtimestamp(day * 86_400, UTC)
    return f"{date:%Y-%m}-01" if period == "month" else f"{date:%Y}-01-01"


def _begin(folder: Path) -> int:
    return int(datetime.fromisoformat(_value(folder)).replace(tzinfo=UTC).timestamp()) * SECOND


def _refused(shelf: Path, kind: str) -> tuple[Facts, list[str]]:
    files: list[Stored] = stored_files(shelf)
    reasons: list[str] = []
    rows = read_files(files, kind, reasons)
    return rows, reasons


def _tapes(folders: set[Path]) -> list[tuple[str, str]]:
    return sorted((f"{_value(f.parent)}:{_value(f)}", _value(f.parents[1])) for f in folders)


def _checked(kind: str) -> str:
    if kind not in KINDS:
        raise DataError(f"there is no kind of fact {kind!r}; the kinds are {', '.join(KINDS)}")
    return kind


def _value(folder: Path) -> str:
    return folder.name.split("=", 1)[1]
