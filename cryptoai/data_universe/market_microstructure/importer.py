"""One instrument's messages to rows and facts: order, clock, chain, duplicates; and an account of every line.

`tape.Capture` drives it over recordings, the live recorder over what arrives. Nothing here repairs, guesses or
reorders: what is not believed is refused and counted, and where messages are missing the book is unknown until the next
snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

from cryptoai.core.instruments import Instrument
from cryptoai.data_universe.events import GAP, EventArray
from cryptoai.data_universe.facts import KINDS as FACT_KINDS
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.market_microstructure.assembly import KINDS, Assembly, joined
from cryptoai.data_universe.market_microstructure.clockskew import ClockCheck
from cryptoai.data_universe.market_microstructure.formats import Envelope
from cryptoai.data_universe.market_microstructure.messages import (
    Best,
    Break,
    Count,
    Depth,
    Fact,
    Ignored,
    Item,
    Trade,
    native,
)
from cryptoai.data_universe.market_microstructure.recording import MARK, items
from cryptoai.data_universe.market_microstructure.report import ImportReport, Tally
from cryptoai.data_universe.market_microstructure.sequence import Answer
from cryptoai.data_universe.market_microstructure.tradeids import TradeIds
from cryptoai.data_universe.market_microstructure.venues.catalog import dialect

__all__ = ["OTHER", "Importer"]

OTHER = "another symbol"
_MALFORMED = "message without the fields of its kind"
_REASONS = {Answer.GAP: "a missing update", Answer.CHECKSUM: "a wrong checksum"}


class Importer:
    """State of one instrument; `take` lines in order of arrival, `flush` when `rows.full` and at the end."""

    def __init__(self, instrument: Instrument) -> None:
        """`DataError` if the venue's messages are not understood."""
        spoken = dialect(instrument.venue)
        self.instrument = instrument
        self.rows = Assembly(instrument)
        self.clock = ClockCheck()
        self.rule = spoken.rule()
        self.ids = TradeIds()
        self.tally = Tally()
        self.trade_kind: str | None = None
        self._decoder = spoken.decoder
        self._facts: dict[str, list[tuple[float, ...]]] = {}
        self._times: dict[str, list[tuple[int, int]]] = {}
        self._number: int | None = None
        self._span = (0, 0)

    @property
    def span(self) -> tuple[int, int]:
        """known_at of the first and the last row, uncorrected; (0, 0) if there is none."""
        return self._span

    def take(self, envelope: Envelope) -> None:
        """Take one line in, and account for it."""
        self.tally.lines += 1
        try:
            decoded = self._decoded(envelope)
        except orjson.JSONDecodeError:
            decoded = "corrupt JSON"
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            decoded = _MALFORMED
        if isinstance(decoded, str):
            self.tally.refuse(decoded, envelope.line)
        else:
            self._all(envelope, decoded)

    def flush(self) -> EventArray:
        """The rows since the last flush; their times are still the local clock's."""
        events, verdict = self.rows.flush()
        self.tally.quarantined_rows.update(verdict.refused)
        self.tally.rounded_rows += verdict.rounded
        if verdict.contradictions:
            self.tally.hole("a book that stays crossed", verdict.contradictions)
        for kind, name in KINDS.items():
            self.tally.rows[name] += int(np.count_nonzero(events.kind == kind))
        if len(events):
            self._span = (self._span[0] or int(events.known_at[0]), int(events.known_at[-1]))
        return events

    def facts(self, kind: str) -> Facts:
        """The facts of a kind so far, times corrected as the rows' are."""
        times = np.array(self._times.get(kind, []), np.int64).reshape(-1, 2)
        known = times[:, 1] + self.clock.error_ns
        event = np.minimum(np.where(times[:, 0] == 0, known, times[:, 0]), known)
        return Facts.of(kind, event, known, self._facts.get(kind, []))

    def fact_kinds(self) -> list[str]:
        """Kinds that have facts."""
        return sorted(self._facts)

    def take_facts(self) -> list[Facts]:
        """The facts since the last call; the last row of each kind stays, because later messages may continue it."""
        found = [self.facts(kind) for kind in self.fact_kinds()]
        for kind in self.fact_kinds():
            self._facts[kind], self._times[kind] = self._facts[kind][-1:], self._times[kind][-1:]
        return found

    def report(self, source: str, fingerprint: str, damage: str | None = None) -> ImportReport:
        """What was found so far."""
        tally, error, span = self.tally, self.clock.error_ns, self._span
        return ImportReport(
            source=source,
            instrument=self.instrument.id,
            lines=tally.lines,
            messages=dict(tally.messages),
            rows=dict(tally.rows),
            ignored=dict(tally.ignored),
            quarantined_lines=dict(tally.quarantined_lines),
            quarantined_rows=dict(tally.quarantined_rows),
            first_refused=dict(tally.first_refused),
            unsynced_rows=tally.unsynced_rows,
            rounded_rows=tally.rounded_rows,
            gaps=tally.gaps,
            holes=dict(tally.holes),
            clock_error_ns=error,
            held_times=self.clock.held,
            first_known_at=span[0] and span[0] + error,
            last_known_at=span[1] and span[1] + error,
            damage=damage,
            fingerprint=fingerprint,
        )

    def lose(self, reason: str, event: int) -> None:
        """The stream was interrupted: mark the hole, once."""
        self._number = None
        if self.rule.synced:
            self.rows.add_mark(GAP, event, self.clock.known)
            self.tally.hole(reason)
        self.rule.lose()

    def _decoded(self, envelope: Envelope) -> list[Item] | str:
        if envelope.local < 0:
            return "line does not start with a local time"
        if isinstance(envelope.body, list):
            return envelope.body or _MALFORMED
        message: Any = orjson.loads(envelope.body)
        if isinstance(message, dict) and MARK in message:
            return items(message, self._decoder)
        return list(self._decoder.decode(message, envelope.hint)) or [Ignored("message without content")]

    def _all(self, envelope: Envelope, decoded: Iterable[Item]) -> None:
        """Every item of a message; the line counts as kept if one is."""
        kept: str | None = None
        refused: list[str] = []
        ignored = OTHER
        for item in decoded:
            if isinstance(item, Ignored) and self._ours(item.symbol):
                ignored = item.reason
                continue
            name, reason = self._item(item, envelope)
            kept = kept or name
            refused += [reason] if reason else []
        if kept:
            self.tally.messages[kept] += 1
            self.tally.quarantined_rows.update(refused)
        elif refused:
            self.tally.refuse(refused[0], envelope.line)
        else:
            self.tally.ignored[ignored] += 1

    def _item(self, item: Item, envelope: Envelope) -> tuple[str | None, str | None]:
        """(kind under which it was kept, why it was refused); neither if it is not ours."""
        if isinstance(item, Count):
            self._count(item.number)
            return None, None
        if isinstance(item, Break):
            if self._ours(item.symbol):
                self.lose(item.reason, 0)
            return ("break", None) if self._ours(item.symbol) else (None, None)
        if isinstance(item, Ignored) or not self._ours(item.symbol):
            return None, None
        reason = self.clock.refuse(envelope.local, item.event)
        if reason:
            return None, reason
        try:
            return self._content(item, envelope)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return None, _MALFORMED

    def _content(self, item: Depth | Trade | Best | Fact, envelope: Envelope) -> tuple[str | None, str | None]:
        if isinstance(item, Depth):
            reason = self._snapshot(item) if item.snapshot else self._depth(item, envelope)
            return self._named(item.name, reason)
        if isinstance(item, Trade):
            return self._trade(item)
        if isinstance(item, Best):
            self.rows.add_quote(item.event, self.clock.known, item.bid, item.ask)
            return item.name, None
        return self._named(item.kind, self._fact(item))

    def _depth(self, depth: Depth, envelope: Envelope) -> str | None:
        joined(depth.bids, depth.asks)  # malformed levels are refused before the chain counts them as seen
        answer = self.rule.diff(depth, _text(envelope))
        levels = joined(depth.bids, depth.asks)
        if answer is Answer.APPLY:
            self.rows.add_depth(depth.event, self.clock.known, levels)
        else:
            self.tally.unsynced_rows += levels[0][1] + levels[1][1]
        if answer in _REASONS:
            self.tally.hole(_REASONS[answer])
            self.rows.add_mark(GAP, depth.event, self.clock.known)
        return None

    def _snapshot(self, depth: Depth) -> str | None:
        if not depth.symbol and self.tally.ignored[OTHER]:
            return "snapshot that does not name its symbol, in a capture of several"
        joined(depth.bids, depth.asks)
        was_synced = self.rule.synced
        newer = self.rule.snapshot(depth)
        if isinstance(newer, str):
            if was_synced and not self.rule.synced:
                self.rows.add_mark(GAP, depth.event, self.clock.known)
                self.tally.hole("a refused snapshot")
            return newer
        self.rows.add_depth(depth.event, self.clock.known, joined(depth.bids, depth.asks), snapshot=True)
        for text in newer:
            self._replay(text)
        return None

    def _replay(self, text: bytes) -> None:
        """A held update, known as part of the book only now."""
        for item in self._decoder.decode(orjson.loads(text.partition(b" ")[2]), ""):
            if isinstance(item, Depth) and self._ours(item.symbol):
                levels = joined(item.bids, item.asks)
                self.rows.add_depth(item.event, self.clock.known, levels)
                self.tally.unsynced_rows -= levels[0][1] + levels[1][1]

    def _trade(self, trade: Trade) -> tuple[str | None, str | None]:
        self.trade_kind = self.trade_kind or trade.name
        if trade.name != self.trade_kind:
            return None, f"{trade.name} beside {self.trade_kind}: the same trades again"
        joined([[trade.price, trade.qty]], [])
        if not self.ids.new(trade.id):
            return None, "duplicate trade id"
        self.rows.add_trade(trade.event, self.clock.known, trade.side, trade.price, trade.qty)
        return trade.name, None

    def _fact(self, fact: Fact) -> str | None:
        """Values that the message does not say are those before; without any, the fact is not known yet."""
        rows = self._facts.get(fact.kind, [])
        before = (
            rows[-1]
            if rows
            else tuple(float("nan") if column.optional else None for column in FACT_KINDS[fact.kind].columns)
        )
        values = [b if value is None else value for value, b in zip(fact.values, before, strict=True)]
        if any(value is None for value in values):
            return None
        self._facts.setdefault(fact.kind, []).append(tuple(float(value) for value in values if value is not None))
        self._times.setdefault(fact.kind, []).append((fact.event, self.clock.known))
        return None

    def _count(self, number: int) -> None:
        """A number missing is a hole; the same again is the message before, which changes nothing a second time."""
        if self._number is not None and number not in (0, self._number, self._number + 1):
            self.lose("a missing message of the connection", 0)
        self._number = number

    def _ours(self, symbol: str | None) -> bool:
        return not symbol or native(symbol) == self.instrument.symbol

    @staticmethod
    def _named(name: str, reason: str | None) -> tuple[str | None, str | None]:
        return (None, reason) if reason else (name, None)


def _text(envelope: Envelope) -> bytes:
    """What a held update is decoded from again: a raw line."""
    if isinstance(envelope.body, list):
        return b""
    return (
        envelope.line if envelope.line.endswith(envelope.body) and b" " in envelope.line[:20] else b"0 " + envelope.body
    )
