"""The future-perturbation check: change all that became known after t, and nothing up to t may differ by a bit.

Used on features, decisions and anything else that claims to know only its past. The check is itself tested with a
planted leak. It must never be given the code under test's own idea of time: moments are those of the tape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cryptoai.core.errors import DataError
from cryptoai.data_universe.events import LEVEL, TRADE, EventArray

__all__ = ["Difference", "Output", "change_after", "first_difference"]


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
    run: Callable[[tuple[EventArray, ...]], Sequence[Output]],
    tapes: tuple[EventArray, ...],
    moment: int,
    generator: np.random.Generator,
) -> Difference | None:
    """Runs on `tapes` and on tapes changed after `moment` (ns); the first output up to `moment` that differs, or None.

    `run` must be deterministic and give its outputs in order of time.
    """
    honest = run(tapes)
    changed = run(tuple(change_after(tape, moment, generator) for tape in tapes))
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
