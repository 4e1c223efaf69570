"""Bounded series: exact at the end, thinned at the start, never averaged."""

from __future__ import annotations

from cryptoai.monitoring.series import Series


def test_the_newest_points_stay_exact_and_the_oldest_are_thinned() -> None:
    """Every kept point was a point; the first is still there."""
    series = Series(("v",), limit=100)
    for i in range(1_000):
        series.append(i * 1_000_000_000, float(i * i))
    times = [point[0] for point in series.points]
    assert len(times) <= 100
    assert times == sorted(times)
    assert times[0] == 0
    assert times[-50:] == [float(i) for i in range(950, 1_000)]
    assert all(point[1] == (point[0] or 0) ** 2 for point in series.points)


def test_a_second_point_of_a_moment_replaces_the_first() -> None:
    """Equity after a fill and at the decision of the same moment is one point."""
    series = Series(("v",))
    series.append(1, 1.0)
    series.append(1, 2.0)
    assert series.points == series.take() == [[1e-9, 2.0]]
    assert series.take() == []
