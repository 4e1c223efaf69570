"""The breaking market breaks where it says, and its oracle is calibrated."""

import numpy as np
import pytest

from cryptoai.core.errors import DataError
from cryptoai.testing.market.breaks import KINDS, MIN_GAP, break_market


@pytest.mark.parametrize("kind", KINDS)
def test_levels_change_at_the_breaks_and_nowhere_else(kind: str) -> None:
    """The truth of a row is its level; the first row of a level is its break; breaks keep their distance."""
    market = break_market(1, 20_000, kind)
    changed = np.flatnonzero(np.diff(market.level)) + 1
    assert changed.tolist() == market.breaks.tolist()
    assert np.diff(market.breaks).min() >= MIN_GAP
    assert market.level[0] == 0


def test_volatility_doubles_and_the_mean_shifts() -> None:
    """By the parameters: sd 1 and 2, or mean 0 and the shift at sd 1."""
    wild, shifted = break_market(2, 100_000), break_market(2, 100_000, "mean", shift=1.5)
    for level in (0, 1):
        assert wild.values[wild.level == level].std() == pytest.approx(1.0 + level, rel=0.03)
        here = shifted.values[shifted.level == level]
        assert here.mean() == pytest.approx(1.5 * level, abs=0.03)
        assert here.std() == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_oracle_means_what_it_says(kind: str) -> None:
    """Of rows to which it gives p, a share p had a break in the last 20 rows."""
    market = break_market(3, 40_000, kind)
    p = market.oracle()
    recent = np.zeros(len(p))
    for row in market.breaks:
        recent[row : row + 20] = 1.0
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.7), (0.7, 1.01)):
        chosen = (p >= low) & (p < high)
        assert recent[chosen].mean() == pytest.approx(p[chosen].mean(), abs=0.08)


def test_an_unknown_kind_is_refused() -> None:
    """By name, with the kinds that there are."""
    with pytest.raises(DataError, match="volatility, mean"):
        break_market(1, 100, "colour")
