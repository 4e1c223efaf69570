"""Binance's rules for joining depth updates to a snapshot, case by case."""

from __future__ import annotations

from cryptoai.data_universe.market_microstructure.messages import Depth
from cryptoai.data_universe.market_microstructure.sequence import Answer, BinanceRule


def _depth(previous: int, last: int) -> Depth:
    return Depth("X", 0, [], [], previous=previous, last=last)


def _judged(rule: BinanceRule, previous: int, last: int) -> Answer:
    return rule.diff(_depth(previous, last), f"{previous} {last}".encode())


def _joined(rule: BinanceRule, update_id: int) -> list[int] | str:
    """The last ids of what a snapshot joins to, or why it does not."""
    found = rule.snapshot(Depth("X", 0, [], [], snapshot=True, last=update_id))
    return found if isinstance(found, str) else [int(text.split()[1]) for text in found]


def test_updates_before_the_snapshot_are_held_then_joined() -> None:
    """Those that end before the snapshot are dropped, the one that spans it and all later ones are applied."""
    sequence = BinanceRule(keeps_equal=True)
    assert [_judged(sequence, *ids) for ids in ((10, 20), (20, 30), (30, 40))] == [Answer.HOLD] * 3
    assert _joined(sequence, 25) == [30, 40]
    assert _judged(sequence, 40, 50) is Answer.APPLY


def test_an_update_that_ends_at_the_snapshot_differs_by_venue() -> None:
    """Futures apply u == lastUpdateId, spot drops it."""
    for keeps_equal, expected in ((True, [30]), (False, [])):
        sequence = BinanceRule(keeps_equal=keeps_equal)
        _judged(sequence, 20, 30)
        assert _joined(sequence, 30) == expected
        assert _judged(sequence, 30, 40) is Answer.APPLY


def test_a_snapshot_ahead_of_the_stream_waits_for_it() -> None:
    """Updates that the snapshot already has are old; the first that reaches it is applied."""
    sequence = BinanceRule(keeps_equal=True)
    _judged(sequence, 10, 20)
    assert _joined(sequence, 35) == []
    assert _judged(sequence, 20, 30) is Answer.OLD
    assert _judged(sequence, 30, 40) is Answer.APPLY


def test_a_snapshot_that_the_stream_jumps_over_is_a_gap() -> None:
    """If the first update after the snapshot continues from a later id, something is missing."""
    sequence = BinanceRule(keeps_equal=True)
    assert _joined(sequence, 35) == []
    assert _judged(sequence, 36, 40) is Answer.GAP
    assert not sequence.synced


def test_a_snapshot_older_than_what_is_held_is_refused() -> None:
    """Updates between snapshot and the first held one are missing, so it proves nothing."""
    sequence = BinanceRule(keeps_equal=True)
    _judged(sequence, 50, 60)
    assert isinstance(_joined(sequence, 40), str)
    assert not sequence.synced


def test_a_gap_ends_with_the_next_snapshot() -> None:
    """After a gap updates are held, and a snapshot that they join to makes the book known again."""
    sequence = BinanceRule(keeps_equal=False)
    _joined(sequence, 10)
    assert _judged(sequence, 10, 20) is Answer.APPLY
    assert _judged(sequence, 25, 30) is Answer.GAP
    assert _judged(sequence, 30, 40) is Answer.HOLD
    assert _joined(sequence, 35) == [40]
    assert _judged(sequence, 40, 50) is Answer.APPLY


def test_a_second_snapshot_is_joined_to_recent_updates() -> None:
    """A snapshot that arrives late, in sync, is brought up to date with the updates since."""
    sequence = BinanceRule(keeps_equal=True)
    _joined(sequence, 10)
    for ids in ((10, 20), (20, 30)):
        _judged(sequence, *ids)
    assert _joined(sequence, 22) == [30]
    assert _judged(sequence, 30, 40) is Answer.APPLY


def test_a_repeated_update_is_old() -> None:
    """The same line twice is no gap."""
    sequence = BinanceRule(keeps_equal=True)
    _joined(sequence, 10)
    assert _judged(sequence, 10, 20) is Answer.APPLY
    assert _judged(sequence, 10, 20) is Answer.OLD
    assert _judged(sequence, 20, 30) is Answer.APPLY
