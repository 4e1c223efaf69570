"""The order of events at the exchange."""

import numpy as np

from cryptoai.backtesting.matching import exchange_order
from cryptoai.data_universe.events import BID, LEVEL, TRADE, EventArray


def _events(rows: list[tuple[int, int, int]]) -> EventArray:
    table = np.array(rows, dtype=np.int64)
    n = len(table)
    ones = np.ones(n, np.int8)
    return EventArray(
        table[:, 0].copy(),
        table[:, 1].copy(),
        table[:, 2].astype(np.int8),
        ones * BID,
        ones,
        np.arange(n),
        np.arange(n),
    )


def test_the_exchange_sees_events_in_its_own_time() -> None:
    """A trade that we heard of late happened before the book change that we heard of first."""
    time, kind, *_ = exchange_order(_events([(20, 21, LEVEL), (10, 30, TRADE)]))
    assert time.tolist() == [10, 20]
    assert kind.tolist() == [TRADE, LEVEL]


def test_a_stream_never_runs_backwards() -> None:
    """A book change stamped before its predecessor keeps its place, with its predecessor's time."""
    time, _, _, _, price, _ = exchange_order(_events([(20, 21, LEVEL), (15, 22, LEVEL), (18, 23, TRADE)]))
    assert price.tolist() == [2, 0, 1]
    assert time.tolist() == [18, 20, 20]
