"""The encoders: masked values have no influence, the future has none, and our own state has none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryptoai.core.config import ModelConfig
from cryptoai.data_universe.schema import GROUPS, WIDTH, group_slice
from cryptoai.encoders.order_flow import OrderFlowEncoder
from cryptoai.encoders.state import StateEncoder

STEPS = 9


@pytest.fixture
def encoder() -> StateEncoder:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return StateEncoder(ModelConfig(hidden_dim=32, latent_dim=16))


@pytest.fixture
def states() -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    return torch.randn(2, STEPS, WIDTH, generator=draws), torch.rand(2, STEPS, WIDTH, generator=draws) > 0.3


def test_masked_values_influence_nothing(encoder: StateEncoder, states: tuple[Tensor, Tensor]) -> None:
    """Whatever lies under a mask, NaN included, the logits stay bitwise equal."""
    values, mask = states
    for junk in (1e9, float("nan"), float("-inf")):
        assert torch.equal(encoder(values, mask), encoder(torch.where(mask, values, junk), mask))


def test_present_values_do_influence(encoder: StateEncoder, states: tuple[Tensor, Tensor]) -> None:
    """The test above could not fail if nothing ever mattered; every market group matters."""
    values, mask = states
    before = encoder(values, mask)
    for name in GROUPS[:-1]:
        changed = values.clone()
        changed[..., group_slice(name)] += 1.0
        assert not torch.equal(before, encoder(changed, mask)), name


def test_our_own_state_is_not_seen(encoder: StateEncoder, states: tuple[Tensor, Tensor]) -> None:
    """The market does not react to us, so the portfolio group changes nothing."""
    values, mask = states
    changed, shown = values.clone(), mask.clone()
    changed[..., group_slice("portfolio")] = 3.0
    shown[..., group_slice("portfolio")] = True
    assert torch.equal(encoder(values, mask), encoder(changed, shown))


def test_the_future_changes_nothing_before_it(encoder: StateEncoder, states: tuple[Tensor, Tensor]) -> None:
    """Every input after step t is replaced: logits up to t are bitwise equal, and later ones are not."""
    values, mask = states
    later = torch.where(torch.arange(STEPS)[:, None] > 4, values + 5.0, values)
    before, after = encoder(values, mask), encoder(later, mask)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5:], after[:, 5:])


def test_the_shape_is_one_categorical_of_eight_a_group(encoder: StateEncoder, states: tuple[Tensor, Tensor]) -> None:
    """latent_dim 16 is two categoricals of eight, in float32."""
    logits = encoder(*states)
    assert logits.shape == (2, STEPS, 2, 8)
    assert logits.dtype == torch.float32


def test_left_padding_leaves_order_flow_alone() -> None:
    """Empty steps in front, as a short history has, change nothing after them."""
    torch.manual_seed(0)
    flow = OrderFlowEncoder(64)
    values, mask = torch.randn(1, 5, 64), torch.ones(1, 5, 64, dtype=torch.bool)
    padded = torch.cat([torch.zeros(1, 3, 64), values], 1), torch.cat([torch.zeros(1, 3, 64).bool(), mask], 1)
    assert torch.allclose(flow(values, mask), flow(*padded)[:, 3:], atol=1e-6)


def test_order_flow_reads_across_time() -> None:
    """A change one step back is felt now: the convolution is not a per-step layer."""
    torch.manual_seed(0)
    flow = OrderFlowEncoder(64)
    values, mask = torch.randn(1, 5, 64), torch.ones(1, 5, 64, dtype=torch.bool)
    changed = values.clone()
    changed[:, 3] += 1.0
    assert not torch.equal(flow(values, mask)[:, 4], flow(changed, mask)[:, 4])
