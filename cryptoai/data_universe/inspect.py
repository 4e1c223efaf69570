"""What the lake holds, per instrument: the table behind `cryptoai data inspect` and the dashboard's data page.

It reads metadata only, so it is quick whatever the lake's size, and it must never hide a hole or a refusal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptoai.data_universe.lake import Part, available, parts
from cryptoai.data_universe.market_microstructure.report import ImportReport

__all__ = ["Coverage", "coverage"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """One instrument; times in ns UTC, counts over all its captures."""

    instrument: str
    captures: int
    first: int
    last: int
    rows: Mapping[str, int]
    holes: int
    clock_error_s: float
    """The largest of its captures."""
    outliers: int
    """Lines and rows that were refused."""
    disk_bytes: int
    notes: tuple[str, ...]
    """What an operator must know: damaged sources, time without a book."""


def coverage(root: Path) -> list[Coverage]:
    """One row per instrument with data, sorted by id; empty without a lake. `DataError` for a damaged file."""
    return [_coverage(instrument, parts(root, instrument)) for instrument in available(root)]


def _coverage(instrument: str, there: list[Part]) -> Coverage:
    reports = list({part.report.fingerprint: part.report for part in there}.values())
    rows: Counter[str] = Counter()
    for report in reports:
        rows.update(report.rows)
    return Coverage(
        instrument=instrument,
        captures=len(reports),
        first=there[0].first,
        last=max(part.last for part in there),
        rows=dict(rows),
        holes=sum(report.gaps for report in reports) + len(reports) - 1,
        clock_error_s=max(report.clock_error_s for report in reports),
        outliers=sum(sum(r.quarantined_lines.values()) + sum(r.quarantined_rows.values()) for r in reports),
        disk_bytes=sum(part.path.stat().st_size for part in there),
        notes=tuple(note for report in reports for note in _notes(report)),
    )


def _notes(report: ImportReport) -> list[str]:
    notes = [f"{report.source}: {report.damage}"] if report.damage else []
    return notes if report.has_book else [*notes, f"{report.source}: no depth snapshot, the book is unknown"]
