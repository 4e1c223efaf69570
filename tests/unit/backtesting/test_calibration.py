"""Forecast quantiles against outcomes whose law is known."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from cryptoai.backtesting.calibration import Calibration, calibration
from cryptoai.backtesting.ledger import Forecast, Ledger
from cryptoai.core.clock import SECOND
from cryptoai.core.messages import Equity
from cryptoai.core.money import Money

NAME = "test:XUSD"
LEVELS = (0.01, 0.05, 0.5, 0.95, 0.99)


def _ledger(scale: float, n: int = 4000) -> Ledger:
    """Returns of 1 bp standard deviation, forecasts of `scale` bp."""
    returns = np.random.default_rng(9).normal(0, 1e-4, n)
    marks = 100 * np.cumprod(np.concatenate([[1.0], 1 + returns]))
    times = np.arange(n + 1, dtype=np.int64) * SECOND
    normal = NormalDist(0, scale)
    quantiles = {level: normal.inv_cdf(level) for level in LEVELS}
    empty = Equity(time=0, cash=Money(1), fees=Money(0), funding=Money(0), positions={}, marks={}, equity=Money(1))
    return Ledger(
        times=times,
        equity=np.ones(n + 1),
        marks={NAME: marks},
        positions={NAME: np.zeros(n + 1)},
        wanted={},
        approved={},
        fills=(),
        decisions=n,
        orders=0,
        outcomes={},
        safe=0,
        bounds={},
        alerts={},
        kills=0,
        first=empty,
        last=empty,
        order_times={},
        forecasts=tuple(Forecast(int(time), NAME, SECOND, quantiles) for time in times),
    )


def _found(ledger: Ledger) -> Calibration:
    found = calibration(ledger)
    assert found is not None
    return found


def test_true_quantiles_are_calibrated() -> None:
    """Every bin of the histogram is as full as it says, intervals hold what they should; the last has no outcome."""
    found = _found(_ledger(1.0))
    assert found.forecasts == 4000
    assert sum(part.observed for part in found.bins) == pytest.approx(1.0)
    for part in found.bins:
        share = part.high - part.low
        assert part.observed == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 4000))
    assert [cover.nominal for cover in found.coverage] == pytest.approx([0.9, 0.98])
    for cover in found.coverage:
        assert abs(cover.observed - cover.nominal) < 4 * cover.error


def test_too_narrow_quantiles_are_exposed() -> None:
    """Half the true spread: the 90 % interval holds what is within 0.82 standard deviations, 59 %."""
    found = _found(_ledger(0.5))
    assert found.coverage[0].observed == pytest.approx(0.589, abs=0.03)
    assert found.bins[0].density > 5
    assert found.bins[-1].density > 5


def test_a_bias_is_seen_and_the_naive_forecast_is_better_then() -> None:
    """Quantiles one basis point too high."""
    ledger = _ledger(1.0)
    moved = tuple(replace(f, quantiles={p: q + 1.0 for p, q in f.quantiles.items()}) for f in ledger.forecasts)
    found = _found(replace(ledger, forecasts=moved))
    assert found.bias_bps == pytest.approx(-1.0, abs=0.1)
    assert found.median_abs_bps is not None
    assert found.median_abs_bps > found.naive_abs_bps


def test_an_outcome_on_a_quantile_counts_half_to_either_side() -> None:
    """A market that does not move, and a median of exactly nothing: half below it, half above."""
    ledger = _ledger(1.0, 50)
    still = replace(ledger, marks={NAME: np.full(51, 100.0)})
    shares = [part.observed for part in _found(still).bins]
    assert shares == pytest.approx([0, 0, 0.5, 0.5, 0, 0])


def test_few_or_unmatched_forecasts_say_nothing() -> None:
    """Fewer than twenty, or a horizon at which nothing was sampled."""
    ledger = _ledger(1.0, 50)
    assert calibration(replace(ledger, forecasts=ledger.forecasts[:19])) is None
    odd = tuple(replace(forecast, horizon_ns=SECOND // 3) for forecast in ledger.forecasts)
    assert calibration(replace(ledger, forecasts=odd)) is None
