"""The ensemble of return heads: one forecast, five opinions."""

from __future__ import annotations

import pytest
import torch

from cryptoai.core.config import ModelConfig
from cryptoai.data_universe.schema import WIDTH
from cryptoai.world_model import HORIZONS, WorldModel
from cryptoai.world_model.returns import COMPONENTS, MEMBERS, ReturnEnsemble, pooled

CONFIG = ModelConfig(hidden_dim=32, latent_dim=16, layers=1, heads=4)


@pytest.fixture
def model() -> WorldModel:
    torch.manual_seed(0)
    made = WorldModel(CONFIG)
    torch.nn.init.normal_(made.returns.last.weight, std=0.3)
    return made.requires_grad_(False)


def test_the_forecast_is_the_equal_mixture_of_the_members(model: WorldModel) -> None:
    """Its density is the mean of theirs, at every horizon; so is its mean."""
    h = torch.randn(7, 32, generator=torch.Generator().manual_seed(1))
    x = torch.randn(7, len(HORIZONS), generator=torch.Generator().manual_seed(2))
    members, whole = model.members(h), model.mixture(h)
    assert members.loc.shape == (7, MEMBERS, len(HORIZONS), COMPONENTS)
    assert whole.loc.shape == (7, len(HORIZONS), MEMBERS * COMPONENTS)
    density = members.log_prob(x[:, None].expand(-1, MEMBERS, -1)).exp().mean(1)
    assert torch.allclose(whole.log_prob(x).exp(), density, rtol=1e-4)
    assert torch.allclose(whole.mean, members.mean.mean(1), atol=1e-5)
    assert torch.allclose(pooled(members).sd, whole.sd)


def test_each_member_has_weights_of_its_own() -> None:
    """Moving one member's weights moves that member alone."""
    torch.manual_seed(0)
    heads = ReturnEnsemble(32).requires_grad_(False)
    h = torch.randn(3, 32)
    before = heads(h)
    heads.last.weight[2] += 1.0
    changed = (heads(h) != before).flatten(2).any(-1)
    assert changed.tolist() == [[False, False, True, False, False]] * 3


def test_disagreement_is_the_spread_of_the_expected_returns(model: WorldModel) -> None:
    """Zero where all members say the same; it is of the next step, per state."""
    values = torch.randn(6, 4, WIDTH, generator=torch.Generator().manual_seed(1))
    latent = model.start(values, torch.ones_like(values, dtype=torch.bool))
    doubt = model.disagreement(latent)
    assert doubt.shape == (6,)
    assert torch.allclose(doubt, model.members(latent.h).mean[..., 0].std(1))
    assert float(doubt.min()) > 0
    fresh = WorldModel(CONFIG)
    assert float(fresh.disagreement(fresh.start(values, torch.ones_like(values, dtype=torch.bool))).max()) < 1e-6


def test_side_by_side_is_the_same_as_alone(model: WorldModel) -> None:
    """Spreading a latent repeats each start in place: equal draws give the futures of a fork."""
    values = torch.randn(2, 4, WIDTH, generator=torch.Generator().manual_seed(1))
    latent = model.start(values, torch.ones_like(values, dtype=torch.bool), room=1)
    wide = latent.spread(3)
    assert torch.equal(wide.h, latent.h.repeat_interleave(3, 0))
    assert torch.equal(wide.cache.keys[:, ::3], latent.cache.keys)
    assert wide.cache.valid.shape == (6, latent.cache.capacity)
