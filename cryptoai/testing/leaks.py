"""The future-perturbation check: change all that became known after t, and nothing up to t may differ by a bit.

Used on features, decisions and anything else that claims to know only its past. The check is itself tested with a
planted leak. It must never be given the code under test's own idea of time: moments are those of the tape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe.events import LEVEL, TRADE, EventArray
from cryptoai.data_universe.facts import KINDS, Facts
from cryptoai.data_universe.market_events.taxonomy import CATEGORIES

__all__ = ["Difference", "Output", "Tape", "change_after", "change_facts_after", "first_difference"]

Tape = EventArray | Facts
"""Anything that becomes known row by row."""


class Output(NamedTuple):
    """Something made at `time` (ns) with its exact bytes: a packed row, a journal line, a hash."""

    time: int
    content: bytes


class Difference(NamedTuple):
    """The first place at which two runs part although they were told the same."""

    time: int
    before: bytes | None
    after: bytes | None


def first_difference(
    run: Callable[[tuple[Any, ...]], Sequence[Output]],
    tapes: tuple[Tape, ...],
    moment: int,
    generator: np.random.Generator,
) -> Difference | None:
    """Runs on `tapes` and on tapes changed after `moment` (ns); the first output up to `moment` that differs, or None.

    `run` must be deterministic and give its outputs in order of time.
    """
    honest = run(tapes)
    changed = run(
        tuple(
            change_facts_after(tape, moment, generator)
            if isinstance(tape, Facts)
            else change_after(tape, moment, generator)
            for tape in tapes
        )
    )
    before = [output for output in honest if output.time <= moment]
    after = [output for output in changed if output.time <= moment]
    if not before:
        raise DataError(f"nothing was made up to {moment}, so nothing can be compared; choose a later moment")
    for one, other in zip(before, after, strict=False):
        if one != other:
            return Difference(one.time, one.content, other.content)
    if len(before) == len(after):
        return None
    longer, rest = (before, after) if len(before) > len(after) else (after, before)
    extra = longer[len(rest)]
    return Difference(extra.time, *((extra.content, None) if longer is before else (None, extra.content)))


def change_after(events: EventArray, moment: int, generator: np.random.Generator) -> EventArray:
    """`events` with every row known after `moment` altered: prices moved, sizes redrawn, aggressors flipped."""
    start = events.until(moment)
    count = len(events) - start
    price, qty, side = events.price.copy(), events.qty.copy(), events.side.copy()
    moved = 1 + 0.02 * generator.uniform(-1, 1)
    sized = np.isin(events.kind[start:], (LEVEL, TRADE)) | (qty[start:] > 0)
    price[start:] = np.where(price[start:] > 0, np.maximum(1, (price[start:] * moved).astype(np.int64)), 0)
    qty[start:] = np.where(sized, qty[start:] + generator.integers(1, 1000, count), qty[start:])
    side[start:] = np.where(events.kind[start:] == TRADE, -side[start:], side[start:])
    return replace(events, price=price, qty=qty, side=side)


def change_facts_after(facts: Facts, moment: int, generator: np.random.Generator) -> Facts:
    """`facts` with every row known after `moment` altered: numbers scaled, signs and classes redrawn."""
    start = facts.until(moment)
    count = len(facts) - start
    event_time, values = facts.event_time.copy(), facts.values.copy()
    event_time[start:] -= generator.integers(1, 3_600 * SECOND, count)
    for place, column in enumerate(KINDS[facts.kind].columns):
        after = values[start:, place]
        if column.choices:
            after[:] = generator.choice(column.choices, count)
        elif column.name == "category":
            after[:] = (after + generator.integers(1, len(CATEGORIES), count)) % len(CATEGORIES)
        elif column.unit == "unix s":
            after[after > 0] += generator.integers(60, 3_600)
        elif column.name != "metric":
            after *= generator.uniform(1.5, 3.0, count)
    return replace(facts, event_time=event_time, values=values)
