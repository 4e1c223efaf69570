"""What an import found: everything that was read, kept, refused and corrected, as one frozen record.

The importer fills it, the lake stores it beside the rows, `cryptoai data` prints it. It must account for every line.
"""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, ConfigDict, Field

from cryptoai.core.clock import SECOND, iso

__all__ = ["ImportReport", "Tally"]

_KEPT_LINES, _KEPT_BYTES = 1000, 1 << 20


class ImportReport(BaseModel):
    """Facts of one import (frozen). Times in ns UTC after clock correction, 0 if there are no rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(description="file name of the capture")
    instrument: str
    lines: int = Field(ge=0, description="lines read; messages + ignored + quarantined_lines account for each")
    messages: dict[str, int] = Field(description="accepted lines by message kind")
    rows: dict[str, int] = Field(description="event rows by kind")
    ignored: dict[str, int] = Field(default_factory=dict, description="lines with nothing for this instrument, by why")
    quarantined_lines: dict[str, int] = Field(description="refused lines by reason")
    quarantined_rows: dict[str, int] = Field(description="refused prices or quantities inside accepted lines")
    first_refused: dict[str, int] = Field(description="line number of the first refused line of each reason")
    unsynced_rows: int = Field(ge=0, description="depth rows older than the snapshot or with no book to apply them to")
    rounded_rows: int = Field(ge=0, description="rows with a quantity finer than the step, rounded down")
    gaps: int = Field(ge=0, description="holes in the depth stream")
    holes: dict[str, int] = Field(default_factory=dict, description="the same by reason")
    clock_error_ns: int = Field(ge=0, description="added to every local time")
    held_times: int = Field(ge=0, description="local times that stepped back and were held at the one before")
    first_known_at: int
    last_known_at: int
    damage: str | None = Field(default=None, description="why the file could not be read to its end")
    fingerprint: str = Field(description="of the source's bytes, the instrument and the importer's version")

    @property
    def clock_error_s(self) -> float:
        return self.clock_error_ns / SECOND

    @property
    def total_rows(self) -> int:
        return sum(self.rows.values())

    @property
    def degraded(self) -> bool:
        """Whether anything was missing or refused."""
        return bool(self.gaps or self.quarantined_lines or self.quarantined_rows or self.damage or not self.has_book)

    @property
    def has_book(self) -> bool:
        return self.rows.get("clear", 0) > 0

    def summary(self) -> str:
        """A few lines for people."""
        span = f"{iso(self.first_known_at)} to {iso(self.last_known_at)}" if self.total_rows else "no time span"
        lines = [
            f"{self.instrument} from {self.source}: {self.lines:,} lines, {self.total_rows:,} rows, {span}",
            f"rows: {_counts(self.rows)}",
            _clock(self.clock_error_s),
        ]
        if self.total_rows and not self.has_book:
            lines.append("no depth snapshot joins the updates: the book is unknown throughout")
        if self.gaps:
            why = f" ({_counts(self.holes)})" if self.holes else ""
            lines.append(
                f"{self.gaps} hole(s) in the depth stream{why}: the book is unknown from each to the next snapshot"
            )
        if self.unsynced_rows:
            lines.append(
                f"{self.unsynced_rows:,} depth rows left out: older than the snapshot, or the book was unknown"
            )
        if self.rounded_rows:
            lines.append(f"{self.rounded_rows:,} rows with a quantity finer than the step, rounded down to it")
        if self.held_times:
            lines.append(f"{self.held_times:,} local times stepped back and were held at the one before")
        if self.ignored:
            lines.append(f"{sum(self.ignored.values()):,} lines with nothing for it: {_counts(self.ignored)}")
        lines += [
            f"refused {count:,} line(s): {reason} (first at line {self.first_refused.get(reason, 0):,})"
            for reason, count in self.quarantined_lines.items()
        ]
        lines += [f"refused {count:,} row(s): {reason}" for reason, count in self.quarantined_rows.items()]
        return "\n".join([*lines, f"the file is damaged: {self.damage}"] if self.damage else lines)


class Tally:
    """The running counts of one import; only the importer writes it."""

    def __init__(self) -> None:
        self.lines = 0
        self.messages: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.quarantined_lines: Counter[str] = Counter()
        self.quarantined_rows: Counter[str] = Counter()
        self.first_refused: dict[str, int] = {}
        self.unsynced_rows = 0
        self.rounded_rows = 0
        self.holes: Counter[str] = Counter()
        self.kept_lines: list[tuple[int, str, bytes]] = []
        self._kept_bytes = 0

    @property
    def gaps(self) -> int:
        return sum(self.holes.values())

    def hole(self, reason: str, count: int = 1) -> None:
        """Count a hole in the depth stream."""
        self.holes[reason] += count

    def refuse(self, reason: str, line: bytes = b"") -> None:
        """Count the current line as quarantined, and keep it while there is room."""
        self.quarantined_lines[reason] += 1
        self.first_refused.setdefault(reason, self.lines)
        if self._kept_bytes + len(line) <= _KEPT_BYTES and len(self.kept_lines) < _KEPT_LINES:
            self.kept_lines.append((self.lines, reason, line))
            self._kept_bytes += len(line)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "none"


def _clock(error_s: float) -> str:
    if not error_s:
        return "clock: the local clock is not behind the exchange's"
    return f"clock: the local clock ran {error_s:.3f} s behind the exchange's; every local time was moved later by it"
