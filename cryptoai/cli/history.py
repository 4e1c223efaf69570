"""Feature rows on disk, for every command that needs them: computed once for a tape, then joined point-in-time.

The rows of an instrument are made again only if its tape, the schema or the sample interval changed. Reads the lake,
writes below features.data; needs no Feast.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cryptoai.backtesting.market import Feed
from cryptoai.cli.tapes import fingerprint, rows_of
from cryptoai.core.clock import MS
from cryptoai.core.config import Config
from cryptoai.core.ids import content_hash
from cryptoai.data_universe.events import Ints
from cryptoai.data_universe.freshness import Freshness
from cryptoai.data_universe.history import History, Joined
from cryptoai.data_universe.packed import limits
from cryptoai.data_universe.schema import SCHEMA_HASH

__all__ = ["joined_rows", "sample_times", "writable_history", "write_history"]


def sample_times(config: Config, start: int, stop: int) -> Ints:
    """Every whole data.sample_ms in [start, stop], int64 ns: the same moments for every feed and window."""
    step = config.data.sample_ms * MS
    return np.arange(-(-start // step) * step, stop + 1, step, dtype=np.int64)


def write_history(config: Config, past: History, feed: Feed, *, again: bool = False) -> int:
    """Computes and stores the rows of a feed's whole tape; 0 if they are there already and not wanted `again`."""
    mark = content_hash(f"{fingerprint([feed])} {SCHEMA_HASH} {config.data.sample_ms}".encode(), 32)
    if not again and past.fingerprint(feed.instrument.id) == mark:
        return 0
    times = sample_times(config, int(feed.events.known_at[0]), int(feed.events.known_at[-1]))
    rows = rows_of(feed, times)
    facts = Freshness(feed.facts).times(times, rows.event_times)
    past.write(feed.instrument.id, times, rows, group_times=facts, fingerprint=mark)
    return len(times)


def joined_rows(config: Config, feed: Feed, times: Ints) -> Joined:
    """What was known of a feed at `times`, with groups masked as trading would mask them; stores what is not yet."""
    with writable_history(config) as past:
        write_history(config, past, feed)
        return past.join(feed.instrument.id, times, limits(config.features))


@contextmanager
def writable_history(config: Config) -> Iterator[History]:
    """The offline store of features.data, or one that is gone afterwards where that may not be written."""
    folder = Path(config.features.data)
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if os.access(there, os.W_OK):
        yield History(folder / "offline")
        return
    with tempfile.TemporaryDirectory() as lent:
        yield History(Path(lent) / "offline")
