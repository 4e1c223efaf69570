"""The planted alpha market has the truth that it claims."""

import numpy as np
import pytest

from cryptoai.core.errors import ConfigError
from cryptoai.testing.market.planted_alpha import PlantedAlpha


def test_signal_and_returns_have_the_claimed_moments() -> None:
    """Unit variance and half-life 8 of the signal, 2 % of the returns' variance explained, noise of 1 %."""
    path = PlantedAlpha().path(400_000, np.random.default_rng(0))
    assert path.signal.std() == pytest.approx(1.0, abs=0.02)
    assert np.corrcoef(path.signal[8:], path.signal[:-8])[0, 1] == pytest.approx(0.5, abs=0.015)
    assert np.corrcoef(path.signal, path.returns)[0, 1] ** 2 == pytest.approx(0.02, abs=0.002)
    assert (path.returns - PlantedAlpha().slope * path.signal).std() == pytest.approx(0.01, rel=0.01)


def test_noise_only_market_has_no_edge() -> None:
    """R^2 of zero: slope, Markowitz and aim are all zero."""
    market = PlantedAlpha(r_squared=0.0)
    assert (market.slope, market.markowitz, market.optimum()[1]) == (0.0, 0.0, 0.0)
    path = market.path(100_000, np.random.default_rng(1))
    assert abs(np.corrcoef(path.signal, path.returns)[0, 1]) < 0.01


def test_optimum_is_the_published_formula() -> None:
    """Rate .387 and aim 2.53 at the documented parameters."""
    assert PlantedAlpha().optimum() == pytest.approx((0.38659, 2.53216), abs=1e-4)


def test_optimum_cannot_be_bettered_by_another_linear_rule() -> None:
    """Any other rate or aim earns less, by exact moments; so the formula is the optimum of this very objective."""
    market = PlantedAlpha()
    rate, aim = market.optimum()
    others = [(rate * r, aim * a) for r in (0.97, 1.0, 1.03) for a in (0.97, 1.0, 1.03) if (r, a) != (1.0, 1.0)]
    assert all(market.capture(*other) < 1.0 for other in others)
    assert market.capture(rate, aim) == 1.0


def test_captures_of_simple_rules() -> None:
    """Markowitz at once .38, half the size .75, twice the rate .82, half the rate .91."""
    market = PlantedAlpha()
    rate, aim = market.optimum()
    rules = [(1.0, market.markowitz), (rate, aim / 2), (2 * rate, aim), (rate / 2, aim)]
    assert [market.capture(*rule) for rule in rules] == pytest.approx([0.382, 0.75, 0.821, 0.91], abs=1e-3)


def test_path_is_repeatable_and_refuses_a_share_of_one() -> None:
    """Equal seeds, equal paths; all of the variance cannot be signal."""
    first, second = (PlantedAlpha().path(100, np.random.default_rng(3)) for _ in "ab")
    assert np.array_equal(first.returns, second.returns)
    with pytest.raises(ConfigError, match="r_squared"):
        PlantedAlpha(r_squared=1.0)
