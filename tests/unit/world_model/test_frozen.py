"""The model as a decision runs it: the same numbers as the world model, up to rounding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryptoai.core.config import ModelConfig
from cryptoai.data_universe.schema import WIDTH, group_slice
from cryptoai.world_model import WorldModel
from cryptoai.world_model.frozen import FrozenModel

STEPS = 9


def world_model(layers: int) -> WorldModel:
    """Every weight, gain and bias is drawn, so that none can be forgotten unnoticed."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = WorldModel(ModelConfig(hidden_dim=32, latent_dim=16, layers=layers, heads=4)).requires_grad_(False)
    for parameter in made.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))
    scaler = made.encoder.scaler
    scaler.center.normal_()
    scaler.scale.uniform_(0.5, 2.0)
    scaler.known[torch.rand(WIDTH) < 0.1] = False
    return made.eval()


def history(seed: int) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    mask = torch.rand(STEPS, WIDTH, generator=draws) > 0.3
    mask[: seed % 4] = False
    mask[5, group_slice("flow")] = False
    return 4 * torch.randn(STEPS, WIDTH, generator=draws), mask


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_it_equals_the_world_model(layers: int) -> None:
    """Memory to rounding and latent exactly, with empty steps in front, missing groups and unknown features."""
    whole = world_model(layers)
    frozen = FrozenModel(whole, STEPS)
    for seed in range(6):
        values, mask = history(seed)
        wanted, found = whole.start(values[None], mask[None]), frozen.newest(values, mask)
        assert torch.allclose(found.h, wanted.h, atol=2e-5)
        assert torch.equal(found.z, wanted.z)
        assert torch.equal(found.feature, torch.cat([found.h, found.z], -1))


def test_its_forecast_is_the_world_models() -> None:
    """Weights, locations and scales of all members at every horizon, with the trust that was measured."""
    whole = world_model(2)
    whole.set_trust(torch.tensor([1.0, 0.7, 0.2, 0.0]))
    frozen = FrozenModel(whole, STEPS)
    newest = frozen.newest(*history(1))
    wanted = whole.mixture(newest.h)
    for found, part in zip(frozen.forecast(newest), (wanted.weights, wanted.loc, wanted.scale), strict=True):
        assert torch.allclose(torch.from_numpy(found).float(), part[0], atol=1e-5)


def test_the_comparison_can_fail() -> None:
    """A block whose gain is left out is another model."""
    whole = world_model(2)
    other = FrozenModel(whole, STEPS)
    whole.transformer.blocks[1].feed_norm.weight.mul_(1.1)  # type: ignore[operator, union-attr]
    values, mask = history(0)
    assert not torch.allclose(other.newest(values, mask).h, whole.start(values[None], mask[None]).h, atol=2e-5)


def test_what_lies_under_a_mask_and_our_own_state_change_nothing() -> None:
    """Bitwise."""
    frozen = FrozenModel(world_model(2), STEPS)
    values, mask = history(1)
    changed = torch.where(mask, values, 1e30)
    changed[:, group_slice("portfolio")] = 7.0
    assert torch.equal(frozen.newest(values, mask).h, frozen.newest(changed, mask).h)


def test_asking_changes_nothing() -> None:
    """The same history has the same bits after other histories."""
    frozen = FrozenModel(world_model(2), STEPS)
    first = frozen.newest(*history(1))
    frozen.newest(*history(2))
    assert torch.equal(frozen.newest(*history(1)).h, first.h)
