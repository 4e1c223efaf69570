"""What a policy lived through, imagined or real: the one thing that PPO learns from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Rollout"]


@dataclass(frozen=True, slots=True)
class Rollout:
    """T steps of B lives, K objectives, float32 without gradient.

    features (T, B, F) and exposures (T, B): what the policy saw; exposures are None for a policy that is asked with
    the features alone. raw (T, B, A): its draws before tanh; log_probs (T, B); rewards (T, B, K); values, next_values
    (T, B, K): the critic on each state and on its true successor; terminated, truncated: bool (T, B).
    """

    features: Tensor
    exposures: Tensor | None
    raw: Tensor
    log_probs: Tensor
    rewards: Tensor
    values: Tensor
    next_values: Tensor
    terminated: Tensor
    truncated: Tensor

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What policy and critic are called with."""
        return (self.features,) if self.exposures is None else (self.features, self.exposures)
