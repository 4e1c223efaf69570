"""The market that trades move: its kernel, its confounder, and its twin runs."""

from __future__ import annotations

import numpy as np
import pytest

from cryptoai.core.errors import InvariantError
from cryptoai.testing.market.propagator import KERNEL, logged_market, respond, twin


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_kernel_is_the_documented_one() -> None:
    """Ten lags of .3 exp(-j / 3); a unit action moves the price by their running sum."""
    assert len(KERNEL) == 10
    assert KERNEL[0] == pytest.approx(0.3)
    assert KERNEL[3] == pytest.approx(0.3 / np.e)
    assert np.allclose(respond(np.eye(1, 12)[0], KERNEL), [*KERNEL, 0.0, 0.0])


def test_a_return_is_drift_impact_and_noise() -> None:
    """To rounding, for either policy; the drift of the linear one is .4 of the signal."""
    for curved in (False, True):
        log = logged_market(rng(1), 500, curved=curved)
        assert np.allclose(log.returns, log.drift + respond(log.actions, KERNEL) + log.noise)
    assert np.allclose(logged_market(rng(1), 500).drift, 0.4 * logged_market(rng(1), 500).signal)


def test_signal_and_policy_have_the_documented_moments() -> None:
    """Unit variance, memory .9; the action explains .8 of the signal and keeps noise of .7."""
    log = logged_market(rng(2), 100_000)
    assert log.signal.var() == pytest.approx(1.0, abs=0.06)
    assert np.corrcoef(log.signal[1:], log.signal[:-1])[0, 1] == pytest.approx(0.9, abs=0.01)
    assert np.cov(log.actions, log.signal)[0, 1] / log.signal.var() == pytest.approx(0.8, abs=0.02)
    assert (log.actions - 0.8 * log.signal).std() == pytest.approx(0.7, abs=0.01)


def test_the_log_is_one_of_its_own_twins() -> None:
    """Replaying the logged actions gives the logged returns: the noise is the same."""
    log = logged_market(rng(3), 300)
    replayed = twin(log, 250, log.actions[250:270], np.zeros(20))
    assert np.allclose(replayed[0], log.returns[250:270])


def test_twins_differ_by_the_response_to_the_difference_of_actions() -> None:
    """Signal, noise and earlier actions cancel; a placebo market's twins are equal."""
    actions = rng(4).standard_normal((2, 15))
    log, placebo = logged_market(rng(3), 300), logged_market(rng(3), 300, np.zeros(10))
    assert np.allclose(np.subtract(*twin(log, 200, *actions)), respond(actions[0] - actions[1], KERNEL))
    assert np.array_equal(*twin(placebo, 200, *actions))


def test_twins_of_two_lengths_or_past_the_end_are_refused() -> None:
    """There is no noise left to share."""
    log = logged_market(rng(5), 100)
    with pytest.raises(InvariantError, match="one length"):
        twin(log, 50, np.zeros(3), np.zeros(4))
    with pytest.raises(InvariantError, match="one length"):
        twin(log, 98, np.zeros(3), np.zeros(3))
