"""The body that most group encoders share: features and their mask through two layers, no look at other times."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cryptoai.encoders.norm import RMSNorm

__all__ = ["FeatureMLP"]


class FeatureMLP(nn.Module):
    """(..., features) scaled values and mask -> (..., width). Missing values must already be 0 (`RobustScaler`)."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        inner = 2 * max(features, width)
        self.layers = nn.Sequential(nn.Linear(2 * features, inner), RMSNorm(inner), nn.SiLU(), nn.Linear(inner, width))

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        out: Tensor = self.layers(torch.cat([values, mask.to(values.dtype)], -1))
        return out
