"""Files of derivatives data into the lake: funding, mark, open interest, liquidations, positioning and bars.

`cryptoai data import-facts` calls `import_facts`. A file is read a piece at a time and its columns are found by name;
rows of several instruments are told apart by their symbol. It must never store a row under an instrument that the file
does not name, unless the file names none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash, parse_instrument
from cryptoai.data_universe.derivatives.funding import funding_intervals
from cryptoai.data_universe.derivatives.names import plain_symbol, recognised
from cryptoai.data_universe.derivatives.readings import How, kinds_of, reading
from cryptoai.data_universe.derivatives.tables import pieces
from cryptoai.data_universe.derivatives.times import nanoseconds
from cryptoai.data_universe.facts import KINDS, Facts
from cryptoai.data_universe.lake_facts import FactReport, write_facts
from cryptoai.data_universe.lake_files import keep_lines

__all__ = ["Source", "import_facts", "kinds_in"]

OnPiece = Callable[[int], None]
_KEPT_LINES, _KEPT_BYTES = 1000, 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A file and what the user says of it."""

    path: Path
    instrument: str | None = None
    """venue:SYMBOL; of a file with a symbol column only the rows of that symbol are taken."""
    venue: str | None = None
    """Take every symbol of the file, as instruments of this venue."""
    symbol: str | None = None
    """The name by which the file calls the instrument, if it is not the usual one."""
    kinds: tuple[str, ...] = ()
    """Found from the columns if empty."""
    how: How = field(default_factory=How)


def kinds_in(path: Path) -> list[str]:
    """The kinds that a table holds, by its columns; `DataError` if it is none, or has none that is known."""
    for frame in pieces(path):
        columns = recognised(frame.columns)
        _check_time(path, frame, columns)
        return kinds_of(columns, path.name)
    raise DataError(f"{path} has a head and no rows")


def import_facts(
    root: Path, source: Source, now_ns: int | None = None, on_piece: OnPiece | None = None
) -> list[FactReport]:
    """Store every fact of a file; one report for each instrument and kind. Memory is that of one piece of the file,
    and of the payments of a funding tape that does not say its intervals.

    `DataError` for a file that cannot be read, has no such columns or no such instrument; what was stored stays.
    """
    _check(source)
    reports: dict[tuple[str, str], FactReport] = {}
    waiting: dict[str, list[Facts]] = {}
    broken = _Broken()
    for name, kind, facts in _all_rows(source, on_piece, broken):
        if kind == "funding" and np.isnan(facts.column("interval_s")).any():
            waiting.setdefault(name, []).append(facts)
        else:
            _store(root, reports, name, facts, source.path.name, now_ns)
    for name, held in waiting.items():
        _store(root, reports, name, _with_intervals(held), source.path.name, now_ns)
    _quarantine(root, reports, source, broken)
    return [reports[key] for key in sorted(reports)]


