"""Counterfactual rollouts: same history, same noise, and only the actions differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoai.core.config import ModelConfig
from cryptoai.core.errors import DataError, InvariantError
from cryptoai.data_universe.schema import WIDTH
from cryptoai.world_model.counterfactual import Context, Counterfactual, counterfactual
from cryptoai.world_model.impact import Propagator
from cryptoai.world_model.model import WorldModel

IMPACT = Propagator(np.array([0.3, 0.1, 0.05]), 0.01 * np.eye(3), most=1.5)


def model() -> WorldModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = WorldModel(ModelConfig(hidden_dim=16, latent_dim=16, layers=1, heads=2))
    return made.eval()


MODEL = model()


def context(actions: tuple[float, ...] = ()) -> Context:
    values = torch.randn(1, 5, WIDTH, generator=torch.Generator().manual_seed(1))
    return Context(values, torch.ones(1, 5, WIDTH, dtype=torch.bool), np.array(actions))


def ask(first: list[float], second: list[float], seed: int = 3, past: tuple[float, ...] = ()) -> Counterfactual:
    return counterfactual(MODEL, IMPACT, context(past), np.array(first), np.array(second), seed=seed, paths=4)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.integers(0, 2**31))
def test_equal_actions_give_equal_paths(actions: list[float], seed: int) -> None:
    """To the last bit, whatever the actions and the seed; the effect is exactly zero."""
    made = ask(actions, actions, seed)
    assert np.array_equal(made.first, made.second)
    assert not made.effect.path.any()
    assert not made.effect.high.any()


def test_the_branches_differ_by_the_effect_of_the_actions_alone() -> None:
    """On every path: the noise is shared, so the difference is the propagator's answer and has no spread."""
    made = ask([1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, -1.0])
    difference = made.first - made.second
    assert np.allclose(difference, made.effect.path, atol=1e-12)
    assert np.allclose(made.effect.path, [0.3, 0.7, 0.85, 1.2])
    assert np.ptp(made.first, axis=0).min() > 0  # while the paths themselves are uncertain


def test_another_seed_is_other_noise_and_the_same_effect() -> None:
    """The seed decides the market's part and nothing of the effect."""
    one, other = ask([1.0, 0.5], [0.0, 0.0], seed=1), ask([1.0, 0.5], [0.0, 0.0], seed=2)
    assert not np.array_equal(one.first, other.first)
    assert np.array_equal(one.effect.path, other.effect.path)


def test_branches_with_other_noise_would_not_differ_by_the_effect() -> None:
    """What sharing the noise is for: with a seed each, the difference is mostly noise."""
    one, other = ask([1.0, 0.5], [0.0, 0.0], seed=1), ask([1.0, 0.5], [0.0, 0.0], seed=2)
    assert np.abs((one.first - other.second) - one.effect.path).max() > 0.1


def test_past_actions_still_move_both_branches() -> None:
    """A purchase before the branches part adds the rest of its response to both, and cancels in the effect."""
    without, after = ask([0.0, 0.0], [0.0, 0.0]), ask([0.0, 0.0], [0.0, 0.0], past=(2.0,))
    assert np.allclose(after.first - without.first, [0.2, 0.3])
    assert not after.effect.path.any()


def test_the_callers_generator_is_left_alone() -> None:
    """Nothing is drawn from the global generator."""
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    ask([1.0], [0.0])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_action_beyond_the_log_is_flagged() -> None:
    """The impact was measured up to 1.5; twice that is extrapolation."""
    assert ask([3.0], [0.0]).extrapolates
    assert not ask([1.5], [-1.5]).extrapolates


def test_sequences_that_cannot_be_compared_are_refused() -> None:
    """Of two lengths, empty, or not numbers."""
    with pytest.raises(InvariantError, match="one length"):
        ask([1.0, 0.0], [0.0])
    with pytest.raises(InvariantError, match="one length"):
        ask([], [])
    with pytest.raises(DataError, match="finite"):
        ask([float("nan")], [0.0])
