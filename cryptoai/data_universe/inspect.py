"""Lanes: what the lake holds of each instrument and kind over time, where it has holes, and what was refused.

`cryptoai data inspect` prints them as a table and draws them with `inspect_picture`. Each tape is read once, a piece at
a time. A lane must never hide a hole, a refusal or a damaged file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe.events import GAP
from cryptoai.data_universe.facts import KINDS, Facts
from cryptoai.data_universe.lake import available, parts, stream_events
from cryptoai.data_universe.lake_facts import available_facts, available_refused, read_refused, stream_facts
from cryptoai.data_universe.lake_files import kept_lines
from cryptoai.data_universe.market_microstructure.report import ImportReport

__all__ = ["Lane", "Span", "lanes"]

Ints = npt.NDArray[np.int64]
Span = tuple[int, int]
_OFTEN = 5.0


@dataclass(frozen=True, slots=True)
class Lane:
    """One instrument and kind; times in ns UTC."""

    instrument: str
    kind: str
    rows: int = 0
    spans: tuple[Span, ...] = ()
    """Times covered, in order; between two of them is a hole."""
    lag_s: float = 0.0
    """Median time from event to knowledge; of events, what the local clock was corrected by at most."""
    refused: Mapping[str, int] = field(default_factory=dict)
    outliers: tuple[int, ...] = ()
    """When refused rows happened, where that is known."""
    damage: str | None = None
    """Why it could not be read."""
    notes: tuple[str, ...] = ()
    """What an operator must know: damaged sources, time without a book."""

    @property
    def holes(self) -> tuple[Span, ...]:
        return tuple((before[1], after[0]) for before, after in pairwise(self.spans))


def lanes(root: Path) -> list[Lane]:
    """Every lane of the lake, sorted by instrument and kind; a damaged tape is a lane that says so."""
    tapes = [(name, "events") for name in available(root)]
    facts = sorted({*available_facts(root), *available_refused(root)})
    return sorted((_lane(root, *tape) for tape in [*tapes, *facts]), key=lambda lane: (lane.instrument, lane.kind))


def _lane(root: Path, instrument: str, kind: str) -> Lane:
    try:
        return _events(root, instrument) if kind == "events" else _facts(root, instrument, kind)
    except DataError as error:
        return Lane(instrument, kind, damage=str(error))


def _events(root: Path, instrument: str) -> Lane:
    there = parts(root, instrument)
    reports = {part.report.fingerprint: part.report for part in there}.values()
    refused: Counter[str] = Counter()
    for report in reports:
        refused.update(report.quarantined_lines)
        refused.update(report.quarantined_rows)
    runs = [(there[0].first, there[0].first)]
    for piece in stream_events(root, instrument):
        cuts = np.flatnonzero(piece.kind == GAP)
        for cut in cuts.tolist():
            runs[-1] = (runs[-1][0], max(runs[-1][1], int(piece.known_at[cut - 1]) if cut else runs[-1][1]))
            runs.append((int(piece.known_at[cut]), int(piece.known_at[cut])))
        runs[-1] = (runs[-1][0], int(piece.known_at[-1]))
    lag = max(report.clock_error_s for report in reports)
    notes = tuple(note for report in reports for note in _notes(report))
    rows = sum(part.rows for part in there)
    return Lane(instrument, "events", rows, tuple(runs), lag, dict(refused), notes=notes)


def _notes(report: ImportReport) -> list[str]:
    notes = [f"{report.source}: {report.damage}"] if report.damage else []
    return notes if report.has_book else [*notes, f"{report.source}: no depth snapshot, the book is unknown"]


def _facts(root: Path, instrument: str, kind: str) -> Lane:
    pieces = list(_thin(stream_facts(root, instrument, kind)))
    bad, reasons = read_refused(root, instrument, kind)
    outliers = tuple(sorted({time for time in bad.event_time.tolist() if time > 0}))
    counts = dict(Counter(reasons) + kept_lines(root, kind, instrument))
    if not pieces:
        return Lane(instrument, kind, refused=counts, outliers=outliers)
    times, widths, lags = (np.concatenate(column) for column in zip(*pieces, strict=True))
    order = np.argsort(times, kind="stable")
    spans = tuple(_spans(kind, times[order], widths[order]))
    return Lane(instrument, kind, len(times), spans, float(np.median(lags)) / SECOND, counts, outliers)


def _thin(pieces: Iterable[Facts]) -> Iterable[tuple[Ints, Ints, Ints]]:
    """Event times, widths in ns (0 if the kind has none) and lags: 24 bytes a row instead of all columns."""
    for piece in pieces:
        wide = "interval_s" in KINDS[piece.kind].names
        widths = (piece.column("interval_s") * SECOND).astype(np.int64) if wide else np.zeros(len(piece), np.int64)
        yield piece.event_time, widths, piece.known_at - piece.event_time


def _spans(kind: str, times: Ints, widths: Ints) -> Iterable[Span]:
    """Runs without a hole: payments and bars by their own interval, readings by their usual step."""
    steps = np.diff(times)
    if KINDS[kind].ordered:
        usual = np.median(steps[steps > 0]) if (steps > 0).any() else 0
        torn = steps > _OFTEN * usual
    elif widths.any():
        torn = steps > 1.5 * np.maximum(widths[1:], widths[:-1])
    else:
        torn = np.zeros(len(steps), np.bool_)
    cuts = [0, *(np.flatnonzero(torn) + 1).tolist(), len(times)]
    ends = times + (widths if kind == "candles" else 0)
    return [(int(times[start]), int(ends[stop - 1])) for start, stop in pairwise(cuts)]
