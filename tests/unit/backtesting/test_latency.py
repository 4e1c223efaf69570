"""Delays, constant and recorded."""

import numpy as np
import pytest

from cryptoai.backtesting.latency import ConstantLatency, RecordedLatency, read_latency
from cryptoai.core.errors import DataError


def _recorded() -> RecordedLatency:
    """Sent at 0 and 100: 10 and 30 there, 5 and 15 back."""
    return RecordedLatency(np.array([0, 100]), np.array([10, 130]), np.array([15, 145]))


def test_a_constant_goes_both_ways() -> None:
    """There, back, and what can be seen."""
    delay = ConstantLatency(3, 5)
    assert (delay.arrives(100), delay.known(100), delay.seen(105)) == (103, 105, 100)


def test_between_records_it_is_linear_and_beyond_them_constant() -> None:
    """Half way between 10 and 30 lie 20."""
    delay = _recorded()
    assert [delay.arrives(t) for t in (-50, 0, 50, 100, 500)] == [-40, 10, 70, 130, 530]
    assert [delay.known(t) for t in (10, 70, 130, 230)] == [15, 80, 145, 245]


def test_what_is_seen_is_the_newest_that_is_known() -> None:
    """The inverse of `known`, at every ns."""
    delay = _recorded()
    for now in range(0, 300, 7):
        seen = delay.seen(now)
        assert delay.known(seen) <= now < delay.known(seen + 1)


def test_messages_do_not_overtake_each_other() -> None:
    """The second record arrived before the first: it is held back."""
    delay = RecordedLatency(np.array([0, 10]), np.array([50, 20]), np.array([60, 30]))
    arrivals = [delay.arrives(t) for t in range(60)]
    assert arrivals == sorted(arrivals)


def test_a_file_is_read_and_a_wrong_one_named(tmp_path) -> None:
    """Three columns, in order of cause and effect."""
    path = tmp_path / "orders.csv"
    path.write_text("send_ns,exchange_ns,ack_ns\n0,10,15\n100,130,145\n")
    assert read_latency(path).arrives(50) == 70
    path.write_text("send_ns,exchange_ns,ack_ns\n10,5,15\n")
    with pytest.raises(DataError, match="before it is sent"):
        read_latency(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"orders\.csv"):
        read_latency(path)
