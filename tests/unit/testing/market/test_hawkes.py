"""The self-exciting flow, its likelihood and its fit agree with definitions and closed forms."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, optimize

from cryptoai.core.errors import DataError
from cryptoai.testing.market.hawkes import TRUTH, HawkesFlow, HawkesLaw, _loss, fit_hawkes, hawkes_flow


def definition(law: HawkesLaw, flow: HawkesFlow, now: float) -> np.ndarray:
    """Rates at a moment, summed over the past one event at a time."""
    rates = np.array(law.mu)
    for time, kind in zip(flow.times, flow.types, strict=True):
        if time < now:
            rates = rates + law.beta * np.array(law.excitation)[:, kind] * np.exp(-law.beta * (now - time))
    return rates


def test_the_same_seed_gives_the_same_flow_and_time_rises() -> None:
    """And another seed does not."""
    first, again, other = (hawkes_flow(seed, 300) for seed in (1, 1, 2))
    assert first.times.tobytes() == again.times.tobytes() != other.times.tobytes()
    assert (np.diff(first.times) > 0).all()


def test_rates_and_likelihood_follow_the_definition() -> None:
    """The recursion equals the double sum, and the compensator a numerical integral."""
    flow = hawkes_flow(3, 40)
    rates = np.array([definition(TRUTH, flow, time) for time in flow.times])
    assert TRUTH.intensities(flow) == pytest.approx(rates)
    edges = np.concatenate([[0.0], flow.times])
    area = sum(
        integrate.quad(lambda t: definition(TRUTH, flow, t).sum(), a + 1e-12, b)[0]
        for a, b in itertools.pairwise(edges)
    )
    expected = np.log(rates[np.arange(40), flow.types]).sum() - area
    assert TRUTH.log_likelihood(flow) == pytest.approx(expected, rel=1e-6)


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    """By finite differences, away from the truth."""
    flow = hawkes_flow(4, 200)
    theta = np.array([0.4, 0.2, 0.3, 0.1, 0.2, 0.3, 1.5])
    assert optimize.check_grad(lambda x: _loss(x, flow)[0], lambda x: _loss(x, flow)[1], theta) < 1e-5


def test_the_flow_has_the_long_run_rates_and_residuals_of_the_law() -> None:
    """(I - A)^-1 mu events/s; the compensator between events of a type is exponential of mean 1 (Ogata 1988)."""
    flow = hawkes_flow(5, 30_000)
    assert TRUTH.branching == pytest.approx(0.7)
    assert TRUTH.rate == pytest.approx([1.0, 1.0])
    assert np.bincount(flow.types) / flow.duration == pytest.approx(TRUTH.rate, rel=0.06)
    excess = TRUTH.intensities(flow) - np.array(TRUTH.mu)
    jumps = TRUTH.beta * np.array(TRUTH.excitation)[:, flow.types].T
    gaps = np.diff(flow.times)[:, None]
    area = np.array(TRUTH.mu) * gaps + (excess + jumps)[:-1] * -np.expm1(-TRUTH.beta * gaps) / TRUTH.beta
    for kind in (0, 1):
        total = np.cumsum(area[:, kind])
        waits = np.diff(total[np.flatnonzero(flow.types[1:] == kind)])
        assert waits.mean() == pytest.approx(1.0, abs=0.03)
        assert waits.std() == pytest.approx(1.0, abs=0.04)


def test_maximum_likelihood_finds_the_law() -> None:
    """Within sampling error, and never less likely than the truth; a law without excitation is much less likely."""
    flow = hawkes_flow(6, 8000)
    found = fit_hawkes(flow)
    assert np.asarray(found.excitation) == pytest.approx(np.asarray(TRUTH.excitation), abs=0.06)
    assert found.beta == pytest.approx(2.0, abs=0.25)
    assert found.log_likelihood(flow) >= TRUTH.log_likelihood(flow)
    flat = HawkesLaw((1.0, 1.0), ((0.0, 0.0), (0.0, 0.0)), 2.0)
    assert flat.log_likelihood(flow) < TRUTH.log_likelihood(flow) - 500


def test_the_oracle_is_calibrated() -> None:
    """Of events to which it gives p of being a buy, a share p is one."""
    flow = hawkes_flow(7, 30_000)
    p = TRUTH.buy_probability(flow)
    for low in (0.3, 0.4, 0.5, 0.6):
        chosen = (p >= low) & (p < low + 0.1)
        assert flow.types[chosen].mean() == pytest.approx(p[chosen].mean(), abs=0.03)


def test_a_law_that_explodes_is_refused() -> None:
    """Before a single event is drawn."""
    with pytest.raises(DataError, match="below 1"):
        hawkes_flow(1, 10, replace(TRUTH, excitation=((0.9, 0.2), (0.2, 0.9))))
