"""A tape that grows: raw messages into a crash-safe file, and through the same importer into rows, as they arrive.

The recorder adapter feeds it. Every message is in the file before anything is made of it; `sync` makes the file
durable, and the recorder calls it at least once a second. A killed process loses what was not synced and nothing else:
the file's rows are imported again from where the lake ends. Each file begins with the books carried over, so that it
stands alone. This module must never repair a message or decide what is believed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from cryptoai.core.clock import Clock, iso
from cryptoai.core.instruments import Instrument
from cryptoai.data_universe.events import EventArray
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.market_microstructure.formats import raw_envelope
from cryptoai.data_universe.market_microstructure.importer import Importer
from cryptoai.data_universe.market_microstructure.recording import (
    Start,
    book_line,
    hole_line,
    recording_fingerprint,
    rest_line,
    start_line,
)
from cryptoai.data_universe.market_microstructure.report import ImportReport
from cryptoai.data_universe.market_microstructure.tape import corrected

__all__ = ["LiveTape", "Piece"]


@dataclass(frozen=True, slots=True)
class Piece:
    """New rows and facts of one instrument, times corrected, with the report of the file so far."""

    instrument: Instrument
    events: EventArray
    facts: list[Facts]
    report: ImportReport


class LiveTape:
    """One venue's messages for some of its instruments. Not thread-safe."""

    def __init__(self, folder: Path, venue: str, instruments: tuple[Instrument, ...], clock: Clock) -> None:
        """Opens the first file in `folder`; `OSError` as the disk gives it."""
        self.messages = 0
        self._folder, self._venue, self._instruments, self._clock = folder, venue, instruments, clock
        self._importers = {made.id: Importer(made) for made in instruments}
        self._open(Start(venue, instruments, 0))

    def take(self, body: bytes) -> int:
        """One raw message as it came; returns its arrival in ns."""
        local = self._clock.now_ns()
        self.messages += 1
        self._line(local, body)
        return local

    def rest(self, url: str, body: bytes) -> None:
        """One REST reply as it came."""
        self._line(self._clock.now_ns(), rest_line(url, body))

    def hole(self, reason: str) -> None:
        """From here on messages may be missing."""
        self._line(self._clock.now_ns(), hole_line(reason))

    def unsynced(self) -> list[Instrument]:
        """Instruments whose book is unknown: they need a snapshot."""
        return [each.instrument for each in self._importers.values() if not each.rule.synced]

    def sync(self) -> None:
        """Make everything taken so far durable."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def pieces(self) -> Iterator[Piece]:
        """What is new since the last call, for the lake; the file is made durable first."""
        self.sync()
        for importer in self._importers.values():
            events = importer.flush()
            report = importer.report(self.path.name, recording_fingerprint(self._first, importer.instrument))
            yield Piece(importer.instrument, corrected(events, importer.clock.error_ns), importer.take_facts(), report)

    def rotate(self) -> Iterator[Piece]:
        """Finish this file and begin the next; gives the last pieces of the finished one."""
        last = list(self.pieces())
        books = [self._book(importer) for importer in self._importers.values() if importer.rule.synced]
        error = max(importer.clock.error_ns for importer in self._importers.values())
        self.close()
        self._importers = {made.id: Importer(made) for made in self._instruments}
        self._open(Start(self._venue, self._instruments, error))
        for line in books:
            self._line(self._clock.now_ns(), line)
        yield from last

    def close(self) -> None:
        """Make the file durable and close it."""
        if not self._file.closed:
            self.sync()
            self._file.close()

    @property
    def size(self) -> int:
        """Bytes of the file so far."""
        return self._file.tell()

    def _open(self, start: Start) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        local = self._clock.now_ns()
        self.path = self._folder / f"{self._venue}-{iso(local).replace(':', '')}.tape"
        self._file = self.path.open("xb")
        self._first = b"%d %b" % (local, start_line(start))
        for importer in self._importers.values():
            importer.clock.floor(start.clock_error_ns)
        self._line(local, start_line(start))
        self.sync()

    def _line(self, local: int, body: bytes) -> None:
        line = b"%d %b" % (local, body.replace(b"\n", b" "))
        self._file.write(line + b"\n")
        envelope = raw_envelope(line)
        for importer in self._importers.values():
            importer.take(envelope)

    @staticmethod
    def _book(importer: Importer) -> bytes:
        tick, step = importer.instrument.tick, importer.instrument.step
        bids, asks = importer.rows.levels()
        texts = [[[_text(p * tick), _text(q * step)] for p, q in side] for side in (bids, asks)]
        return book_line(importer.instrument.symbol, importer.rule.last, texts[0], texts[1])


def _text(value: Decimal) -> str:
    return format(value, "f")
