"""Depth, spread and cost of trading at each time, without memory: the world model keeps the past."""

from __future__ import annotations

from cryptoai.encoders.feature_mlp import FeatureMLP

__all__ = ["LiquidityEncoder"]


class LiquidityEncoder(FeatureMLP):
    """(..., liquidity features) + mask -> (..., 32)."""

    group = "liquidity"

    def __init__(self, features: int, width: int = 32) -> None:
        super().__init__(features, width)
