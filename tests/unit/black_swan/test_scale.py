"""The expected size of a loss from what is known before it."""

import numpy as np
import pytest

from cryptoai.black_swan.scale import LogScale, candle_drivers
from cryptoai.core.errors import BundleError, DataError

MINUTE = 60_000_000_000


def test_the_planted_line_is_recovered() -> None:
    """exp(1 + .5 x1 - .3 x2) times unit shocks gives those weights back, the noise driver none."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20_000, 3))
    losses = np.exp(1.0 + 0.5 * x[:, 0] - 0.3 * x[:, 1]) * rng.exponential(size=20_000)
    scale = LogScale.fit(losses, x, ridge=0.0)
    assert scale.weights / scale.spread == pytest.approx([0.5, -0.3, 0.0], abs=0.02)
    assert losses.mean() == pytest.approx(scale.of(x).mean(), rel=0.02)


def test_the_mean_is_right_in_sample() -> None:
    """Whatever the law of the losses, loss over scale has mean 1 on the rows it was fitted on."""
    rng = np.random.default_rng(2)
    losses, x = rng.standard_t(3, 3000), rng.normal(size=(3000, 2))
    assert (np.abs(losses) / LogScale.fit(losses, x).of(x)).mean() == pytest.approx(1.0, abs=1e-3)


def test_a_driver_beyond_training_is_not_believed() -> None:
    """Ten deviations out counts as three."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2000, 1))
    scale = LogScale.fit(np.exp(x[:, 0]), x)
    assert scale.of(np.array([[10.0]])) == scale.of(np.array([[scale.centre[0] + 3 * scale.spread[0]]]))


def test_an_unknown_driver_counts_as_average() -> None:
    """Rows without it neither teach nor move; the other driver goes on."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4000, 2))
    losses = np.exp(0.5 * x[:, 0] + 0.2 * x[:, 1]) * rng.exponential(size=4000)
    x[::2, 1] = np.nan
    scale = LogScale.fit(losses, x, ridge=0.0)
    assert scale.weights[0] / scale.spread[0] == pytest.approx(0.5, abs=0.05)
    average = np.array([[0.0, np.nan], [0.0, scale.centre[1]]])
    assert scale.of(average)[0] == pytest.approx(scale.of(average)[1])
    assert LogScale.fit(losses, np.full((4000, 1), np.nan)).of(np.array([[5.0]])) == pytest.approx(losses.mean())


def test_it_survives_storage() -> None:
    """Read back it answers the same bit for bit; a broken tensor is refused."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(500, 2))
    scale = LogScale.fit(rng.normal(size=500), x)
    stored = scale.tensors()
    assert np.array_equal(LogScale.from_tensors(stored).of(x), scale.of(x))
    stored["scale.spread"][0] = 0.0
    with pytest.raises(BundleError, match="impossible"):
        LogScale.from_tensors(stored)
    with pytest.raises(BundleError, match=r"scale\.level"):
        LogScale.from_tensors({name: row for name, row in stored.items() if name != "scale.level"})


def test_candle_drivers_know_only_earlier_bars() -> None:
    """Row t does not move with bar t or later ones; the last row is for the return to come."""
    rng = np.random.default_rng(4)
    returns = rng.normal(0, 1e-3, 400)
    high, low, times = 1.001 + rng.random(400) * 1e-3, np.ones(400), np.arange(400) * 5 * MINUTE
    before = candle_drivers(returns, high, low, times)
    assert before.shape == (401, 14)
    returns[300:], high[300:] = returns[300:] * 9, high[300:] + 1
    after = candle_drivers(returns, high, low, times)
    assert np.array_equal(before[:301], after[:301])
    assert (before[301:] != after[301:]).any(axis=1).all()


def test_what_has_no_scale_is_refused() -> None:
    """Losses that are all 0, too few rows, or a driver that is infinite."""
    for losses, drivers in (
        (np.zeros(100), np.ones((100, 1))),
        (np.ones(15), np.ones((15, 1))),
        (np.ones(100), np.full((100, 1), np.inf)),
    ):
        with pytest.raises(DataError):
            LogScale.fit(losses, drivers)
