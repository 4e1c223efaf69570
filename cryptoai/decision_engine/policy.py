"""The policy: what the bot knows, and what it holds, to a distribution over its four actions.

Trained by PPO, asked for its mode by inference. It must never see more than the world model's feature and its own
previous exposure, so that imagination and trading ask it the same question.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cryptoai.decision_engine.distributions import TanhNormal

__all__ = ["ACTIONS", "Policy", "mlp"]

ACTIONS = ("direction", "size", "leverage", "timing")
"""Order of the last axis of every action; `core.messages.Action` gives the meaning."""


class Policy(nn.Module):
    """feature (B, F), exposure (B,) in [-1, 1] -> TanhNormal over (B, 4)."""

    def __init__(self, feature_dim: int, hidden: int) -> None:
        super().__init__()
        self.body = mlp(feature_dim + 1, hidden, len(ACTIONS), last_gain=0.01)
        # Not a function of the state: with one, PPO narrows where it has been and stops to look elsewhere.
        self.log_std = nn.Parameter(torch.full((len(ACTIONS),), math.log(0.6)))

    def forward(self, feature: Tensor, exposure: Tensor) -> TanhNormal:
        mean = self.body(torch.cat([feature, exposure.unsqueeze(-1)], -1))
        return TanhNormal(mean, self.log_std.clamp(-5.0, 1.0).expand_as(mean))


def mlp(inputs: int, hidden: int, outputs: int, *, last_gain: float) -> nn.Sequential:
    """Two hidden layers, orthogonal weights; a small `last_gain` makes the first answers close to zero."""
    layers = nn.Sequential(
        nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, outputs),
    )  # fmt: skip
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    for layer, gain in zip(linear, (math.sqrt(2), math.sqrt(2), last_gain), strict=True):
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    return layers
