"""Versions of one fact: which rows say something new, and in which order a reader meets them.

The fact lake and its compaction call this on whatever rows they hold; it must never depend on how files lie.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryptoai.data_universe.facts import KINDS, Facts

__all__ = ["CONTRADICTS", "KEPT", "SAID", "TWICE", "rank", "ranked", "settle"]

Statuses = npt.NDArray[np.int8]
KEPT, SAID, TWICE, CONTRADICTS = 0, 1, 2, 3


def settle(facts: Facts) -> Statuses:
    """What each row adds to those before it, int8[n]: KEPT, SAID (the value stands already), TWICE or CONTRADICTS.

    Among rows of one fact and one `known_at` the first given stands.
    """
    kind = KINDS[facts.kind]
    bits = (facts.values + 0.0).view(np.int64)
    names = np.column_stack((facts.event_time, *(bits[:, kind.place(name)] for name in kind.key)))
    order = np.lexsort((facts.known_at, *names.T[::-1]))
    fact, known, value = names[order], facts.known_at[order], bits[order]
    new = np.ones(len(facts), np.bool_)
    new[1:] = (fact[1:] != fact[:-1]).any(axis=1)
    version = new.copy()
    version[1:] |= known[1:] != known[:-1]
    heads = np.maximum.accumulate(np.where(version, np.arange(len(facts)), 0))
    compared = np.where(version, heads[np.maximum(np.arange(len(facts)) - 1, 0)], heads)
    same = (value == value[compared]).all(axis=1)
    found = np.where(version, np.where(same & ~new, SAID, KEPT), np.where(same, TWICE, CONTRADICTS))
    statuses = np.empty(len(facts), np.int8)
    statuses[order] = found
    return statuses


def rank(facts: Facts) -> npt.NDArray[np.int64]:
    """The order of rows that no layout of files changes: known_at, then event_time, then values."""
    order: npt.NDArray[np.int64] = np.lexsort((*facts.values.T[::-1], facts.event_time, facts.known_at))
    return order


def ranked(facts: Facts) -> Facts:
    """The rows in that order."""
    order = rank(facts)
    return Facts(facts.kind, facts.event_time[order], facts.known_at[order], facts.values[order])
