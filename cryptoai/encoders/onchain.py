"""Slow on-chain facts; mostly masked until a source exists, and then a constant."""

from __future__ import annotations

from cryptoai.encoders.feature_mlp import FeatureMLP

__all__ = ["OnChainEncoder"]


class OnChainEncoder(FeatureMLP):
    """(..., on-chain features) + mask -> (..., 24)."""

    group = "onchain"

    def __init__(self, features: int, width: int = 24) -> None:
        super().__init__(features, width)
