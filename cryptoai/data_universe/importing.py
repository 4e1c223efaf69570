"""Recordings into the lake: events, the facts that came with them, and what was refused, kept beside.

    ROOT/quarantine/kind=events/venue=binance_usdm/symbol=BTCUSDT/FINGERPRINT.jsonl

The commands call it. What is stored is decided in `market_microstructure` and `lake_facts`; this module must decide
nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptoai.core.instruments import Instrument
from cryptoai.data_universe.lake import append_events, parts, store_capture
from cryptoai.data_universe.lake_facts import FactReport, write_facts
from cryptoai.data_universe.lake_files import keep_lines
from cryptoai.data_universe.market_microstructure.capture import Progress
from cryptoai.data_universe.market_microstructure.live import Piece
from cryptoai.data_universe.market_microstructure.report import ImportReport
from cryptoai.data_universe.market_microstructure.tape import Capture, corrected

__all__ = ["Imported", "append_piece", "import_recording"]


@dataclass(frozen=True, slots=True)
class Imported:
    """What one recording gave for one instrument."""

    events: ImportReport
    facts: tuple[FactReport, ...]

    def summary(self) -> str:
        """A few lines for people."""
        return "\n".join([self.events.summary(), *(report.summary() for report in self.facts)])


def import_recording(root: Path, path: Path, instrument: Instrument, on_progress: Progress | None = None) -> Imported:
    """Import one recording for one instrument with bounded memory; a second time nothing changes.

    `DataError` as `lake.import_capture` and `lake_facts.write_facts`.
    """
    capture = Capture(path, instrument)
    report = (_resume if capture.is_recording else store_capture)(root, capture, on_progress)
    rows = [{"line": n, "reason": why, "text": text.decode(errors="replace")} for n, why, text in capture.refused()]
    keep_lines(root, "events", instrument.id, report.fingerprint, rows)
    facts = tuple(write_facts(root, instrument.id, each, path.name) for each in capture.facts())
    return Imported(report, facts)


def append_piece(root: Path, piece: Piece) -> None:
    """Store what a recording that still runs gave since the last piece."""
    if len(piece.events):
        append_events(root, piece.instrument, piece.events, piece.report)
    for facts in piece.facts:
        write_facts(root, piece.instrument.id, facts, piece.report.source)


def _resume(root: Path, capture: Capture, on_progress: Progress | None) -> ImportReport:
    """A recorder stores as it goes: its file gives the same rows in the same order, so what is there is skipped."""
    name = capture.fingerprint()
    there = sum(part.rows for part in parts(root, capture.instrument) if part.report.fingerprint == name)
    for chunk in capture.chunks(on_progress):
        skipped = min(there, len(chunk))
        there -= skipped
        if skipped < len(chunk):
            rows = corrected(chunk.slice(skipped, len(chunk)), capture.clock_error_ns)
            append_events(root, capture.instrument, rows, capture.report())
    return capture.report()
