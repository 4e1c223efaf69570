"""Recordings in, exact event rows out, with a report that accounts for every line.

`read_capture` gives the rows in memory; `Capture` gives them in chunks, for the lake. `formats` reads the recording,
`importer` decides what of it is believed; raw Binance captures go through `scan`, which is compiled, wherever a line
holds nothing unusual. Nothing here repairs, guesses or reorders: what is not believed is refused and counted, and where
updates are missing the book is marked unknown until the next snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.data_universe.events import EventArray
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.market_microstructure.capture import Progress
from cryptoai.data_universe.market_microstructure.fastlane import FastLane
from cryptoai.data_universe.market_microstructure.formats import (
    RawCapture,
    Source,
    TardisCapture,
    open_source,
    raw_envelope,
)
from cryptoai.data_universe.market_microstructure.importer import Importer
from cryptoai.data_universe.market_microstructure.recording import recording_fingerprint, started
from cryptoai.data_universe.market_microstructure.report import ImportReport
from cryptoai.data_universe.market_microstructure.sequence import BinanceRule
from cryptoai.data_universe.market_microstructure.venues.catalog import plain

__all__ = ["Capture", "CaptureResult", "ImportReport", "corrected", "read_capture"]

_VERSION = 2
"""Of the importer: raised when the same capture gives other rows, so that the lake imports it anew."""


@dataclass(frozen=True, slots=True)
class CaptureResult:
    """All rows of one capture, times corrected, and what the import found."""

    events: EventArray
    report: ImportReport


def read_capture(path: Path, instrument: Instrument, on_progress: Progress | None = None) -> CaptureResult:
    """The rows of a recording, sorted by `known_at`, 33 bytes each in memory.

    Raises `DataError` if the file is missing, empty, or has no line of this instrument that can be used; anything less
    is counted in the report.
    """
    capture = Capture(path, instrument)
    chunks = list(capture.chunks(on_progress))
    report = capture.report()
    joined = EventArray(*(np.concatenate([getattr(c, f.name) for c in chunks]) for f in fields(EventArray)))
    return CaptureResult(corrected(joined, report.clock_error_ns), report)


def corrected(events: EventArray, clock_error_ns: int) -> EventArray:
    """Rows of `Capture.chunks` with the local clock's error added; a missing event time becomes the arrival."""
    known = events.known_at + clock_error_ns
    event = np.where(events.event_time == 0, known, events.event_time)
    return EventArray(event, known, events.kind, events.side, events.last, events.price, events.qty)


class Capture:
    """One pass over one recording for one instrument: `chunks` to the end, then `report`, `facts` and `refused`."""

    def __init__(self, path: Path, instrument: Instrument) -> None:
        """`DataError` if the file cannot be read or the venue's captures are not understood."""
        self._importer = Importer(instrument)
        self._source: Source = open_source(path)
        if isinstance(self._source, TardisCapture):  # its rows carry no ids and no checksums, whatever the venue sends
            self._importer.rule = plain()
        self.instrument = instrument
        first = self._source.file.first_line() if isinstance(self._source, RawCapture) else b""
        self._start = first if started(first) else None

    @property
    def form(self) -> str:
        """Which form of recording it is."""
        return self._source.form

    def fingerprint(self) -> str:
        """32 hex digits over the bytes, the instrument and the importer's version; known before the import."""
        if self._start:
            return recording_fingerprint(self._start, self.instrument)
        parts = (self._source.sha256(), self.instrument.model_dump_json(), str(_VERSION))
        return content_hash("|".join(parts).encode(), 32)

    @property
    def is_recording(self) -> bool:
        """Whether our recorder wrote it, and may have stored its beginning already."""
        return self._start is not None

    @property
    def clock_error_ns(self) -> int:
        """What is known of the local clock's error so far; it only grows."""
        return self._importer.clock.error_ns

    def chunks(self, on_progress: Progress | None = None) -> Iterator[EventArray]:
        """About 65,536 rows at a time, whole messages, in order of arrival; pass each to `corrected` after `report`."""
        rows = self._importer.rows
        for _ in self._lines(on_progress):
            if rows.full:
                yield self._importer.flush()
        yield self._importer.flush()

    def report(self) -> ImportReport:
        """What was found; final only after `chunks` is exhausted. `DataError` if no line could be used."""
        if not self._importer.tally.messages:
            raise DataError(f"capture {self._source.path} has no usable line of {self.instrument.id}: {self._why()}")
        return self._importer.report(self._source.path.name, self.fingerprint(), self._source.damage)

    def facts(self) -> list[Facts]:
        """What the streams said beside trades and book (mark, funding, open interest, liquidations), by kind."""
        return [self._importer.facts(kind) for kind in self._importer.fact_kinds()]

    def refused(self) -> list[tuple[int, str, bytes]]:
        """(line number, reason, line) of the first quarantined lines, at most 1,000 of them and 1 MiB."""
        return self._importer.tally.kept_lines

    def _why(self) -> str:
        tally = self._importer.tally
        counted = tally.quarantined_lines + tally.ignored
        reasons = [f"{reason} ({count} lines)" for reason, count in counted.most_common(1)]
        return "; ".join([self._source.damage or "", *reasons]).strip("; ") or "it has no lines"

    def _lines(self, on_progress: Progress | None) -> Iterator[None]:
        """Take the recording in; yields whenever rows may have piled up."""
        if isinstance(self._source, RawCapture) and isinstance(self._importer.rule, BinanceRule):
            lane = FastLane(self._importer, spot=self.instrument.contract is Contract.SPOT)
            for block in self._source.file.blocks(on_progress):
                yield from self._block(block, lane)
            return
        for envelope in self._source.envelopes(on_progress):
            self._take(envelope.line) if isinstance(self._source, RawCapture) else self._importer.take(envelope)
            yield

    def _block(self, block: bytes, lane: FastLane) -> Iterator[None]:
        for line in lane.lines(block):
            if line is not None:
                self._take(line)
            yield

    def _take(self, line: bytes) -> None:
        """The careful lane for a raw line."""
        if line.isspace() or not line:
            return
        if not self._importer.tally.lines and (start := started(line)):
            self._importer.clock.floor(start.clock_error_ns)
        self._importer.take(raw_envelope(line.rstrip(b"\r\n")))
