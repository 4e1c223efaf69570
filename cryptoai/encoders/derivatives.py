"""Basis, funding, open interest and liquidations at each time."""

from __future__ import annotations

from cryptoai.encoders.feature_mlp import FeatureMLP

__all__ = ["DerivativesEncoder"]


class DerivativesEncoder(FeatureMLP):
    """(..., derivatives features) + mask -> (..., 32)."""

    group = "derivatives"

    def __init__(self, features: int, width: int = 32) -> None:
        super().__init__(features, width)
