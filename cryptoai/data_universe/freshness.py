"""When the newest fact of each feature group became true: what the staleness of a group is reckoned from.

Batch (rows on disk) and stream (a state before it is pushed, or used in a backtest) ask the same object. Market groups
live by the book and trades; on-chain and events by their facts alone: a dead feed shows although the market goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cryptoai.data_universe.facts import Facts

__all__ = ["KIND_GROUPS", "Freshness"]

Ints = npt.NDArray[np.int64]

KIND_GROUPS = {
    "funding": "derivatives",
    "funding_predicted": "derivatives",
    "mark": "derivatives",
    "open_interest": "derivatives",
    "liquidations": "derivatives",
    "positioning": "derivatives",
    "onchain": "onchain",
    "news_scores": "events",
}
"""The group that a kind of fact feeds."""


class Freshness:
    """The facts of one instrument, ready to be asked at any moment."""

    def __init__(self, facts: Sequence[Facts]) -> None:
        groups = ((KIND_GROUPS.get(each.kind), each) for each in facts)
        self._feeds = [(group, each.known_at, _true_since(each)) for group, each in groups if group and len(each)]

    def times(self, times: Ints, market: Ints) -> dict[str, Ints]:
        """Event time, int64[n] ns, of the newest fact known at `times` for the groups that have facts; 0 for none yet.

        `market`, int64[n], is that of the newest market event; the basis is a derivative of it.
        """
        found: dict[str, Ints] = {}
        for group, known, true in self._feeds:
            start = market if group == "derivatives" else np.zeros(len(times), np.int64)
            row = np.searchsorted(known, times, side="right")
            newest = np.where(row > 0, true[np.maximum(row - 1, 0)], 0)
            found[group] = np.maximum(found.get(group, start), newest)
        return found

    def at(self, now_ns: int, market: int) -> dict[str, int]:
        """The same at one moment."""
        found = self.times(np.array([now_ns], np.int64), np.array([market], np.int64))
        return {group: int(each[0]) for group, each in found.items()}


def _true_since(facts: Facts) -> Ints:
    """A fact is true from its event time on, but never later than it was known (a scheduled moment is no fact yet)."""
    since: Ints = np.maximum.accumulate(np.minimum(facts.event_time, facts.known_at))
    return since
