"""Raw captures of Binance's streams in, exact event rows out, with a report that accounts for every line.

A line is the capturing machine's time in ns, a space, and the exchange's JSON: combined-stream messages (depthUpdate,
trade, bookTicker) and REST depth snapshots, for USD-M, COIN-M and spot. `read_capture` gives the rows in memory;
`Capture` gives them in chunks, for the lake. `sequence` decides which depth updates join the book, `clockskew` which
times are believable, `assembly` which prices are. Nothing here repairs, guesses or reorders: what is not believed is
refused and counted, and where updates are missing the book is marked unknown until the next snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from cryptoai.core.clock import MS
from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.data_universe.events import ASK, BID, GAP, EventArray
from cryptoai.data_universe.market_microstructure.assembly import KINDS, Assembly, joined
from cryptoai.data_universe.market_microstructure.capture import CaptureFile, Progress
from cryptoai.data_universe.market_microstructure.clockskew import ClockCheck
from cryptoai.data_universe.market_microstructure.report import ImportReport, Tally
from cryptoai.data_universe.market_microstructure.sequence import Answer, Diff, Sequence

__all__ = ["Capture", "CaptureResult", "ImportReport", "corrected", "read_capture"]

Message = dict[str, Any]

_OTHER = "another symbol"

_VERSION = 1
"""Of the importer: raised when the same capture gives other rows, so that the lake imports it anew."""


@dataclass(frozen=True, slots=True)
class CaptureResult:
    """All rows of one capture, times corrected, and what the import found."""

    events: EventArray
    report: ImportReport


def read_capture(path: Path, instrument: Instrument, on_progress: Progress | None = None) -> CaptureResult:
    """The rows of a capture (plain or gzip), sorted by `known_at`, 33 bytes each in memory.

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
    """One pass over one capture: `chunks` to the end, then `report`."""

    def __init__(self, path: Path, instrument: Instrument) -> None:
        """`DataError` if the file cannot be read or the venue's captures are not understood."""
        if not instrument.venue.startswith("binance_"):
            raise DataError(f"captures of venue {instrument.venue!r} are not understood; known are binance_* captures")
        self._file = CaptureFile(path)
        self._instrument = instrument
        self._spot = instrument.contract is Contract.SPOT
        self._rows = Assembly(instrument)
        self._clock = ClockCheck()
        self._sequence = Sequence(keeps_equal=not self._spot)
        self._tally = Tally()
        self._span = (0, 0)
        self._takers: dict[str, Callable[[Message, int, bytes], str | None]] = {
            "depthUpdate": self._depth,
            "trade": self._trade,
            "bookTicker": self._quote,
            "depth snapshot": self._snapshot,
        }

    def fingerprint(self) -> str:
        """32 hex digits over the file's bytes, the instrument and the importer's version; known before the import."""
        parts = (self._file.sha256(), self._instrument.model_dump_json(), str(_VERSION))
        return content_hash("|".join(parts).encode(), 32)

    def chunks(self, on_progress: Progress | None = None) -> Iterator[EventArray]:
        """About 65,536 rows at a time, whole messages, in order of arrival; pass each to `corrected` after `report`."""
        for line in self._file.lines(on_progress):
            self._line(line)
            if self._rows.full:
                yield self._flush()
        yield self._flush()

    def report(self) -> ImportReport:
        """What was found; final only after `chunks` is exhausted. `DataError` if no line could be used."""
        tally, error = self._tally, self._clock.error_ns
        if not tally.messages:
            raise DataError(f"capture {self._file.path} has no usable line of {self._instrument.id}: {self._why()}")
        return ImportReport(
            source=self._file.path.name,
            instrument=self._instrument.id,
            lines=tally.lines,
            messages=dict(tally.messages),
            rows=dict(tally.rows),
            quarantined_lines=dict(tally.quarantined_lines),
            quarantined_rows=dict(tally.quarantined_rows),
            first_refused=tally.first_refused,
            unsynced_rows=tally.unsynced_rows,
            rounded_rows=tally.rounded_rows,
            gaps=tally.gaps,
            clock_error_ns=error,
            held_times=self._clock.held,
            first_known_at=self._span[0] and self._span[0] + error,
            last_known_at=self._span[1] and self._span[1] + error,
            damage=self._file.damage,
            fingerprint=self.fingerprint(),
        )

    def _why(self) -> str:
        reasons = [f"{reason} ({count} lines)" for reason, count in self._tally.quarantined_lines.most_common(1)]
        return "; ".join([self._file.damage or "", *reasons]).strip("; ") or "it has no lines"

    def _flush(self) -> EventArray:
        events, refused, rounded = self._rows.flush()
        self._tally.quarantined_rows.update(refused)
        self._tally.rounded_rows += rounded
        for kind, name in KINDS.items():
            self._tally.rows[name] += int(np.count_nonzero(events.kind == kind))
        if len(events):
            self._span = (self._span[0] or int(events.known_at[0]), int(events.known_at[-1]))
        return events

    def _line(self, line: bytes) -> None:
        self._tally.lines += 1
        try:
            reason = self._message(line)
        except (AttributeError, KeyError, TypeError, ValueError):
            reason = "message without the fields of its kind"
        if reason:
            self._tally.refuse(reason)

    def _message(self, line: bytes) -> str | None:
        """Take one line in, or say why not."""
        local, _, text = line.partition(b" ")
        if not local.isdigit():
            return "line does not start with a local time"
        try:
            outer = orjson.loads(text)
        except orjson.JSONDecodeError:
            return "corrupt JSON"
        message = outer.get("data", outer)
        if message.get("s", message.get("symbol", self._instrument.symbol)) != self._instrument.symbol:
            return _OTHER
        kind = _kind(outer, message)
        take = self._takers.get(kind)
        if take is None:
            return "unknown stream"
        event = message.get("T", message.get("E", 0)) * MS
        reason = self._clock.refuse(int(local), event) or take(message, event, line)
        if reason is None:
            self._tally.messages[kind] += 1
        return reason

    def _depth(self, message: Message, event: int, line: bytes) -> str | None:
        levels = joined(message["b"], message["a"])
        previous = message["U"] - 1 if self._spot else message["pu"]
        answer = self._sequence.diff(Diff(previous, message["u"], line))
        if answer is Answer.APPLY:
            self._rows.add_depth(event, self._clock.known, levels)
        else:
            self._tally.unsynced_rows += levels[0][1] + levels[1][1]
        if answer is Answer.GAP:
            self._tally.gaps += 1
            self._rows.add_mark(GAP, event, self._clock.known)
        return None

    def _snapshot(self, message: Message, event: int, _line: bytes) -> str | None:
        if "symbol" not in message and self._tally.quarantined_lines[_OTHER]:
            return "snapshot that does not name its symbol, in a capture of several"
        levels = joined(message["bids"], message["asks"])
        newer = self._sequence.snapshot(message["lastUpdateId"])
        if newer is None:
            return "snapshot older than the depth updates at hand"
        self._rows.add_depth(event, self._clock.known, levels, snapshot=True)
        for diff in newer:
            self._replay(diff)
        return None

    def _replay(self, diff: Diff) -> None:
        """A held update, known as part of the book only now."""
        outer = orjson.loads(diff.line.partition(b" ")[2])
        message = outer.get("data", outer)
        levels = joined(message["b"], message["a"])
        self._rows.add_depth(message.get("T", message["E"]) * MS, self._clock.known, levels)
        self._tally.unsynced_rows -= levels[0][1] + levels[1][1]

    def _trade(self, message: Message, event: int, _line: bytes) -> str | None:
        if message.get("X", "MARKET") != "MARKET":
            return "trade outside the book (insurance fund, auto-deleveraging)"
        side = ASK if message["m"] else BID  # m: the buyer was the maker, so the seller was the aggressor
        self._rows.add_trade(event, self._clock.known, side, message["p"], message["q"])
        return None

    def _quote(self, message: Message, event: int, _line: bytes) -> str | None:
        bid, ask = [message["b"], message["B"]], [message["a"], message["A"]]
        self._rows.add_quote(event, self._clock.known, bid, ask)
        return None


def _kind(outer: Message, message: Message) -> str:
    """The venue's name of a message; spot's bookTicker and REST snapshots carry none."""
    kind = message.get("e")
    if kind is None and outer is message and "lastUpdateId" in message:
        return "depth snapshot"
    if kind is None and str(outer.get("stream")).endswith("@bookTicker"):
        return "bookTicker"
    return str(kind)
