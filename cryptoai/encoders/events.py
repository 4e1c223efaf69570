"""Scheduled and unscheduled events, as counts and decayed ages; masked until a source exists."""

from __future__ import annotations

from cryptoai.encoders.feature_mlp import FeatureMLP

__all__ = ["EventsEncoder"]


class EventsEncoder(FeatureMLP):
    """(..., event features) + mask -> (..., 16)."""

    group = "events"

    def __init__(self, features: int, width: int = 16) -> None:
        super().__init__(features, width)
