"""The estimate of memory: what autograd keeps is counted once, and the sum is that of its parts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from cryptoai.core.config import Config
from cryptoai.training.dataset import Dataset
from cryptoai.training.estimate import WEIGHT_COPIES, estimated, saved_bytes


def test_what_a_linear_layer_keeps_is_its_input() -> None:
    """32 x 10 float32, once however often it is used; weights are no activations."""
    layer, x = nn.Linear(10, 10), torch.ones(32, 10)
    assert saved_bytes(lambda: layer(x) + layer(x), [layer]) == 32 * 10 * 4


def test_a_chain_keeps_every_link() -> None:
    """Input, and the output of the first layer that the second one needs."""
    first, second, x = nn.Linear(10, 20), nn.Linear(20, 5), torch.ones(32, 10)
    assert saved_bytes(lambda: second(first(x)), [first, second]) == 32 * (10 + 20) * 4


def test_a_larger_batch_needs_more_and_weights_do_not(market: Callable[..., Dataset], config: Config) -> None:
    """Twice the sequences a step: twice the activations, the same weights; the total is weights and the worst stage."""
    sizes = [config.training.model_copy(update={"batch_size": size}) for size in (16, 32)]
    small, large = (estimated([market(300)], config.model_copy(update={"training": size})) for size in sizes)
    assert small.weights == large.weights == 4 * WEIGHT_COPIES * small.parameters
    assert 1.8 < large.world_model_step / small.world_model_step < 2.2
    assert large.total == large.weights + max(large.world_model_step, large.policy_step)
