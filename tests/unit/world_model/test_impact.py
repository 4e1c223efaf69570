"""The propagator from a confounded log: near the truth where the naive regression is far off, with honest intervals."""

from __future__ import annotations

import numpy as np
import pytest

from cryptoai.core.errors import DataError
from cryptoai.testing.market.propagator import KERNEL, LoggedMarket, logged_market
from cryptoai.world_model.impact import Propagator, estimate_propagator, past_steps

ROWS = 6_000


def market(seed: int = 0) -> LoggedMarket:
    return logged_market(np.random.default_rng(seed), ROWS)


def test_the_confounder_is_undone_and_the_naive_regression_is_far_off() -> None:
    """First kernel within two standard errors of .300; without the signal it reads more than 1.5 times as much."""
    log = market()
    fitted = estimate_propagator(log.returns, log.actions, log.signal[:, None])
    naive = estimate_propagator(log.returns, log.actions, None)
    error = np.sqrt(fitted.covariance[0, 0])
    assert error < 0.03
    assert abs(fitted.kernel[0] - KERNEL[0]) < 2 * error
    assert naive.kernel[0] > 1.5 * KERNEL[0]


def test_a_curved_policy_needs_the_bends() -> None:
    """Where the policy is a step of the signal, a linear adjustment is still wrong and the bent one is right."""
    log = logged_market(np.random.default_rng(1), 12_000, curved=True)
    bent, straight = (
        estimate_propagator(log.returns, log.actions, log.signal[:, None], curved=curved) for curved in (True, False)
    )
    error = 3 * np.sqrt(bent.covariance[0, 0])
    assert error < 0.045
    assert abs(bent.kernel[0] - KERNEL[0]) < error < abs(straight.kernel[0] - KERNEL[0])


def test_without_confounding_it_is_least_squares() -> None:
    """Naive mode equals numpy's least squares on the lagged actions."""
    log = market(2)
    x = np.column_stack([np.ones(ROWS - 9), past_steps(log.actions[:, None], 10)])
    expected = np.linalg.lstsq(x, log.returns[9:], rcond=None)[0][1:]
    assert np.allclose(estimate_propagator(log.returns, log.actions, None).kernel, expected, atol=1e-10)


def test_the_effect_of_a_kernel_is_its_running_sum() -> None:
    """One unit at the first step moves the price by k0, k0 + k1, ...; the interval has the variance of that sum."""
    impact = Propagator(np.array([0.3, 0.1]), np.diag([0.04, 0.09]), 2.0)
    effect = impact.effect(np.array([1.0, 0.0, 0.0]), np.zeros(3))
    assert np.allclose(effect.path, [0.3, 0.4, 0.4])
    assert np.allclose((effect.high - effect.path) / 1.959964, np.sqrt([0.04, 0.13, 0.13]), rtol=1e-5)
    assert np.allclose(impact.respond(np.array([1.0, 2.0, 0.0])), [0.3, 0.7, 0.2])


def test_intervals_allow_for_noise_that_changes_its_size() -> None:
    """Noise four times as large when the action is large: the covariance is wider than the plain one, as it must be."""
    rng = np.random.default_rng(3)
    actions = rng.standard_normal(ROWS)
    noise = rng.standard_normal(ROWS) * np.where(np.abs(actions) > 1.0, 4.0, 1.0)
    fitted = estimate_propagator(noise, actions, None, lags=1)
    plain = noise.var() / (ROWS * actions.var())
    truth = np.mean(actions**2 * noise**2) / (ROWS * actions.var() ** 2)
    assert fitted.covariance[0, 0] > 1.5 * plain
    assert fitted.covariance[0, 0] == pytest.approx(truth, rel=0.1)


def test_an_effect_that_the_log_cannot_tell_is_refused() -> None:
    """A policy that is a function of the signal alone, actions that never change, gaps, and too few rows."""
    log = market(4)
    with pytest.raises(DataError, match="cannot be told apart"):
        estimate_propagator(log.returns, 0.8 * log.signal, log.signal[:, None])
    with pytest.raises(DataError, match="never change"):
        estimate_propagator(log.returns, np.ones(ROWS), log.signal[:, None])
    with pytest.raises(DataError, match="finite"):
        estimate_propagator(np.where(np.arange(ROWS) == 9, np.nan, log.returns), log.actions, None)
    with pytest.raises(DataError, match=r"of shape \(6000, signals\), not \(6000,\)"):
        estimate_propagator(log.returns, log.actions, log.signal)
    with pytest.raises(DataError, match="too few"):
        estimate_propagator(log.returns[:300], log.actions[:300], None)


def test_actions_beyond_the_log_are_known_as_such() -> None:
    """The largest action of the log is the last one whose effect was measured."""
    impact = Propagator(np.ones(1), np.eye(1), 2.0)
    assert impact.known(np.array([-2.0, 1.0]), np.zeros(3))
    assert not impact.known(np.zeros(3), np.array([2.1]))
