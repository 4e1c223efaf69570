"""The tape as the kernel's `Market` port: what was known of the market at a moment, and nothing later.

Backtest and shadow replay use it; features come from the very engine that training read, and a group that is too old is
masked as the feature store and training joins mask it. Rows enter in the order they became known to us, unlike at the
simulated exchange, which lives in the exchange's order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np

from cryptoai.backtesting.candles import candle_events
from cryptoai.core.clock import MS
from cryptoai.core.config import BacktestConfig
from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import AccountView, Conditions, Quote
from cryptoai.core.state import StateVector
from cryptoai.data_universe.conditions import bar_conditions, conditions
from cryptoai.data_universe.events import ASK, BID, CLEAR, LEVEL, EventArray
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.features import FeatureEngine
from cryptoai.data_universe.freshness import Freshness
from cryptoai.data_universe.packed import Limits, StoredState, masked, stored
from cryptoai.data_universe.state import build, merge, portfolio

__all__ = ["Feed", "TapeMarket", "schedule"]

Tape = TypeVar("Tape", EventArray, Facts)


@dataclass(frozen=True, slots=True)
class Feed:
    """The events of one traded instrument and, if there is one, of the spot market that its basis is taken to.

    `facts` are the instrument's own, one item a kind (funding, mark). `bars` is set where there is no book: the
    simulated exchange then lives these candles, and `events` is what the bot saw of them (`of_bars`).
    """

    instrument: Instrument
    events: EventArray
    companion: Instrument | None = None
    companion_events: EventArray | None = None
    facts: tuple[Facts, ...] = ()
    bars: Facts | None = None

    @classmethod
    def of_bars(cls, instrument: Instrument, bars: Facts, rules: BacktestConfig, facts: tuple[Facts, ...] = ()) -> Self:
        """A feed of candles alone."""
        return cls(instrument, candle_events(instrument, bars, rules), facts=facts, bars=bars)

    def bars_seen(self, now_ns: int) -> int:
        """How many of the bars the bot knows; 0 without bars."""
        rows = self.events.until(now_ns)
        if self.bars is None or not rows:
            return 0
        return int(np.searchsorted(self.bars.event_time, self.events.event_time[rows - 1], side="right"))

    def facts_of(self, kind: str) -> Facts | None:
        """The facts of a kind, None where there is no tape of it."""
        return next((facts for facts in self.facts if facts.kind == kind and len(facts)), None)

    def delayed(self, delay_ns: int) -> Self:
        """The same facts, each known `delay_ns` later; what the exchange lives does not move."""
        if not delay_ns:
            return self
        companion = self.companion_events
        return replace(
            self,
            events=_later(self.events, delay_ns),
            companion_events=None if companion is None else _later(companion, delay_ns),
            facts=tuple(_later(facts, delay_ns) for facts in self.facts),
        )


def schedule(start_ns: int, stop_ns: int, interval_ms: int) -> range:
    """Decision times: a grid of `interval_ms` from the start of the window, the stop included."""
    return range(start_ns, stop_ns + 1, interval_ms * MS)


class TapeMarket:
    """`execution.ports.Market` over recorded events."""

    def __init__(self, feeds: tuple[Feed, ...], max_position_pct: float, allowed: Limits, delay_ns: int = 0) -> None:
        """`max_position_pct` is the risk budget that the portfolio features are relative to; groups older than
        `allowed` are missing; rows are seen `delay_ns` after the tape says that they were known."""
        self._budget, self._allowed = max_position_pct, allowed
        self._lines = {feed.instrument.id: _Line(feed.delayed(delay_ns)) for feed in feeds}

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The tapes that it replays, with the delay in their known_at."""
        return tuple(line.feed for line in self._lines.values())

    def advance(self, now_ns: int) -> None:
        """Takes in every row with known_at <= now."""
        for line in self._lines.values():
            line.advance(now_ns)

    def quote(self, instrument: str) -> Quote | None:
        """Best bid and ask of the local book; None while it is unknown, one-sided or crossed."""
        return self._line(instrument).quote()

    def state(self, instrument: str, now_ns: int, account: AccountView) -> StateVector:
        """The 200 features at `now_ns`, portfolio included; DataError if they cannot be made."""
        return merge(masked(self.row(instrument, now_ns), now_ns, self._allowed), self.held(instrument, account))

    def row(self, instrument: str, now_ns: int) -> StoredState:
        """The market's features at `now_ns` with the times of each group, whatever their age: what a store keeps."""
        line = self._line(instrument)
        state = build(line.engine, now_ns)
        return stored(state, line.freshness.at(now_ns, state.event_time))

    def held(self, instrument: str, account: AccountView) -> list[float]:
        """The portfolio group, which no store keeps; NaN where missing."""
        line = self._line(instrument)
        return portfolio(line.feed.instrument, account, line.quote(), self._budget)

    def conditions(self, state: StateVector) -> Conditions:
        """As the state's features show them; where there is no book, as the bars do."""
        feed, known = self._line(state.instrument).feed, conditions(state)
        return known if feed.bars is None else bar_conditions(known, feed.bars, feed.bars_seen(state.known_at))

    def _line(self, instrument: str) -> _Line:
        if instrument not in self._lines:
            raise DataError(f"there is no tape of {instrument}; there is {', '.join(self._lines)}")
        return self._lines[instrument]


def _later(tape: Tape, delay_ns: int) -> Tape:
    return replace(tape, known_at=tape.known_at + delay_ns)


class _Line:
    """One instrument's engine and how far its tapes were read."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.engine = FeatureEngine(feed.instrument, feed.companion)
        self.freshness = Freshness(feed.facts)
        self._read = self._read_companion = 0
        self._read_facts = [0] * len(feed.facts)
        self._book_rows = np.flatnonzero((feed.events.kind == LEVEL) | (feed.events.kind == CLEAR))

    def advance(self, now_ns: int) -> None:
        until = self.feed.events.until(now_ns)
        self.engine.update(self.feed.events, self._read, until)
        self._read = until
        if self.feed.companion_events is not None:
            until = self.feed.companion_events.until(now_ns)
            self.engine.update_spot(self.feed.companion_events, self._read_companion, until)
            self._read_companion = until
        for place, facts in enumerate(self.feed.facts):
            until = facts.until(now_ns)
            self.engine.update_facts(facts, self._read_facts[place], until)
            self._read_facts[place] = until

    def quote(self) -> Quote | None:
        book, made = self.engine.book, self.feed.instrument
        bid, ask = book.best_bid, book.best_ask
        if not book.known or not 0 < bid < ask:
            return None
        newest = self._book_rows[np.searchsorted(self._book_rows, self._read) - 1]
        return Quote(
            instrument=made.id,
            event_time=int(self.feed.events.event_time[newest]),
            known_at=int(self.feed.events.known_at[newest]),
            bid=made.price(bid),
            bid_size=made.quantity(book.quantity(BID, bid)),
            ask=made.price(ask),
            ask_size=made.quantity(book.quantity(ASK, ask)),
        )
