"""Which facts can be believed: one verdict a row, from the bounds of its kind, its times and the prices before it.

The fact lake calls `judge` on everything that it is given and keeps what is refused, with the reason, beside the rest.
A verdict may use only rows known earlier, so a live recorder and a later import of the same rows agree. It must never
change a value.

Prices. A price is absurd if it is more than `FACTOR` = 8 times away from both the last price believed and the median
of the last five, or, in a bar, from the bar's own body. A dropped digit is 10 times; the widest honest hour in eight
contracts through March 2020, May 2021 and May 2022 was 2.9 (ETHUSDT, 2020-03-13 02:00, a wick up). A real change of
level (a split, a new denomination) is believed once 20 refused rows in a row agree with one another, or 3 where fewer
than five rows were believed before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cryptoai.core.clock import SECOND
from cryptoai.data_universe.facts import KINDS, FactKind, Facts

__all__ = ["ABSURD", "FACTOR", "judge"]

FACTOR = 8.0
"""How far a price may be from the prices before it."""
ABSURD = "absurd price"
_AGREE = 20
_AGREE_EARLY = 3
_WINDOW = 5
_FIRST = 1_230_768_000 * SECOND
_SKEW = 5 * SECOND

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Reasons = npt.NDArray[np.object_]


def judge(
    facts: Facts, now_ns: int | None = None, before: Facts | None = None, doubted: Facts | None = None
) -> Reasons:
    """Why each row is refused, object[n] of texts, "" where it is believed.

    `now_ns` is the time of the import: what claims to be known more than 5 s later is refused (None: not checked).
    `before` are rows believed earlier and `doubted` rows refused as absurd earlier, both of the same instrument.
    """
    kind = KINDS[facts.kind]
    reasons = np.full(len(facts), "", object)
    for reason, wrong in [*_times(facts, now_ns), *_values(kind, facts.values), *_bars(kind, facts)]:
        _refuse(reasons, reason, wrong)
    if kind.ordered:
        _refuse(reasons, "the clock ran backwards", _backwards(facts, reasons == ""))
    if kind.price:
        _refuse(reasons, ABSURD, _absurd(facts, reasons == "", before, doubted))
    return reasons


def _refuse(reasons: Reasons, reason: str, wrong: Flags) -> None:
    reasons[wrong & (reasons == "")] = reason


def _times(facts: Facts, now_ns: int | None) -> list[tuple[str, Flags]]:
    checks = [
        ("time before 2009, or none", facts.event_time < _FIRST),
        ("known before it happened", facts.known_at < facts.event_time),
    ]
    return checks if now_ns is None else [*checks, ("time in the future", facts.known_at > now_ns + _SKEW)]


def _values(kind: FactKind, values: Floats) -> list[tuple[str, Flags]]:
    checks: list[tuple[str, Flags]] = []
    for place, column in enumerate(kind.columns):
        value = values[:, place]
        gone = np.isnan(value)
        if not column.optional:
            checks.append((f"no {column.name}", gone))
        if column.choices:
            checks.append((f"{column.name} is not one of its values", ~gone & ~np.isin(value, column.choices)))
        checks.append((f"{column.name} out of bounds", ~gone & ~((value >= column.low) & (value <= column.high))))
    if all(column.optional for column in kind.columns):
        checks.append(("no value", np.asarray(np.isnan(values).all(axis=1))))
    return checks


def _bars(kind: FactKind, facts: Facts) -> list[tuple[str, Flags]]:
    """A bar whose high or low is inside its body, with room for rounding."""
    if kind.name != "candles":
        return []
    opened, high, low, close = (facts.column(name) for name in ("open", "high", "low", "close"))
    room = 1e-9 * np.abs(close)
    above, below = np.maximum(opened, close), np.minimum(opened, close)
    return [("impossible bar", (high < above - room) | (low > below + room))]


def _backwards(facts: Facts, believed: Flags) -> Flags:
    """Rows whose event lies before an event that was known earlier."""
    times = np.where(believed, facts.event_time, np.iinfo(np.int64).min)
    newest = np.maximum.accumulate(np.concatenate(([np.iinfo(np.int64).min], times)))[:-1]
    wrong: Flags = facts.event_time < newest
    return wrong


def _absurd(facts: Facts, believed: Flags, before: Facts | None, doubted: Facts | None) -> Flags:
    wrong = np.zeros(len(facts), np.bool_)
    earlier, trust = _earlier(facts.kind, before, doubted)
    keys = _series(facts)
    for key in np.unique(keys):
        places = np.flatnonzero(believed & (keys == key))
        past = _series(earlier) == key
        prices = np.concatenate((_prices(earlier)[past], _prices(facts)[places]))
        given = np.concatenate((trust[past], np.full(len(places), -1, np.int8)))
        verdict = _far(prices, given, KINDS[facts.kind].name == "candles")
        wrong[places] = verdict[int(past.sum()) :]
    return wrong


def _earlier(kind: str, before: Facts | None, doubted: Facts | None) -> tuple[Facts, npt.NDArray[np.int8]]:
    """Rows known earlier in order, and 1 where they are believed."""
    pieces: Sequence[Facts] = [before or Facts.none(kind), doubted or Facts.none(kind)]
    known = np.concatenate([piece.known_at for piece in pieces])
    trust = np.repeat(np.array([1, 0], np.int8), [len(piece) for piece in pieces])
    return Facts.joined(kind, list(pieces)), trust[np.argsort(known, kind="stable")]


def _series(facts: Facts) -> Floats:
    """What tells the price series of one instrument apart: bars of different widths."""
    return facts.column("interval_s") if facts.kind == "candles" else np.zeros(len(facts))


def _prices(facts: Facts) -> Floats:
    return np.column_stack([facts.column(name) for name in KINDS[facts.kind].price])


def _far(prices: Floats, given: npt.NDArray[np.int8], bars: bool) -> Flags:
    """Rows too far from those before; `given` is 1 believed, 0 refused, -1 to be judged; reference price first.

    Most tapes have no such row, which one look at all steps shows; the rows are walked from the first odd one.
    """
    wrong = np.zeros(len(prices), np.bool_)
    odd = np.flatnonzero(_steps(prices, bars) | (given == 0))
    if len(odd):
        start = max(0, int(odd[0]) - _WINDOW)
        wrong[start:] = _walk(prices[start:].tolist(), given[start:].tolist(), bars)
    return wrong


def _steps(prices: Floats, bars: bool) -> Flags:
    """Rows that are not close to the row before."""
    last = np.concatenate((prices[:1, 0], prices[:-1, 0]))[:, None]
    with np.errstate(invalid="ignore"):
        apart = (prices > FACTOR * last) | (prices * FACTOR < last)
        if not bars:
            return np.asarray(apart.any(axis=1))
        above, below = prices[:, :2].max(axis=1), prices[:, :2].min(axis=1)
        torn = (above > FACTOR * below) | (prices[:, 2] > FACTOR * above) | (prices[:, 3] * FACTOR < below)
    odd: Flags = apart[:, 1] | torn
    return odd


def _walk(rows: list[list[float]], given: list[int], bars: bool) -> list[bool]:
    recent: deque[float] = deque(maxlen=_WINDOW)
    doubts: deque[float] = deque(maxlen=_AGREE)
    wrong = []
    for row, trust in zip(rows, given, strict=True):
        near = _plausible(row, recent, bars)
        believed = trust == 1 or (trust < 0 and near)
        if not believed and not (bars and _torn(row)):
            doubts.append(row[0])
            believed = trust < 0 and _agreed(doubts, _AGREE if len(recent) == _WINDOW else _AGREE_EARLY)
        if believed:
            if not near:
                recent.clear()
            doubts.clear()
            recent.append(row[0])
        wrong.append(not believed)
    return wrong


def _agreed(doubts: deque[float], needed: int) -> bool:
    last = list(doubts)[-needed:]
    return len(last) == needed and not _apart(max(last), min(last))


def _plausible(row: list[float], recent: deque[float], bars: bool) -> bool:
    if bars and _torn(row):
        return False
    if not recent:
        return True
    last, median = recent[-1], sorted(recent)[len(recent) // 2]
    if bars and not _apart(row[1], last):
        return True
    return not any(_apart(price, last) and _apart(price, median) for price in row)


def _torn(row: list[float]) -> bool:
    """A bar (close, open, high, low) that leaves its own body by more than the factor, or whose body does."""
    below, above = min(row[0], row[1]), max(row[0], row[1])
    return above > FACTOR * below or row[2] > FACTOR * above or row[3] * FACTOR < below


def _apart(price: float, reference: float) -> bool:
    return price > FACTOR * reference or price * FACTOR < reference
