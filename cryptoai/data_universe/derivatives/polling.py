"""Recording what venues answer only when asked: funding, mark and index, open interest, positioning.

`cryptoai data poll` runs it with the ccxt adapter. Each answer is stored at once, so a process killed at any moment
loses at most the round under way; a venue that does not answer is a hole that `inspect` shows, not an end. The time of
knowledge is when the answer was here. It must never invent an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from cryptoai.core.clock import Clock
from cryptoai.core.errors import TransientError
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.lake_facts import write_facts

__all__ = ["Polled", "Reading", "ReadingSource", "record"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One row of a kind as the venue stamped it; values in the order of the kind's columns."""

    kind: str
    event_time: int
    values: tuple[float, ...]


class ReadingSource(Protocol):
    """A venue that can be asked."""

    def read(self, instrument: str) -> Sequence[Reading]:
        """Everything it says of an instrument now. `TransientError` if asking again may help."""
        ...


@dataclass(slots=True)
class Polled:
    """What a recording came to."""

    rounds: int = 0
    written: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


def record(
    root: Path, source: ReadingSource, instruments: Sequence[str], clock: Clock, again: Callable[[], bool]
) -> Polled:
    """Ask for every instrument and store the answers, until `again`, which also waits between rounds, says no."""
    polled = Polled()
    while True:
        for instrument in instruments:
            try:
                _store(root, source.read(instrument), instrument, clock, polled)
            except TransientError as error:
                polled.failures[f"{instrument}: {error}"] += 1
        polled.rounds += 1
        if not again():
            return polled


def _store(root: Path, readings: Sequence[Reading], instrument: str, clock: Clock, polled: Polled) -> None:
    """A venue whose clock is ahead of ours is known no earlier than it says."""
    now = clock.now_ns()
    for kind in sorted({reading.kind for reading in readings}):
        rows = [reading for reading in readings if reading.kind == kind]
        event = np.array([row.event_time for row in rows], np.int64)
        facts = Facts.of(kind, event, np.maximum(event, now), [row.values for row in rows])
        report = write_facts(root, instrument, facts, "poll", now_ns=now)
        polled.written[kind] += report.written
        polled.refused.update(report.refused)
