"""The kernel's memory of facts: funding, mark, open interest, liquidations, positioning, chain and news.

`features.FeatureEngine` feeds it and `feature_kernel_facts_emit` reads it. A kind of fact has places of its own, so the
order in which kinds are fed changes nothing; rows of one kind come in the order of `known_at`. Windows count by
`known_at` in slots that are named by their number, so a slot that is gone needs no clearing. Nothing looks ahead,
nothing grows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cryptoai.core.clock import SECOND
from cryptoai.data_universe.events import Ints
from cryptoai.data_universe.facts import KINDS
from cryptoai.data_universe.feature_kernel_micro import Reals, inner
from cryptoai.data_universe.jit import njit
from cryptoai.data_universe.market_events.taxonomy import category
from cryptoai.data_universe.onchain.metrics import DAY, METRICS, metric

__all__ = ["KIND_CODES", "FactMemory", "remember_facts", "update_facts"]

FUNDING, PREDICTED, MARK, INTEREST, FORCED, POSITIONING, CHAIN, NEWS = range(8)
KIND_CODES = dict(
    zip(
        (
            "funding",
            "funding_predicted",
            "mark",
            "open_interest",
            "liquidations",
            "positioning",
            "onchain",
            "news_scores",
        ),
        range(8),
        strict=True,
    )
)
"""The kinds that features are made of, by name."""

FORCED_SLOT, INTEREST_SLOT, WHALE_SLOT = SECOND, 5 * SECOND, 60 * SECOND
FORCED_SLOTS, INTEREST_SLOTS, WHALE_SLOTS = 64, 512, 64
DAYS = 32
STORIES = 4_096
MOMENTS = 64

# rows of `times`, each (first known_at, last known_at, event time or other moment in ns); the first eight are the kinds
WHALES, LISTING, BLOCK = 8, 9, 10
FIRST, KNOWN, MOMENT = range(3)

# numbers of `last`
(
    FUNDING_RATE, FUNDING_INTERVAL, PREDICTED_RATE, MARK_PRICE, INDEX_PRICE, CONTRACTS, INTEREST_NOTIONAL, LONG_SHORT,
) = range(8)  # fmt: skip

# rows of `scheduled`
MACRO_DATE, UNLOCK_DATE, EXPIRY_DATE, MAINTENANCE_DATE = range(4)

# columns of `stories`
CATEGORY, SEVERITY, SENTIMENT, CONFIDENCE, SCHEDULED = (
    KINDS["news_scores"].place(n) for n in KINDS["news_scores"].names
)

_WHALE, _BLOCK = metric("whale_transfer"), metric("block_height")
_LISTED, _DELISTED = category("listing"), category("delisting")
_DATED = tuple(category(name) for name in ("macro", "unlock", "expiry", "maintenance"))
_DAILY = np.array([made.cadence == "day" for made in METRICS])


class FactMemory(NamedTuple):
    """All that is remembered of facts, in flat arrays that compiled code can change.

    `chain`: (event time, value) of the newest reading of each metric; `days`, `daily`: its last 32 days by number.
    `told`, `stories`: known_at and content of the last stories, `number`: of all that there were; `scheduled`: moments
    announced, ns, by class.
    """

    times: Ints
    last: Reals
    forced_slots: Ints
    forced: Reals
    interest_slots: Ints
    interest: Reals
    whale_slots: Ints
    whales: Ints
    chain_times: Ints
    chain: Reals
    days: Ints
    daily: Reals
    told: Ints
    stories: Reals
    number: Ints
    scheduled: Ints


def remember_facts() -> FactMemory:
    """A memory that knows nothing."""
    metrics = len(METRICS)
    return FactMemory(
        times=np.full((11, 3), -1, np.int64),
        last=np.full(8, np.nan),
        forced_slots=np.full(FORCED_SLOTS, -1, np.int64),
        forced=np.zeros((FORCED_SLOTS, 2)),
        interest_slots=np.full(INTEREST_SLOTS, -1, np.int64),
        interest=np.zeros((INTEREST_SLOTS, 2)),
        whale_slots=np.full(WHALE_SLOTS, -1, np.int64),
        whales=np.zeros(WHALE_SLOTS, np.int64),
        chain_times=np.full(metrics, -1, np.int64),
        chain=np.full(metrics, np.nan),
        days=np.full((metrics, DAYS), -1, np.int64),
        daily=np.zeros((metrics, DAYS)),
        told=np.zeros(STORIES, np.int64),
        stories=np.zeros((STORIES, len(KINDS["news_scores"].columns))),
        number=np.zeros(1, np.int64),
        scheduled=np.zeros((len(_DATED), MOMENTS), np.int64),
    )


@njit(error_model="numpy")
def update_facts(memory: FactMemory, kind: int, event: Ints, known: Ints, values: Reals, start: int, stop: int) -> None:
    """Applies rows [start, stop) of one kind (a number of KIND_CODES)."""
    for i in range(start, stop):
        row = values[i]
        if kind == FUNDING and event[i] < memory.times[FUNDING, MOMENT]:
            continue  # a correction of an earlier payment
        _saw(memory, kind, known[i], event[i])
        if kind == INTEREST:
            _interest(memory, known[i], row)
        elif kind == FORCED:
            _forced(memory, known[i], row)
        elif kind == CHAIN:
            _chain(memory, event[i], known[i], int(row[0]), row[1])
        elif kind == NEWS:
            _story(memory, known[i], row)
        else:
            _reading(memory, kind, row)


@inner
def _reading(memory: FactMemory, kind: int, row: Reals) -> None:
    """Kinds of which only the newest row counts."""
    last = memory.last
    if kind == FUNDING:
        last[FUNDING_RATE], last[FUNDING_INTERVAL] = row[0], row[1]
    elif kind == PREDICTED:
        last[PREDICTED_RATE] = row[0]
        memory.times[PREDICTED, MOMENT] = int(row[1]) * SECOND
    elif kind == MARK:
        last[MARK_PRICE], last[INDEX_PRICE] = row[0], row[1]
    else:
        last[LONG_SHORT] = row[0]


@inner
def _saw(memory: FactMemory, row: int, known: int, moment: int) -> None:
    times = memory.times[row]
    if times[FIRST] < 0:
        times[FIRST] = known
    times[KNOWN], times[MOMENT] = known, moment


@inner
def _interest(memory: FactMemory, known: int, row: Reals) -> None:
    memory.last[CONTRACTS], memory.last[INTEREST_NOTIONAL] = row[0], row[1]
    slot = known // INTEREST_SLOT
    at = slot % INTEREST_SLOTS
    memory.interest_slots[at] = slot
    memory.interest[at, 0], memory.interest[at, 1] = row[0], row[1]


@inner
def _forced(memory: FactMemory, known: int, row: Reals) -> None:
    slot = known // FORCED_SLOT
    at = slot % FORCED_SLOTS
    if memory.forced_slots[at] != slot:
        memory.forced_slots[at] = slot
        memory.forced[at, 0] = memory.forced[at, 1] = 0.0
    if row[0] != 0.0:
        memory.forced[at, 0 if row[0] < 0 else 1] += row[1] * row[2]


@inner
def _chain(memory: FactMemory, event: int, known: int, index: int, value: float) -> None:
    if index < 0 or index >= len(memory.chain):
        return
    if index == _WHALE:
        _whale(memory, known)
    elif index == _BLOCK:
        _saw(memory, BLOCK, known, max(event, memory.times[BLOCK, MOMENT]))
    elif _DAILY[index]:
        day = event // DAY
        at = day % DAYS
        if memory.days[index, at] <= day:
            memory.days[index, at], memory.daily[index, at] = day, value
    if event >= memory.chain_times[index]:
        memory.chain_times[index], memory.chain[index] = event, value


@inner
def _whale(memory: FactMemory, known: int) -> None:
    _saw(memory, WHALES, known, known)
    slot = known // WHALE_SLOT
    at = slot % WHALE_SLOTS
    if memory.whale_slots[at] != slot:
        memory.whale_slots[at], memory.whales[at] = slot, 0
    memory.whales[at] += 1


@inner
def _story(memory: FactMemory, known: int, row: Reals) -> None:
    at = memory.number[0] % STORIES
    memory.told[at] = known
    for k in range(len(row)):
        memory.stories[at, k] = row[k]
    memory.number[0] += 1
    kind = int(row[CATEGORY])
    if kind in (_LISTED, _DELISTED):
        _saw(memory, LISTING, known, known)
    for k in range(len(_DATED)):
        if kind == _DATED[k] and row[SCHEDULED] > 0:
            _note(memory.scheduled[k], int(row[SCHEDULED]) * SECOND, known)


@inner
def _note(moments: Ints, moment: int, known: int) -> None:
    """Keeps a date: in a free place, else in place of the one that matters least, the oldest past or the farthest."""
    oldest = farthest = 0
    for k in range(len(moments)):
        if moments[k] == moment:
            return
        if moments[k] < moments[oldest]:
            oldest = k
        if moments[k] > moments[farthest]:
            farthest = k
    place = oldest if moments[oldest] <= known else farthest
    if place == oldest or moment < moments[farthest]:
        moments[place] = moment
