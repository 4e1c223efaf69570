"""The next-event forecasters know only the past, and what they learn is the order of events."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cryptoai.testing.market.hawkes import TRUTH, HawkesFlow, hawkes_flow
from cryptoai.testing.next_event import FORECASTERS, NextEvent, event_inputs, learn


def test_inputs_are_what_is_known_at_the_moment_of_an_event() -> None:
    """Types and ages of the last four; flipping events from n on changes no input up to that of n."""
    flow = hawkes_flow(1, 50)
    shown = event_inputs(flow)
    assert shown.shape == (50, 8)
    assert shown[1:, 0].sign().tolist() == [2.0 * kind - 1 for kind in flow.types[:-1]]
    assert shown[1:, 1].numpy() == pytest.approx(np.exp(-np.diff(flow.times)), rel=1e-5)
    assert shown[4:, 7].numpy() == pytest.approx(np.exp(flow.times[:-4] - flow.times[4:]), rel=1e-5)
    assert (shown[:4, 7] == 0).all()
    flipped = HawkesFlow(flow.times, np.concatenate([flow.types[:30], 1 - flow.types[30:]]), flow.duration)
    assert torch.equal(event_inputs(flipped)[:31], shown[:31])
    assert not torch.equal(event_inputs(flipped)[31:], shown[31:])


@pytest.mark.parametrize("name", FORECASTERS)
def test_no_baseline_knows_the_event_that_it_forecasts(name: str) -> None:
    """Flipping events from n on leaves the forecasts up to n as they were, and changes later ones."""
    train, flow = hawkes_flow(2, 3000), hawkes_flow(3, 400)
    flipped = HawkesFlow(flow.times, np.concatenate([flow.types[:300], 1 - flow.types[300:]]), flow.duration)
    before, after = (FORECASTERS[name](train, each) for each in (flow, flipped))
    assert np.allclose(before[:301], after[:301], atol=1e-12, rtol=0)
    assert not np.allclose(before[301:], after[301:], atol=1e-3)


def test_the_learned_forecast_is_causal_and_reproducible() -> None:
    """Same seed, same weights; later events have no influence; the global generator is left alone."""
    flow = hawkes_flow(4, 2500)
    state = torch.random.get_rng_state()
    one, two = (learn(flow, 5, epochs=1) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    shorter = HawkesFlow(flow.times[:900], flow.types[:900], flow.times[899])
    assert np.allclose(one.probability(flow)[:900], one.probability(shorter), atol=1e-5)


@pytest.mark.slow
def test_it_learns_the_order_of_events_and_nothing_from_shuffled_ones() -> None:
    """From 20,000 events it gets three quarters of the oracle's edge; with types shuffled, none."""
    train, test = hawkes_flow(6, 20_000), hawkes_flow(7, 20_000)
    best = roc_auc_score(test.types, TRUTH.buy_probability(test)) - 0.5
    assert roc_auc_score(test.types, learn(train, 0).probability(test)) - 0.5 > 0.75 * best
    shuffled = [
        HawkesFlow(flow.times, np.random.default_rng(8).permutation(flow.types), flow.duration)
        for flow in (train, test)
    ]
    guess = learn(shuffled[0], 0).probability(shuffled[1])
    assert abs(roc_auc_score(shuffled[1].types, guess) - 0.5) < 0.012


def test_without_training_there_is_no_edge() -> None:
    """The first weights know nothing of the order."""
    flow = hawkes_flow(9, 20_000)
    torch_state = torch.random.get_rng_state()
    torch.manual_seed(0)
    auc = roc_auc_score(flow.types, NextEvent().probability(flow))
    torch.random.set_rng_state(torch_state)
    assert auc < 0.56
