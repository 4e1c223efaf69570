"""Intervals from payments, and basis from prices that were known."""

from __future__ import annotations

import numpy as np
import pytest

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe.derivatives.basis import annualised, basis, basis_tape, term_slope
from cryptoai.data_universe.derivatives.funding import funding_intervals
from cryptoai.data_universe.facts import Facts

HOUR = 3_600 * SECOND
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ([0, 8, 16, 24], [8, 8, 8, 8]),
        ([0, 8, 16, 20, 24], [8, 8, 8, 4, 4]),
        ([0, 4, 8, 16, 24], [4, 4, 4, 8, 8]),
        ([0, 8, 24, 32], [8, 8, 8, 8]),
        ([0, 4, 8, 16, 20], [4, 4, 4, 4, 4]),
        ([0, 8, 107, 115], [8, 8, 8, 8]),
        ([0, 1, 2, 3], [1, 1, 1, 1]),
        ([5], [8]),
    ],
)
def test_intervals_follow_the_payments(hours: list[int], expected: list[int]) -> None:
    """A change is seen, a missing payment is not one, and milliseconds do not matter."""
    jitter = np.arange(len(hours)) * 7_000_000
    found = funding_intervals(np.array(hours, np.int64) * HOUR + jitter)
    assert (found / 3_600).tolist() == expected


def test_basis_is_a_share_of_spot() -> None:
    """And is not there where a price is not."""
    found = basis(np.array([101.0, 99.0, np.nan, 1.0]), np.array([100.0, 100.0, 100.0, 0.0]))
    np.testing.assert_allclose(found, [0.01, -0.01, np.nan, np.nan])


def test_term_basis_is_interest_a_year() -> None:
    """Two per cent over half a year are four; nothing is said in the last day."""
    now = np.array([0, 182 * DAY, 183 * DAY], np.int64)
    found = annualised(np.full(3, 102.0), np.full(3, 100.0), now, 182 * DAY + 12 * HOUR)
    np.testing.assert_allclose(found, [0.04, np.nan, np.nan])
    np.testing.assert_allclose(term_slope(np.array([100.0]), np.array([101.0]), 0, 73 * DAY), [0.05])
    with pytest.raises(DataError, match="must expire after"):
        term_slope(np.array([1.0]), np.array([1.0]), 5, 5)


def test_a_basis_tape_uses_only_what_was_known() -> None:
    """A late price counts from when it was known, an older one never replaces a newer, a stale one is none."""
    future = Facts.of("mark", [0, 10, 5], [1, 12, 20], [[101.0, np.nan], [102.0, np.nan], [999.0, np.nan]])
    spot = Facts.of("mark", [0, 9], [2, 11], [[100.0, np.nan]] * 2)
    times, found = basis_tape(future, spot, "mark", max_age_ns=10)
    assert times.tolist() == [1, 2, 11, 12, 20]
    np.testing.assert_allclose(found, [np.nan, 0.01, 0.01, 0.02, 0.02])
    assert np.isnan(basis_tape(future, spot, "mark", max_age_ns=5)[1][-1])
    assert np.isnan(basis_tape(Facts.none("mark"), spot, "mark", 5)[1]).all()
