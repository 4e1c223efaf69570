"""Event study: what was planted is found, what was not is not, and the future is never used."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.market_events.event_study import Windows, study

HOUR = 3600 * SECOND
START = 1_700_000_000 * SECOND // HOUR * HOUR
WINDOWS = Windows(estimation=100, gap=5, after=9)


def candles(returns: npt.NDArray[np.float64], width_s: int = 3600) -> Facts:
    """Bars whose closes have these log returns, the first from 100."""
    close = 100 * np.exp(np.cumsum(returns))
    opened = START + np.arange(len(close)) * width_s * SECOND
    table = np.column_stack([np.full(len(close), float(width_s)), close, close, close, close, np.ones(len(close))])
    return Facts.of("candles", opened, opened + width_s * SECOND, table)


def market(
    rng: np.random.Generator, events: int, shock: float = 0.0, wild: float = 1.0
) -> tuple[Facts, npt.NDArray[np.int64]]:
    """Noise of 1 % with fat tails, `shock` spread over the window of each event, noise times `wild` there."""
    bars = 200 * (events + 1)
    returns = 0.01 * rng.standard_t(5, bars) / np.sqrt(5 / 3)
    places = 200 * np.arange(1, events + 1)
    for place in places:
        returns[place : place + 10] = returns[place : place + 10] * wild + shock / 10
    return candles(returns), START + places * HOUR + 1800 * SECOND


def test_a_planted_impact_is_recovered() -> None:
    """Five per cent and a doubled volatility, within their intervals, which exclude zero."""
    bars, events = market(np.random.default_rng(1), 60, shock=-0.05, wild=2.0)
    found = study(bars, events, WINDOWS)
    assert len(found.used) == 60
    assert found.abnormal_return.low < -0.05 < found.abnormal_return.high < 0
    assert 0 < found.volatility.low < np.log(4) + 0.25
    assert found.returns.shape == (60, 10)


def test_nothing_planted_is_covered_at_the_nominal_rate() -> None:
    """Of 150 markets without an effect, a 95 % interval misses zero in about 7 (binomial bounds at 1 in 1,000)."""
    rng = np.random.default_rng(2)
    found = [study(*market(rng, 12), WINDOWS) for _ in range(150)]
    for effects in ([one.abnormal_return for one in found], [one.volatility for one in found]):
        assert 1 <= sum(not effect.low <= 0 <= effect.high for effect in effects) <= 19


def test_the_expectation_is_taken_off() -> None:
    """A steady drift is no abnormal return."""
    rng = np.random.default_rng(3)
    returns = 0.002 + 0.001 * rng.standard_normal(3000)
    events = START + np.arange(200, 2800, 200) * HOUR
    found = study(candles(returns), events, WINDOWS)
    assert abs(found.abnormal_return.mean) < 0.002


def test_the_future_is_not_used() -> None:
    """What comes after a window, or in the gap before it, changes nothing."""
    bars, events = market(np.random.default_rng(4), 6, shock=0.02)
    before = study(bars, events, WINDOWS)
    values = bars.values.copy()
    last = int((events[-1] - START) // HOUR)
    values[last + 10 :, 1:5] *= 3
    after = study(Facts.of("candles", bars.event_time, bars.known_at, values), events, WINDOWS)
    assert before.abnormal_return == after.abnormal_return
    assert before.volatility == after.volatility


def test_events_that_overlap_count_once() -> None:
    """The earlier stays; an event in the bar of another, or in its window, is left out."""
    bars, events = market(np.random.default_rng(5), 6)
    crowd = np.sort(np.concatenate([events, events[:3] + HOUR, events[:2]]))
    found = study(bars, crowd, WINDOWS)
    assert found.used.tolist() == events.tolist()
    assert found.left_out == {"overlaps an earlier event": 5}


def test_too_few_events_have_no_interval() -> None:
    """A mean is given, a claim is not."""
    bars, events = market(np.random.default_rng(6), 4)
    found = study(bars, events, WINDOWS)
    assert np.isfinite(found.abnormal_return.mean)
    assert np.isnan([found.abnormal_return.low, found.volatility.high]).all()
    assert len(study(bars, [], WINDOWS).used) == 0
    assert len(study(Facts.none("candles"), events, WINDOWS).used) == 0


def test_holes_and_edges_are_left_out() -> None:
    """An event needs its whole windows, without a missing bar."""
    bars, events = market(np.random.default_rng(7), 6)
    keep = np.ones(len(bars), np.bool_)
    keep[int((events[2] - START) // HOUR) - 50] = False
    edge = [START + 20 * HOUR, int(bars.event_time[-2])]
    found = study(bars.take(keep), [*events.tolist(), *edge], WINDOWS)
    assert len(found.used) == 5
    assert found.left_out == {"outside the candles": 2, "a hole in the candles": 1}


def test_odd_candles_and_windows_are_refused() -> None:
    """Two widths, two bars at one time, and windows that cannot tell anything."""
    one = candles(np.full(50, 0.01))
    with pytest.raises(DataError, match="several widths"):
        study(Facts.joined("candles", [one, candles(np.full(5, 0.01), 60)]), [])
    with pytest.raises(DataError, match="same time"):
        study(Facts.joined("candles", [one, one]), [])
    for odd in ({"estimation": 5, "after": 0}, {"estimation": 40, "after": 10}, {"gap": -1}, {"least_events": 2}):
        with pytest.raises(DataError, match="event study needs"):
            Windows(**odd)
