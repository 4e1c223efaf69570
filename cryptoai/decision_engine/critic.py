"""The critic: one value for each objective, so that what a decision is expected to earn, cost and risk stays apart.

Trained beside the policy by PPO, asked by inference for the value it reports. It must never be given the weights of
the objectives: they belong to the advantage.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cryptoai.decision_engine.policy import mlp
from cryptoai.decision_engine.reward import OBJECTIVES

__all__ = ["Critic"]


class Critic(nn.Module):
    """feature (B, F), exposure (B,) -> values (B, objectives); all zero before training."""

    def __init__(self, feature_dim: int, hidden: int, objectives: int = len(OBJECTIVES)) -> None:
        super().__init__()
        self.body = mlp(feature_dim + 1, hidden, objectives, last_gain=0.0)

    def forward(self, feature: Tensor, exposure: Tensor) -> Tensor:
        values: Tensor = self.body(torch.cat([feature, exposure.unsqueeze(-1)], -1))
        return values
