"""What the judge is told of a market: the state's numbers in its own units, and nothing where a feature is masked."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.conditions import bar_conditions, conditions
from cryptoai.data_universe.facts import Facts


def state(**features: float) -> StateVector:
    """All masked but the named ones."""
    values, mask = [0.0] * schema.WIDTH, [False] * schema.WIDTH
    for name, value in features.items():
        values[schema.index(name)], mask[schema.index(name)] = value, True
    return StateVector.of("binance_usdm:BTCUSDT", (1, 2), schema.SCHEMA_HASH, values, mask)


def test_nothing_is_known_of_a_masked_market() -> None:
    """Every field is None; the instrument and the time are those of the state."""
    found = conditions(state())
    assert (found.instrument, found.time) == ("binance_usdm:BTCUSDT", 2)
    rest = (found.volatility_bps, found.turnover, found.funding_rate, found.funding_in_s, found.event_severity)
    assert rest == (None,) * 5


def test_units() -> None:
    """10 bp in 30 s are 537 bp a day; 1,000 a second are 60,000 a minute; 2 bp due in half an hour."""
    found = conditions(
        state(
            realised_volatility_30s=10.0,
            notional_rate_30s=math.log1p(1000.0),
            funding_predicted=2.0,
            funding_rate=5.0,
            funding_time=math.log1p(0.5),
        )
    )
    assert found.volatility_bps == pytest.approx(10 * math.sqrt(2880))
    assert found.turnover == pytest.approx(60_000, rel=1e-5)
    assert found.funding_rate == pytest.approx(2e-4)
    assert found.funding_in_s == pytest.approx(1800, rel=1e-5)


def test_without_an_announcement_the_last_payment_stands() -> None:
    """Funding that was paid is the best guess of what will be."""
    assert conditions(state(funding_rate=5.0)).funding_rate == pytest.approx(5e-4)


def test_the_worst_event_counts() -> None:
    """Of a mild story and a macro event minutes away the second."""
    assert conditions(state(news_severity_1h=0.2, macro_time_to=0.9)).event_severity == pytest.approx(0.9)


def bars(closes: list[float], *, spread: float = 0.0, volume: float = 10.0) -> Facts:
    """One bar an hour; each as wide as `spread` says around its close."""
    close, hour = np.array(closes), 3600 * 10**9
    times = hour * np.arange(1, len(close) + 1)
    columns = [np.full(len(close), 3600.0), close, close * (1 + spread), close / (1 + spread), close]
    return Facts.of("candles", times, times + hour, np.stack([*columns, np.full(len(close), volume)], axis=1))


def test_bars_tell_their_own_volatility_and_turnover() -> None:
    """One per cent up and down an hour is 4.9 % a day; 10 coins at 101 an hour are 16.83 a minute."""
    found = bar_conditions(conditions(state(funding_rate=5.0)), bars([100.0, 101.0] * 20), 40)
    assert found.volatility_bps == pytest.approx(1e4 * math.log(1.01) * math.sqrt(24))
    assert found.turnover == pytest.approx(10 * 101 / 60)
    assert found.funding_rate == pytest.approx(5e-4)


def test_the_range_of_the_newest_bar_counts_if_it_is_wider() -> None:
    """A bar that went far and came back is not calm because its close is."""
    found = bar_conditions(conditions(state()), bars([100.0] * 20, spread=0.1), 20)
    assert found.volatility_bps == pytest.approx(1e4 * 2 * math.log(1.1) / math.sqrt(4 * math.log(2)) * math.sqrt(24))


def test_only_bars_that_were_seen_count_and_few_say_nothing() -> None:
    """The crash of tomorrow is not in the volatility of today; before 13 bars it is unknown."""
    tape = bars([100.0, 101.0] * 10 + [10.0])
    assert bar_conditions(conditions(state()), tape, 20).volatility_bps == pytest.approx(
        1e4 * math.log(1.01) * math.sqrt(24)
    )
    early = bar_conditions(conditions(state(realised_volatility_30s=1.0, notional_rate_30s=1.0)), tape, 12)
    assert (early.volatility_bps, early.turnover) == (None, None)
