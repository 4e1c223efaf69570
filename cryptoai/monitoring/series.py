"""Bounded time series for a page: cheap to append to, small to send, never longer than a screen can show.

Used by `journal_view`. When a series is full, every second point of its older half goes: the newest stay exact, the
past keeps its shape. It must never average: a value that is shown was a value that was.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Point", "Series"]

Point = list[float | None]
"""[seconds UTC, value, ...]; None where there was no value."""


@dataclass
class Series:
    """Points in order of time under `columns`; at most `limit` are kept."""

    columns: tuple[str, ...]
    limit: int = 4000
    points: list[Point] = field(default_factory=list)
    _fresh: list[Point] = field(default_factory=list)

    def append(self, time_ns: int, *values: float | None) -> None:
        """Adds one point; a second one at the same time replaces the first."""
        point: Point = [time_ns / 1e9, *values]
        for points in (self.points, self._fresh):
            if points and points[-1][0] == point[0]:
                points.pop()
            points.append(point)
        if len(self.points) > self.limit:
            half = len(self.points) // 2
            self.points = self.points[:half:2] + self.points[half:]
        if len(self._fresh) > self.limit:
            self._fresh = self._fresh[-self.limit :]

    def take(self) -> list[Point]:
        """The points since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh
