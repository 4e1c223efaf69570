"""Features of one instrument, streamed or in batch: the same compiled kernel behind one small object.

Backtests, bots and the training set all use `FeatureEngine`: rows in, 200 numbers with a mask out. It holds no future:
`emit(now)` knows what was applied before, and rows known before the last `emit` are refused.
Portfolio features are not here; they belong to one bot and are merged by `state`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.data_universe import schema
from cryptoai.data_universe.events import EventArray, Ints
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.feature_kernel import ASK_PRICE, BID_PRICE, EVENT_TIME, NOW, SINCE, remember, update
from cryptoai.data_universe.feature_kernel_emit import COMPUTED, constants, emit
from cryptoai.data_universe.feature_kernel_facts import KIND_CODES, remember_facts, update_facts
from cryptoai.data_universe.feature_kernel_facts_emit import FROM_FACTS, emit_facts
from cryptoai.data_universe.feature_kernel_micro import Reals
from cryptoai.data_universe.market_microstructure.book import Book

__all__ = ["FACT_KINDS", "Batch", "FeatureEngine", "batch"]

Mask = npt.NDArray[np.bool_]
FACT_KINDS = tuple(KIND_CODES)
"""The kinds of facts that features are made of."""
_PLACES = np.array([schema.index(name) for name in (*COMPUTED, *FROM_FACTS)])


class _Side:
    """Book and memory of one instrument, fed together."""

    def __init__(self, instrument: Instrument) -> None:
        self.book = Book()
        self.memory = remember(instrument)

    def update(self, events: EventArray, start: int, stop: int) -> None:
        self.book.reserve(events, start, stop)
        update(
            self.memory,
            self.book.arrays,
            (events.event_time, events.known_at),
            (events.kind, events.side, events.last),
            (events.price, events.qty),
            start,
            stop,
        )


class FeatureEngine:
    """Incremental features of `instrument`, with `companion` (its spot market) if there is one.

    Feed every row and fact known by `now`, then `emit(now)`; how they are cut into calls, and in which order the calls
    of different tapes come, changes nothing.
    """

    def __init__(self, instrument: Instrument, companion: Instrument | None = None) -> None:
        self.instrument = instrument
        self.companion = companion
        self._own = _Side(instrument)
        self._spot = _Side(companion) if companion else None
        self._facts = remember_facts()
        self._fed = [0] * len(KIND_CODES)
        listed = -1 if instrument.listed is None else instrument.listed
        self._asset = (constants(instrument), listed)
        self._raw: Reals = np.empty(len(COMPUTED) + len(FROM_FACTS))
        self._now = 0

    @property
    def book(self) -> Book:
        """The instrument's own book after the rows so far; read only."""
        return self._own.book

    def update(self, events: EventArray, start: int = 0, stop: int | None = None) -> None:
        """Applies rows [start, stop) of the instrument's own events."""
        self._feed(self._own, events, start, stop)

    def update_spot(self, events: EventArray, start: int = 0, stop: int | None = None) -> None:
        """Applies rows [start, stop) of the companion's events."""
        if self._spot is None:
            raise DataError(f"{self.instrument.id} has no spot companion here; give FeatureEngine one")
        self._feed(self._spot, events, start, stop)

    def update_facts(self, facts: Facts, start: int = 0, stop: int | None = None) -> None:
        """Applies rows [start, stop) of one kind of fact about the instrument, its chain or the news.

        Kinds that no feature is made of (candles) are passed over; DataError if a row comes too late to be believed.
        """
        stop = len(facts) if stop is None else stop
        if facts.kind not in KIND_CODES or start >= stop:
            return
        code, first = KIND_CODES[facts.kind], int(facts.known_at[start])
        if first < max(self._now, self._fed[code]):
            late = max(self._now, self._fed[code])
            raise DataError(f"a fact of {facts.kind} known at {first} came after {late} was seen")
        self._fed[code] = int(facts.known_at[stop - 1])
        # Copies have one memory layout, whatever the source had, so that nothing is compiled while trading.
        event, known = (np.array(times[start:stop]) for times in (facts.event_time, facts.known_at))
        update_facts(self._facts, code, event, known, np.array(facts.values[start:stop]), 0, stop - start)

    def emit(self, now_ns: int) -> tuple[Reals, Mask, int]:
        """(values float64[200] with 0.0 where missing, mask bool[200], event time of the newest market event)."""
        spot = self._spot or self._own
        newest = max(int(self._own.memory.whole[NOW]), int(spot.memory.whole[NOW]), self._now, *self._fed)
        if now_ns < newest:
            raise DataError(f"features at {now_ns} were asked for after facts or features of {newest} were seen")
        self._now = now_ns
        memories = (self._own.memory, spot.memory)
        book = self._own.book.arrays
        emit(memories, self._spot is not None, book, now_ns, self._asset, self._raw[: len(COMPUTED)])
        emit_facts(self._facts, now_ns, self._contract_worth(), self._raw[len(COMPUTED) :])
        known = np.isfinite(self._raw)
        values, mask = np.zeros(schema.WIDTH), np.zeros(schema.WIDTH, np.bool_)
        values[_PLACES], mask[_PLACES] = np.where(known, self._raw, 0.0), known
        return values, mask, max(int(memory.whole[EVENT_TIME]) for memory in memories)

    def _contract_worth(self) -> float:
        """Quote units that one contract of open interest is worth, NaN while there is no mid."""
        whole = self._own.memory.whole
        if self.instrument.contract is Contract.INVERSE:
            return float(self.instrument.contract_size)
        if whole[SINCE] < 0:
            return math.nan
        return 0.5 * float(whole[BID_PRICE] + whole[ASK_PRICE]) * float(self.instrument.tick)

    def _feed(self, side: _Side, events: EventArray, start: int, stop: int | None) -> None:
        stop = len(events) if stop is None else stop
        if start < stop and events.known_at[start] < self._now:
            raise DataError(f"a row known at {events.known_at[start]} came after the features of {self._now} were read")
        side.update(events, start, stop)


class Batch(NamedTuple):
    """Features at n moments: values float64[n, 200], 0.0 where missing; mask bool[n, 200]; event_times int64[n]."""

    values: Reals
    mask: Mask
    event_times: Ints


def batch(
    engine: FeatureEngine,
    events: EventArray,
    spot_events: EventArray | None,
    times: Ints,
    facts: Sequence[Facts] = (),
) -> Batch:
    """Features at `times`, int64[n] ascending ns, from a fresh engine that is fed as it would be in a stream."""
    shape = (len(times), schema.WIDTH)
    rows = Batch(np.zeros(shape), np.zeros(shape, np.bool_), np.zeros(len(times), np.int64))
    feeds: list[tuple[Callable[[int, int], None], list[int]]] = [
        (functools.partial(feed, tape), np.searchsorted(tape.known_at, times, side="right").tolist())
        for feed, tape in _tapes(engine, events, spot_events, facts)
    ]
    done = [0] * len(feeds)
    for row, now in enumerate(times.tolist()):
        for k, (feed, untils) in enumerate(feeds):
            if untils[row] > done[k]:
                feed(done[k], untils[row])
                done[k] = untils[row]
        rows.values[row], rows.mask[row], rows.event_times[row] = engine.emit(now)
    return rows


def _tapes(
    engine: FeatureEngine, events: EventArray, spot_events: EventArray | None, facts: Sequence[Facts]
) -> Iterator[tuple[Callable[..., None], EventArray | Facts]]:
    yield engine.update, events
    if spot_events is not None:
        yield engine.update_spot, spot_events
    for one in facts:
        yield engine.update_facts, one
