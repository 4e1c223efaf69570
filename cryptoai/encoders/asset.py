"""What the instrument is: static numbers, so that an asset never seen in training still has a description."""

from __future__ import annotations

from cryptoai.encoders.feature_mlp import FeatureMLP

__all__ = ["AssetEncoder"]


class AssetEncoder(FeatureMLP):
    """(..., asset features) + mask -> (..., 16)."""

    group = "asset"

    def __init__(self, features: int, width: int = 16) -> None:
        super().__init__(features, width)
