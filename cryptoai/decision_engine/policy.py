"""The policy: what the bot knows, what it holds and what it is asked to care for, to a distribution over four actions.

Trained by PPO, asked for its mode by inference. It must never see more than the world model's feature, its own previous
exposure and drawdown, and the weights of the objectives, so that imagination and trading ask it the same question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cryptoai.decision_engine.distributions import TanhNormal
from cryptoai.decision_engine.objectives import PREFERENCES, SITUATION, preferences_of, situate

__all__ = ["ACTIONS", "Policy", "mlp"]

ACTIONS = ("direction", "size", "leverage", "timing")
"""Order of the last axis of every action; `core.messages.Action` gives the meaning."""

_FIRST_SIZE = 1.0  # before tanh; direction starts at zero, so that the first exposure does too


class Policy(nn.Module):
    """feature (B, F) or situated feature (B, F + 5), exposure (B,) in [-1, 1] -> TanhNormal over (B, 4).

    A bare feature is taken at its peak and by the preferences (4,) that the policy carries and is saved with.
    """

    preferences: Tensor

    def __init__(self, feature_dim: int, hidden: int) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.body = mlp(feature_dim + SITUATION + 1, hidden, len(ACTIONS), last_gain=0.01)
        # Direction and size multiply: from zero each would wait for the other to move.
        *_, bias = self.body.parameters()
        bias.data[ACTIONS.index("size")] = _FIRST_SIZE
        # Not a function of the state: with one, PPO narrows where it has been and stops to look elsewhere.
        self.log_std = nn.Parameter(torch.full((len(ACTIONS),), math.log(0.6)))
        self.register_buffer("preferences", torch.zeros(PREFERENCES))

    def forward(self, feature: Tensor, exposure: Tensor) -> TanhNormal:
        mean = self.body(torch.cat([self.situate(feature), exposure.unsqueeze(-1)], -1))
        return TanhNormal(mean, self.log_std.clamp(-5.0, 1.0).expand_as(mean))

    def use(self, weights: Sequence[float]) -> None:
        """From now on decide by these weights of the objectives; ConfigError if they were not trained for."""
        self.preferences.copy_(preferences_of(weights))

    def situate(self, feature: Tensor) -> Tensor:
        """(B, F) -> (B, F + 5): at its peak, by the preferences that the policy carries; a situated one stays."""
        if feature.shape[-1] != self.feature_dim:
            return feature
        return situate(feature, feature.new_zeros(len(feature)), self.preferences.expand(len(feature), -1))


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