class _Broken:
    """Lines that are no rows: all are counted, the first ones kept."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rows: list[dict[str, object]] = []
        self._more: Counter[str] = Counter()
        self._room = _KEPT_BYTES

    def take(self, line: int, reason: str, text: str) -> None:
        self.counts[reason] += 1
        self._room -= len(text)
        if self._room < 0 or len(self.rows) >= _KEPT_LINES:
            self._more[reason] += 1
        else:
            self.rows.append({"line": line, "reason": reason, "text": text})

    def all_rows(self) -> list[dict[str, object]]:
        """Those kept, then one for each reason that stands for the rest."""
        rest = [{"line": -1, "reason": why, "text": "", "count": n} for why, n in sorted(self._more.items())]
        return [*self.rows, *rest]


def _quarantine(root: Path, reports: dict[tuple[str, str], FactReport], source: Source, broken: _Broken) -> None:
    """A line that cannot be read names no instrument: it is booked on the one that was asked for."""
    if not broken.counts:
        return
    key = (source.instrument or f"{source.venue}:ALL", min(kind for _, kind in reports))
    report = FactReport(*key, source.path.name, rows=broken.counts.total(), refused=dict(broken.counts))
    reports[key] = reports[key].plus(report) if key in reports else report
    rows = broken.all_rows()
    name = content_hash(repr((source.path.name, rows)).encode(), 32)
    keep_lines(root, key[1], key[0], name, rows)


def _store(
    root: Path, reports: dict[tuple[str, str], FactReport], name: str, facts: Facts, source: str, now_ns: int | None
) -> None:
    report = write_facts(root, name, facts, source, now_ns=now_ns)
    key = (name, facts.kind)
    reports[key] = reports[key].plus(report) if key in reports else report


def _all_rows(source: Source, on_piece: OnPiece | None, broken: _Broken) -> Iterator[tuple[str, str, Facts]]:
    found: set[str] = set()
    matched = done = 0
    widths: dict[str, float] = {}
    for frame in pieces(source.path, broken.take):
        columns = recognised(frame.columns)
        kinds = source.kinds or tuple(kinds_of(columns, source.path.name))
        _check_time(source.path, frame, columns)
        for symbol, rows in _by_symbol(frame, columns):
            found.add(symbol)
            name = _instrument(source, symbol)
            if name is None:
                continue
            matched += len(rows)
            for kind in kinds:
                how = _wide(source, kind, rows, columns, widths, name)
                yield name, kind, reading(kind, rows, columns, how)
        done += len(frame)
        if on_piece is not None:
            on_piece(done)
    if not matched:
        raise DataError(
            f"{source.path} has no rows of {source.symbol or source.instrument}; it has"
            f" {', '.join(sorted(found)[:12]) or 'no rows'}: give --symbol as the file writes it"
        )


def _by_symbol(frame: pl.DataFrame, columns: Mapping[str, str]) -> Iterator[tuple[str, pl.DataFrame]]:
    if "symbol" not in columns:
        yield "", frame
        return
    name = columns["symbol"]
    for key, rows in frame.group_by(pl.col(name).cast(pl.String), maintain_order=True):
        yield str(key[0]), rows


def _instrument(source: Source, symbol: str) -> str | None:
    """The instrument that rows of a symbol belong to, None if they are not asked for."""
    if source.instrument is None:
        return f"{source.venue}:{plain_symbol(symbol)}"
    wanted = parse_instrument(source.instrument)[1]
    ours = symbol == source.symbol if source.symbol else symbol == "" or plain_symbol(symbol) == wanted
    return source.instrument if ours else None


def _wide(
    source: Source, kind: str, rows: pl.DataFrame, columns: Mapping[str, str], widths: dict[str, float], name: str
) -> How:
    """Bars need their width: told, or the step that is most frequent at the start of the file."""
    bars = kind == "candles" or (kind == "mark" and "mark" not in columns)
    if not bars or source.how.interval_s:
        return source.how
    if name not in widths:
        steps = np.diff(np.unique(nanoseconds(rows[columns["time"]])))
        if not len(steps):
            raise DataError(f"{source.path} has one bar of {name}, so its width is unknown; give --interval in seconds")
        found, counts = np.unique(steps, return_counts=True)
        widths[name] = float(found[counts.argmax()] / SECOND)
    return replace(source.how, interval_s=widths[name])


def _with_intervals(held: Sequence[Facts]) -> Facts:
    """A whole funding tape with the intervals that its payments show."""
    facts = Facts.joined("funding", list(held))
    order = np.argsort(facts.event_time, kind="stable")
    times, back = np.unique(facts.event_time[order], return_inverse=True)
    shown = np.empty(len(facts))
    shown[order] = funding_intervals(times)[back]
    values = facts.values.copy()
    values[:, 1] = np.where(np.isnan(values[:, 1]), shown, values[:, 1])
    return Facts.of("funding", facts.event_time, facts.known_at, values)


def _check(source: Source) -> None:
    if (source.instrument is None) == (source.venue is None):
        raise DataError("give --instrument venue:SYMBOL, or --venue to take every symbol of the file")
    parse_instrument(source.instrument or f"{source.venue}:X")
    for kind in source.kinds:
        if kind not in KINDS or kind in ("onchain", "news_scores"):
            raise DataError(f"--kind {kind} cannot be imported from a table; the kinds are funding, funding_predicted,"
                            " mark, open_interest, liquidations, positioning and candles")  # fmt: skip


def _check_time(path: Path, frame: pl.DataFrame, columns: Mapping[str, str]) -> None:
    if "time" not in columns:
        raise DataError(
            f"{path} has no column of times among {', '.join(frame.columns[:12])}; call one of them timestamp"
        )
