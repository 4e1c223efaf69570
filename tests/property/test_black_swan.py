"""What holds of the alarm and the tail for every input."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cryptoai.black_swan.alarm import ALARM, Signs
from cryptoai.black_swan.cascade import amplification, needed_shock
from cryptoai.black_swan.conformal import tracked
from cryptoai.black_swan.evt import SHAPES, Tail

SCORES = st.lists(st.floats(0.0, 3.0), min_size=1, max_size=30)


@given(SCORES, st.lists(st.floats(0.0, 2.0), min_size=30, max_size=30))
def test_worse_signs_never_clear_the_alarm(scores: list[float], more: list[float]) -> None:
    """If it stands after some scores, it stands after scores that are nowhere lower."""
    worse = [score + extra for score, extra in zip(scores, more, strict=False)]
    assert ALARM.raised(worse) or not ALARM.raised(scores)


@given(SCORES, SCORES)
def test_another_sign_never_makes_it_quieter(anomaly: list[float], tail: list[float]) -> None:
    """The level with a sign more is nowhere below the level without it."""
    n = min(len(anomaly), len(tail))
    alone, both = Signs(np.array(anomaly[:n])), Signs(np.array(anomaly[:n]), np.array(tail[:n]))
    assert (both.level() >= alone.level()).all()


@given(st.floats(*SHAPES), st.floats(0.01, 100.0), st.floats(0.0, 50.0), st.floats(0.0, 0.9), st.floats(0.0, 1.0))
def test_a_tail_is_ordered(xi: float, beta: float, threshold: float, low: float, further: float) -> None:
    """VaR rises with its level, and the shortfall lies at or above it, finite."""
    tail = Tail(xi, beta, threshold, 100, 1000)
    p = 0.9 + 0.0999 * low
    q = p + (0.9999 - p) * further
    assert tail.var(p) <= tail.var(q)
    assert tail.var(q) <= tail.es(q) * (1 + 1e-12)
    assert math.isfinite(tail.es(q))


@given(st.lists(st.floats(-10.0, 10.0), min_size=1, max_size=200), st.floats(0.5, 0.99), st.floats(0.001, 0.2))
def test_tracked_limits_are_positive_and_their_rate_is_bounded(
    losses: list[float], p: float, gamma: float
) -> None:  # fmt: skip
    """The rate differs from 1 - p by what the factor moved, over gamma n: the theorem itself."""
    n, ones = len(losses), np.ones(len(losses))
    limits = tracked(np.array(losses), ones, p, gamma)
    assert (limits > 0).all()
    rate = (np.array(losses) > limits).mean()
    last = math.log(limits[-1]) + gamma * (float(losses[-1] > limits[-1]) - (1 - p))
    assert rate - (1 - p) == np.float64(0) or math.isclose(rate - (1 - p), last / (gamma * n), abs_tol=1e-6)


@given(st.floats(0.0, 3.0), st.floats(0.0, 3.0), st.floats(0.01, 9.0), st.floats(0.01, 9.0))
def test_more_branching_never_needs_more_of_a_shock(n: float, extra: float, distance: float, width: float) -> None:
    """A cluster that feeds itself more falls more easily and amplifies more; to be reached is needed at least."""
    calm, wild = (needed_shock(np.array([[1.0, rho, distance, width, 1.0]]))[0] for rho in (n, n + extra))
    assert distance <= wild <= calm <= distance + width
    assert amplification(np.array([n]))[0] <= amplification(np.array([n + extra]))[0]
