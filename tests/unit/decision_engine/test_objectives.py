"""The five objectives against their closed forms, and the way between weights and preferences."""

import numpy as np
import pytest
import torch

from cryptoai.core.errors import ConfigError
from cryptoai.decision_engine.critic import Critic
from cryptoai.decision_engine.objectives import (
    WEIGHTS,
    cvar_term,
    draw_preferences,
    drawdown_after,
    preferences_of,
    relative_weights,
    situate,
)
from cryptoai.decision_engine.policy import Policy

torch.set_num_threads(1)


def test_the_drawdown_is_the_distance_from_the_running_peak() -> None:
    """Stepwise D' = max(D - net, 0) equals peak minus equity of the whole path."""
    net = np.random.default_rng(0).standard_normal(500)
    equity = np.concatenate([[0.0], net.cumsum()])
    depth = torch.zeros(1, dtype=torch.float64)
    for t, step in enumerate(net):
        depth = drawdown_after(depth, torch.tensor([step]))
        assert float(depth) == pytest.approx(equity[: t + 2].max() - equity[t + 1])


def test_the_discounted_terms_are_the_discounted_average_of_the_drawdown() -> None:
    """Sum of g^t (D_t - D_t+1) = D_0 - (1 - g) sum of g^t D_t+1 - g^T D_T: the identity that the objective rests on."""
    depths = torch.rand(51, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    g = 0.9
    powers = g ** torch.arange(50, dtype=torch.float64)
    paid = (powers * (depths[:-1] - depths[1:])).sum()
    average = ((1 - g) * powers * depths[1:]).sum()
    assert float(paid) == pytest.approx(float(depths[0] - average - g**50 * depths[-1]))


def test_the_cvar_term_has_the_mean_of_the_conditional_value_at_risk() -> None:
    """For a normal return of sd 2 and an exposure of -.5 the mean term is -2.0627 (phi(1.645) / .05); a wrong sd
    only makes the bound looser."""
    returns = 2.0 * torch.randn(2_000_000, generator=torch.Generator().manual_seed(0))
    exposure = torch.tensor(-0.5)
    true = [-float(cvar_term(exposure, exposure * returns, spread).mean()) for spread in (2.0, 1.0, 4.0)]
    assert true[0] == pytest.approx(2.0627, abs=0.01)
    assert true[1] > true[0] + 0.1
    assert true[2] > true[0] + 0.1


def test_default_weights_are_relative_weights_of_one() -> None:
    """No preference is the default; a preference of 1 makes one weight 8 times the others, around them in the log."""
    assert torch.equal(relative_weights(torch.zeros(3, 4)), torch.ones(3, 5))
    raised = relative_weights(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    assert raised.tolist() == pytest.approx([8**-0.5] * 4 + [8**0.5])
    lowered = relative_weights(torch.tensor([0.0, 0.0, 0.0, -1.0]))
    assert lowered.tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0, 1 / 8])


def test_weights_and_preferences_are_one_to_one() -> None:
    """Weights times any factor give the same preferences, and these give back their ratios."""
    wanted = [2.0, 2.0, 0.3, 0.0025, 0.04]
    preferences = preferences_of(wanted)
    again = relative_weights(preferences) * torch.tensor(WEIGHTS)
    assert (again / again[0] * 2.0).tolist() == pytest.approx(wanted, rel=1e-5)
    assert torch.allclose(preferences, preferences_of([10 * w for w in wanted]))
    assert preferences_of(WEIGHTS).tolist() == [0.0] * 4


@pytest.mark.parametrize("weights", [(1, 1, 0.02, 0.01), (1, 1, 0.02, 0.01, 0.0), (1, 20, 0.02, 0.01, 0.02)])
def test_weights_that_were_never_trained_for_are_refused(weights: tuple[float, ...]) -> None:
    """Too few, not positive, or more than eight times away from the default: one sentence."""
    with pytest.raises(ConfigError, match="objective weight"):
        preferences_of(weights)


def test_half_of_the_lives_have_the_default_weights() -> None:
    """The rest lies anywhere in [-1, 1]."""
    drawn = draw_preferences(10_000, torch.Generator().manual_seed(0))
    plain = (drawn == 0).all(-1)
    assert 0.48 < plain.float().mean() < 0.52
    assert drawn[~plain].min() < -0.99
    assert drawn[~plain].max() > 0.99


def test_a_bare_feature_is_at_its_peak_with_the_weights_that_are_carried() -> None:
    """Policy and critic answer alike for a bare feature and its situated form; other weights answer otherwise."""
    torch.manual_seed(0)
    policy, critic = Policy(3, 16), Critic(3, 16)
    critic.body[-1].weight.data.normal_()
    feature, held = torch.randn(4, 3), torch.zeros(4)
    seen = situate(feature, torch.zeros(4), torch.zeros(4, 4))
    assert torch.equal(policy(feature, held).mean, policy(seen, held).mean)
    assert torch.equal(critic(feature, held), critic(seen, held))
    before = policy(feature, held).mean
    policy.use((1.0, 4.0, 0.02, 0.01, 0.02))
    assert not torch.equal(policy(feature, held).mean, before)
    assert torch.equal(policy(seen, held).mean, before)
    assert policy.state_dict()["preferences"][0] == pytest.approx(2 / 3)
