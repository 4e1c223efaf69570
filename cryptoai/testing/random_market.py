"""Random tapes and facts that keep every rule of their kinds: what the feature tests run beside the real tapes.

For tests only. All of it follows from the generator; nothing of it resembles a market but its form.
"""

from __future__ import annotations

import numpy as np

from cryptoai.core.clock import MS, SECOND
from cryptoai.data_universe.events import ASK, BID, CLEAR, GAP, LEVEL, QUOTE, TRADE, EventArray
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.market_events.taxonomy import CATEGORIES
from cryptoai.data_universe.onchain.metrics import DAY, METRICS, known_at

__all__ = ["START", "random_facts", "random_tape"]

START = 1_700_000_000_000 * MS
"""First moment of every random tape."""
_DEPTH = 14
Book = dict[tuple[int, int], int]


def random_tape(rng: np.random.Generator, seconds: int, *, price: int = 600_000, gaps: int = 0) -> EventArray:
    """A tape of `seconds` s around `price` ticks, some 30 messages a second, with `gaps` holes at random moments."""
    holes = sorted(START + rng.integers(1, 1_000 * seconds, gaps) * MS)
    rows: list[tuple[int, ...]] = []
    book: Book = {}
    now, center = START, price
    while now < START + seconds * SECOND:
        if holes and now >= holes[0]:
            rows.append((now, GAP, 0, 1, 0, 0))
            book = {}
            holes.pop(0)
        if not book or rng.random() < 0.5:
            center += int(rng.integers(-2, 3)) if rng.random() < 0.3 else 0
            rows += _diff(rng, now, book, center)
        elif rng.random() < 0.5:
            rows += _quotes(rng, now, book)
        else:
            side = int(rng.choice((-1, 1)))
            rows.append((now, TRADE, side, 1, center + (side > 0), int(rng.integers(1, 40))))
        now += int(rng.integers(1, 66)) * MS
    table = np.array(rows, np.int64)
    kinds, sides, lasts = (table[:, k].astype(np.int8) for k in (1, 2, 3))
    return EventArray(table[:, 0] - MS, table[:, 0].copy(), kinds, sides, lasts, table[:, 4].copy(), table[:, 5].copy())


def random_facts(rng: np.random.Generator, seconds: int) -> tuple[Facts, ...]:
    """One tape of each kind that features are made of, from days before `START` until `seconds` s after it."""
    end = START + seconds * SECOND
    recent = START - 3_600 * SECOND

    def times(count: int, first: int = recent) -> np.ndarray:
        return np.sort(rng.integers(first, end, count))

    def late(event: np.ndarray) -> np.ndarray:
        return event + rng.integers(0, 2 * SECOND, len(event))

    paid = np.arange(end - end % (4 * 3_600 * SECOND) - DAY, end, 4 * 3_600 * SECOND)
    columns = {
        "funding": (paid, [rng.normal(0, 1e-4, len(paid)), np.full(len(paid), 14_400.0)]),
        "funding_predicted": (t := times(300), [rng.normal(0, 1e-4, 300), np.ceil(t / (4 * 3_600 * SECOND)) * 14_400]),
        "mark": (times(2_000), [p := rng.lognormal(10, 0.01, 2_000), p * rng.lognormal(0, 1e-4, 2_000)]),
        "open_interest": (times(700), [rng.lognormal(8, 0.1, 700), rng.lognormal(18, 0.1, 700)]),
        "liquidations": (
            times(900), [rng.choice([-1.0, 0.0, 1.0], 900), rng.lognormal(10, 0.01, 900), rng.lognormal(0, 1, 900)],
        ),
        "positioning": (times(12), [rng.lognormal(0, 0.3, 12)]),
        "news_scores": (
            t := times(400, START - 2 * DAY),
            [
                rng.integers(0, len(CATEGORIES), 400), rng.random(400), rng.uniform(-1, 1, 400), rng.random(400),
                np.where(rng.random(400) < 0.8, t // SECOND + rng.integers(0, 200_000, 400), 0),
            ],
        ),
    }  # fmt: skip
    made = [Facts.of(kind, t, late(t), np.column_stack(values)) for kind, (t, values) in columns.items()]
    return (*made, _chain(rng, end))


def _chain(rng: np.random.Generator, end: int) -> Facts:
    """Each metric on each of the last 20 days or each quarter of an hour, some corrected a while later."""
    rows = []
    for index, metric in enumerate(METRICS):
        step = DAY if metric.cadence == "day" else 900 * SECOND
        for event in range((START // DAY - 20) * DAY if step == DAY else START - 7_200 * SECOND, end, step):
            known = max(event + SECOND, known_at(index, event) - int(rng.integers(0, 2)) * step // 2)
            versions = (known, known + 3_600 * SECOND)[: 1 + int(rng.random() < 0.2)]
            rows += [(event, at, index, rng.lognormal(3, 0.5)) for at in versions if at <= end]
    table = list(zip(*rows, strict=True))
    return Facts.of("onchain", table[0], table[1], np.column_stack(table[2:]))


def _diff(rng: np.random.Generator, now: int, book: Book, center: int) -> list[tuple[int, ...]]:
    """The rows that lead from `book`, which they change, to one around `center`; all of them if it was empty."""
    spread = int(rng.choice((1, 1, 1, 2, 4)))
    wanted = [(BID, center - 2 * k if k > 2 else center - k) for k in range(_DEPTH)]
    wanted += [(ASK, center + spread + (2 * k if k > 2 else k)) for k in range(_DEPTH)]
    fresh = {
        level: book[level] if level in book and rng.random() < 0.8 else int(rng.integers(1, 500)) for level in wanted
    }
    rows: list[tuple[int, ...]] = [] if book else [(now, CLEAR, 0, 0, 0, 0)]
    gone = [(now, LEVEL, side, 0, price, 0) for side, price in book if (side, price) not in fresh]
    new = [(now, LEVEL, side, 0, price, qty) for (side, price), qty in fresh.items() if book.get((side, price)) != qty]
    book.clear()
    book.update(fresh)
    rows += gone + new
    return [*rows[:-1], (*rows[-1][:3], 1, *rows[-1][4:])] if rows else []


def _quotes(rng: np.random.Generator, now: int, book: Book) -> list[tuple[int, ...]]:
    """The venue's own best quotes: the prices of the book, with sizes a little newer than its."""
    best = {BID: max(p for s, p in book if s == BID), ASK: min(p for s, p in book if s == ASK)}
    made = [(now, QUOTE, side, 0, price, int(rng.integers(1, 500))) for side, price in best.items()]
    return [made[0], (*made[1][:3], 1, *made[1][4:])]
