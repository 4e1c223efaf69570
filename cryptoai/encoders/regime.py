"""Volatility, trend and calendar state of the market, as the features measure it."""

from __future__ import annotations

from cryptoai.encoders.feature_mlp import FeatureMLP

__all__ = ["RegimeEncoder"]


class RegimeEncoder(FeatureMLP):
    """(..., regime features) + mask -> (..., 8)."""

    group = "regime"

    def __init__(self, features: int, width: int = 8) -> None:
        super().__init__(features, width)
