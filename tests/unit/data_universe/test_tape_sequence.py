"""Binance's rules for joining depth updates to a snapshot, case by case."""

from __future__ import annotations

from cryptoai.data_universe.market_microstructure.sequence import Answer, Diff, Sequence


def _diff(previous: int, last: int) -> Diff:
    return Diff(previous, last, b"")


def test_updates_before_the_snapshot_are_held_then_joined() -> None:
    """Those that end before the snapshot are dropped, the one that spans it and all later ones are applied."""
    sequence = Sequence(keeps_equal=True)
    assert [sequence.diff(_diff(*ids)) for ids in ((10, 20), (20, 30), (30, 40))] == [Answer.HOLD] * 3
    assert [diff.last for diff in sequence.snapshot(25) or []] == [30, 40]
    assert sequence.diff(_diff(40, 50)) is Answer.APPLY


def test_an_update_that_ends_at_the_snapshot_differs_by_venue() -> None:
    """Futures apply u == lastUpdateId, spot drops it."""
    for keeps_equal, expected in ((True, [30]), (False, [])):
        sequence = Sequence(keeps_equal=keeps_equal)
        sequence.diff(_diff(20, 30))
        assert [diff.last for diff in sequence.snapshot(30) or []] == expected
        assert sequence.diff(_diff(30, 40)) is Answer.APPLY


def test_a_snapshot_ahead_of_the_stream_waits_for_it() -> None:
    """Updates that the snapshot already has are old; the first that reaches it is applied."""
    sequence = Sequence(keeps_equal=True)
    sequence.diff(_diff(10, 20))
    assert sequence.snapshot(35) == []
    assert sequence.diff(_diff(20, 30)) is Answer.OLD
    assert sequence.diff(_diff(30, 40)) is Answer.APPLY


def test_a_snapshot_that_the_stream_jumps_over_is_a_gap() -> None:
    """If the first update after the snapshot continues from a later id, something is missing."""
    sequence = Sequence(keeps_equal=True)
    assert sequence.snapshot(35) == []
    assert sequence.diff(_diff(36, 40)) is Answer.GAP
    assert not sequence.synced


def test_a_snapshot_older_than_what_is_held_is_refused() -> None:
    """Updates between snapshot and the first held one are missing, so it proves nothing."""
    sequence = Sequence(keeps_equal=True)
    sequence.diff(_diff(50, 60))
    assert sequence.snapshot(40) is None
    assert not sequence.synced


def test_a_gap_ends_with_the_next_snapshot() -> None:
    """After a gap updates are held, and a snapshot that they join to makes the book known again."""
    sequence = Sequence(keeps_equal=False)
    sequence.snapshot(10)
    assert sequence.diff(_diff(10, 20)) is Answer.APPLY
    assert sequence.diff(_diff(25, 30)) is Answer.GAP
    assert sequence.diff(_diff(30, 40)) is Answer.HOLD
    assert [diff.last for diff in sequence.snapshot(35) or []] == [40]
    assert sequence.diff(_diff(40, 50)) is Answer.APPLY


def test_a_second_snapshot_is_joined_to_recent_updates() -> None:
    """A snapshot that arrives late, in sync, is brought up to date with the updates since."""
    sequence = Sequence(keeps_equal=True)
    sequence.snapshot(10)
    for ids in ((10, 20), (20, 30)):
        sequence.diff(_diff(*ids))
    assert [diff.last for diff in sequence.snapshot(22) or []] == [30]
    assert sequence.diff(_diff(30, 40)) is Answer.APPLY


def test_a_repeated_update_is_old() -> None:
    """The same line twice is no gap."""
    sequence = Sequence(keeps_equal=True)
    sequence.snapshot(10)
    assert sequence.diff(_diff(10, 20)) is Answer.APPLY
    assert sequence.diff(_diff(10, 20)) is Answer.OLD
    assert sequence.diff(_diff(20, 30)) is Answer.APPLY
