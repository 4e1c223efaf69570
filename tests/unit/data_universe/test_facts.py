"""Facts: two times, one order, and shapes that cannot be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from cryptoai.core.errors import DataError
from cryptoai.data_universe.facts import KINDS, Facts


def test_rows_are_sorted_by_when_they_became_known() -> None:
    """Two rows known at once keep their order, so that the later one of a source stays the later one."""
    facts = Facts.of("positioning", [3, 1, 2], [5, 4, 5], [0.3, 0.1, 0.2])
    assert facts.known_at.tolist() == [4, 5, 5]
    assert facts.column("long_short_ratio").tolist() == [0.1, 0.3, 0.2]
    assert facts.until(4) == 1
    assert len(facts.slice(1, 3)) == 2


def test_the_constructor_refuses_what_is_not_in_order() -> None:
    """Whoever skips `Facts.of` must have sorted."""
    time = np.array([2, 1], np.int64)
    with pytest.raises(DataError, match="not sorted by known_at"):
        Facts("positioning", time, time, np.ones((2, 1)))


@pytest.mark.parametrize(
    ("kind", "rows", "match"),
    [
        ("weather", [[1.0]], "the kinds are funding"),
        ("funding", [[0.1]], r"values of shape \(1, 2\)"),
        ("mark", [[1.0, 2.0, 3.0]], r"values of shape \(1, 2\)"),
    ],
)
def test_a_wrong_kind_or_width_is_named(kind: str, rows: list[list[float]], match: str) -> None:
    """The sentence says which kinds or which shape there are."""
    with pytest.raises(DataError, match=match):
        Facts.of(kind, [1], [1], rows)


def test_times_are_integers_of_nanoseconds() -> None:
    """Floats lose nanoseconds; the constructor refuses them."""
    with pytest.raises(DataError, match="int64 times"):
        Facts("positioning", np.array([1.0]), np.array([1], np.int64), np.ones((1, 1)))  # type: ignore[arg-type]


def test_the_fingerprint_sees_every_column() -> None:
    """Changing one time, value or the kind changes it."""
    base = Facts.of("mark", [1], [2], [[3.0, np.nan]])
    others = [
        Facts.of("mark", [0], [2], [[3.0, np.nan]]),
        Facts.of("mark", [1], [3], [[3.0, np.nan]]),
        Facts.of("mark", [1], [2], [[3.0, 4.0]]),
        Facts.of("open_interest", [1], [2], [[3.0, np.nan]]),
    ]
    assert len({base.fingerprint(), *(other.fingerprint() for other in others)}) == 5
    assert base.fingerprint() == Facts.of("mark", [1], [2], [[3.0, np.nan]]).fingerprint()


def test_joining_keeps_every_row_in_order() -> None:
    """Pieces of several files are one tape; no pieces are an empty one."""
    first, second = Facts.of("mark", [1, 9], [1, 9], [[1.0, 1.0], [9.0, 9.0]]), Facts.of("mark", [5], [5], [[5.0, 5.0]])
    assert Facts.joined("mark", [first, second]).column("mark").tolist() == [1.0, 5.0, 9.0]
    assert len(Facts.joined("mark", [])) == 0
    assert first.take(np.array([1])).known_at.tolist() == [9]


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_kind_is_whole(kind: object) -> None:
    """Keys and prices name columns, bounds are not empty, names are unique."""
    found = KINDS[kind.name]  # type: ignore[attr-defined]
    assert set(found.key) | set(found.price) <= set(found.names)
    assert len(set(found.names)) == len(found.names)
    assert all(column.low < column.high for column in found.columns)
    assert Facts.none(found.name).values.shape == (0, len(found.columns))
    with pytest.raises(DataError, match="has no column"):
        found.place("nothing")
