"""What the judge is told of a market: the state's numbers in its own units, and nothing where a feature is masked."""

from __future__ import annotations

import math

import pytest

from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.conditions import conditions


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
