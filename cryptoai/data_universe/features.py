"""Features of one instrument, streamed or in batch: the same compiled kernel behind one small object.

Backtests, bots and the training set all use `FeatureEngine`: rows in, 200 numbers with a mask out. It holds no future:
`emit(now)` knows what was applied before, and rows known before the last `emit` are refused.
Portfolio features are not here; they belong to one bot and are merged by `state`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Instrument
from cryptoai.data_universe import schema
from cryptoai.data_universe.events import EventArray, Ints
from cryptoai.data_universe.feature_kernel import EVENT_TIME, NOW, Reals, remember, update
from cryptoai.data_universe.feature_kernel_emit import COMPUTED, constants, emit
from cryptoai.data_universe.market_microstructure.book import Book

__all__ = ["Batch", "FeatureEngine", "batch"]

Mask = npt.NDArray[np.bool_]
_PLACES = np.array([schema.index(name) for name in COMPUTED])


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

    Feed every row known by `now` on both sides, then `emit(now)`; how the rows are cut into calls changes nothing.
    """

    def __init__(self, instrument: Instrument, companion: Instrument | None = None) -> None:
        self.instrument = instrument
        self.companion = companion
        self._own = _Side(instrument)
        self._spot = _Side(companion) if companion else None
        self._static = constants(instrument)
        self._raw: Reals = np.empty(len(COMPUTED))
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

    def emit(self, now_ns: int) -> tuple[Reals, Mask, int]:
        """(values float64[200] with 0.0 where missing, mask bool[200], event time of the newest fact)."""
        spot = self._spot or self._own
        newest = max(int(self._own.memory.whole[NOW]), int(spot.memory.whole[NOW]), self._now)
        if now_ns < newest:
            raise DataError(f"features at {now_ns} were asked for after facts or features of {newest} were seen")
        self._now = now_ns
        emit(
            self._own.memory,
            spot.memory,
            self._spot is not None,
            self._own.book.arrays,
            now_ns,
            self._static,
            self._raw,
        )
        known = np.isfinite(self._raw)
        values, mask = np.zeros(schema.WIDTH), np.zeros(schema.WIDTH, np.bool_)
        values[_PLACES], mask[_PLACES] = np.where(known, self._raw, 0.0), known
        return values, mask, max(int(side.memory.whole[EVENT_TIME]) for side in (self._own, spot))

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


def batch(engine: FeatureEngine, events: EventArray, spot_events: EventArray | None, times: Ints) -> Batch:
    """Features at `times`, int64[n] ascending ns, from a fresh engine that is fed as it would be in a stream."""
    shape = (len(times), schema.WIDTH)
    rows = Batch(np.zeros(shape), np.zeros(shape, np.bool_), np.zeros(len(times), np.int64))
    own = spot = 0
    for row, now in enumerate(times.tolist()):
        until = events.until(now)
        engine.update(events, own, until)
        own = until
        if spot_events is not None:
            until = spot_events.until(now)
            engine.update_spot(spot_events, spot, until)
            spot = until
        rows.values[row], rows.mask[row], rows.event_times[row] = engine.emit(now)
    return rows
