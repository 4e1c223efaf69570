"""When the newest fact of each feature group became true: what the staleness of a group is reckoned from.

Batch (rows on disk) and stream (one state before it is pushed) ask the same function. Market groups live by the book
and trades; on-chain and events by their facts alone, so that a dead feed shows although the market goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cryptoai.data_universe.facts import Facts

__all__ = ["KIND_GROUPS", "group_times"]

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


def group_times(facts: Sequence[Facts], times: Ints, market: Ints) -> dict[str, Ints]:
    """Event time, int64[n] ns, of the newest fact known at `times` for the groups that have facts; 0 for none yet.

    `market`, int64[n], is that of the newest market event; the basis is a derivative of it.
    """
    found: dict[str, Ints] = {}
    for each in facts:
        group = KIND_GROUPS.get(each.kind)
        if group is not None and len(each):
            start = market if group == "derivatives" else np.zeros(len(times), np.int64)
            found[group] = np.maximum(found.get(group, start), _newest(each, times))
    return found


def _newest(facts: Facts, times: Ints) -> Ints:
    """A fact is true from its event time on, but never later than it was known (a scheduled moment is no fact yet)."""
    true = np.maximum.accumulate(np.minimum(facts.event_time, facts.known_at))
    row = np.searchsorted(facts.known_at, times, side="right")
    return np.where(row > 0, true[np.maximum(row - 1, 0)], 0)
