"""The critic: one value for each objective, so that what a decision is expected to earn, cost and risk stays apart.

Trained beside the policy by PPO, asked by inference for the value it reports. It sees the preferences, because they
decide what the policy will do; it must never add the objectives up.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cryptoai.decision_engine.objectives import OBJECTIVES, PREFERENCES, SITUATION, relative_weights
from cryptoai.decision_engine.policy import mlp

__all__ = ["Critic"]


class Critic(nn.Module):
    """feature (B, F) or situated (B, F + 5), exposure (B,) -> values (B, objectives); all zero before training.

    The value of an objective is times its relative weight, as the rewards of an imagined life are; a bare feature
    has default weights, hence plain values.
    """

    def __init__(self, feature_dim: int, hidden: int, objectives: int = len(OBJECTIVES)) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.body = mlp(feature_dim + SITUATION + 1, hidden, objectives, last_gain=0.0)

    def forward(self, feature: Tensor, exposure: Tensor) -> Tensor:
        if feature.shape[-1] == self.feature_dim:
            return self._values(F.pad(feature, (0, SITUATION)), exposure)
        return relative_weights(feature[..., -PREFERENCES:]) * self._values(feature, exposure)

    def _values(self, feature: Tensor, exposure: Tensor) -> Tensor:
        values: Tensor = self.body(torch.cat([feature, exposure.unsqueeze(-1)], -1))
        return values
