"""Tapes for the local exchange: shipped or recorded, told as if they began at another time, and told again and again.

Between two tellings the book is forgotten and given anew, as after a venue's own restart; prices jump there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryptoai.backtesting.market import Feed
from cryptoai.core.clock import SECOND
from cryptoai.core.errors import ConfigError
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import EventArray
from cryptoai.data_universe.market_microstructure.tape import read_capture
from cryptoai.testing.slices import TAPES

__all__ = ["read_tape", "retold"]


def read_tape(name: str) -> Feed:
    """The feed of `ID`, a shipped tape such as binance_usdm:BTCUSDT, or of `ID=FILE`, a capture of yours.

    ConfigError if there is no such file; DataError if the instrument is unknown.
    """
    identity, _, file = name.partition("=")
    made = instrument(identity)
    path = Path(file) if file else TAPES / f"{made.venue}_{made.symbol.lower()}_20240808.gz"
    if not path.is_file():
        shipped = ", ".join(sorted(p.name for p in TAPES.glob("*.gz")))
        raise ConfigError(f"there is no tape {path}; give ID=FILE with a capture, or one of those shipped: {shipped}")
    return Feed(made, read_capture(path, made).events)


def retold(events: EventArray, times: int, begin_ns: int | None = None) -> EventArray:
    """The events `times` times in a row, a second apart, the first at `begin_ns` (default: as recorded)."""
    first, last = int(events.event_time.min()), int(events.event_time.max())
    shift = 0 if begin_ns is None else begin_ns - first
    offsets = np.repeat(np.arange(times, dtype=np.int64) * (last - first + SECOND) + shift, len(events))
    return EventArray(
        event_time=np.tile(events.event_time, times) + offsets,
        known_at=np.tile(events.known_at, times) + offsets,
        kind=np.tile(events.kind, times),
        side=np.tile(events.side, times),
        last=np.tile(events.last, times),
        price=np.tile(events.price, times),
        qty=np.tile(events.qty, times),
    )
