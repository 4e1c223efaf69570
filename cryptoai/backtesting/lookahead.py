"""Whether anything in a replay knew the future: the same replay on a tape that ends earlier must have done the same.

`cryptoai backtest --check-lookahead` calls it. Features, model and venue are run again on data cut at several moments;
every state, decision, verdict, order and fill up to the cut must come out to the byte. What differs names where the
future leaked in, down to the features. It must never compare with a tolerance: the past does not depend on the future.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np

from cryptoai.backtesting.market import Feed, TapeMarket
from cryptoai.backtesting.run import MemoryJournal, Replay, grid, replay_into
from cryptoai.backtesting.windows import Window
from cryptoai.core.journal import Record
from cryptoai.core.messages import AccountView, Conditions, Quote
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.execution import kinds
from cryptoai.execution.ports import Market

__all__ = ["Leak", "check_lookahead", "truncated"]

COMPARED = (kinds.DECISION, kinds.VERDICT, kinds.ORDER, kinds.UPDATE, kinds.FILL)
"""Records that must not change; the rest of a journal (alerts, equity) follows from them."""


@dataclass(frozen=True, slots=True)
class Leak:
    """The first thing that differs: on data until `cut_ns`, at `time_ns`, in records of `kind`; ns UTC.

    `features` are the names of the state's features that differ, if the leak is in the features.
    """

    cut_ns: int
    time_ns: int
    kind: str
    features: tuple[str, ...]

    def __str__(self) -> str:
        where = f"features {', '.join(self.features)}" if self.features else f"a {self.kind}"
        return f"{where} at {self.time_ns} depend on what was known only after {self.cut_ns}"


def check_lookahead(
    replay: Replay, *, cuts: int = 5, on_cut: Callable[[int, int], None] | None = None
) -> tuple[Leak, ...]:
    """The leaks found on tapes that end at `cuts` moments spread over the window, at most one a cut; empty if clean.

    The model is asked again on each; `on_cut(done, all)` is told of the progress.
    """
    whole = _Run.of(replay)
    moments = _moments(replay, cuts)
    found = []
    for done, cut in enumerate(moments):
        leak = _difference(whole, _Run.of(truncated(replay, cut)), cut)
        if leak is not None:
            found.append(leak)
        if on_cut is not None:
            on_cut(done + 1, len(moments))
    return tuple(found)


def truncated(replay: Replay, cut_ns: int) -> Replay:
    """The same replay on tapes that hold nothing known after `cut_ns`, and a window that ends there."""
    feeds = tuple(_until(feed, cut_ns) for feed in replay.feeds)
    return replace(replay, feeds=feeds, window=Window(replay.window.start, cut_ns))


def _until(feed: Feed, cut_ns: int) -> Feed:
    other, bars = feed.companion_events, feed.bars
    return replace(
        feed,
        events=feed.events.slice(0, feed.events.until(cut_ns)),
        companion_events=other.slice(0, other.until(cut_ns)) if other is not None else None,
        facts=tuple(facts.slice(0, facts.until(cut_ns)) for facts in feed.facts),
        bars=bars.slice(0, bars.until(cut_ns)) if bars is not None else None,
    )


def _moments(replay: Replay, cuts: int) -> list[int]:
    """Decision times, the first of them with a decision behind it."""
    times = grid(replay)
    places = np.unique(np.linspace(1, len(times) - 1, min(cuts, len(times) - 1)).astype(int))
    return [times[place] for place in places.tolist()]


@dataclass(frozen=True, slots=True)
class _Run:
    records: list[Record]
    states: dict[tuple[int, str], StateVector]

    @classmethod
    def of(cls, replay: Replay) -> _Run:
        journal, seen = MemoryJournal(), dict[tuple[int, str], StateVector]()
        inner = replay.through

        def through(market: TapeMarket) -> Market:
            return _Witness(inner(market) if inner is not None else market, seen)

        replay_into(replace(replay, through=through), journal)
        return cls(journal.records, seen)

    def until(self, cut_ns: int) -> Iterator[tuple[int, str, Any]]:
        """(time, kind, content) of what must not change; the last instant is open, the window ended in it."""
        for record in self.records:
            if record.kind in COMPARED and record.time < cut_ns:
                yield record.time, record.kind, record.body


class _Witness:
    """A market that remembers the states it gave."""

    def __init__(self, market: Market, seen: dict[tuple[int, str], StateVector]) -> None:
        self._market, self._seen = market, seen

    def advance(self, now_ns: int) -> None:
        self._market.advance(now_ns)

    def quote(self, instrument: str) -> Quote | None:
        return self._market.quote(instrument)

    def state(self, instrument: str, now_ns: int, account: AccountView) -> StateVector:
        state = self._market.state(instrument, now_ns, account)
        self._seen[now_ns, instrument] = state
        return state

    def conditions(self, state: StateVector) -> Conditions | None:
        return self._market.conditions(state)


def _difference(whole: _Run, short: _Run, cut_ns: int) -> Leak | None:
    for key in sorted(whole.states.keys() & short.states.keys()):
        names = _differing(whole.states[key], short.states[key])
        if names and key[0] < cut_ns:
            return Leak(cut_ns, key[0], "state", names)
    for ours, theirs in zip_longest(whole.until(cut_ns), short.until(cut_ns)):
        if ours != theirs:
            time, kind, _ = ours or theirs
            return Leak(cut_ns, time, kind, ())
    return None


def _differing(one: StateVector, other: StateVector) -> tuple[str, ...]:
    if one == other:
        return ()
    cells = zip(one.floats(), one.present(), other.floats(), other.present(), strict=True)
    names = schema.NAMES if one.width == schema.WIDTH else [str(i) for i in range(one.width)]
    return tuple(name for name, (a, b, c, d) in zip(names, cells, strict=True) if (a, b) != (c, d)) or ("event_time",)
