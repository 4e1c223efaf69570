"""What a policy lived through, imagined or real: the one thing that PPO learns from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Rollout"]


@dataclass(frozen=True, slots=True)
class Rollout:
    """T steps of B lives, K objectives, float32 without gradient.

    features (T, B, F) and exposures (T, B): what the policy saw; raw (T, B, 4): its draws before tanh;
    log_probs (T, B); rewards (T, B, K); values, next_values (T, B, K): the critic on each state and on its true
    successor; terminated, truncated: bool (T, B).
    """

    features: Tensor
    exposures: Tensor
    raw: Tensor
    log_probs: Tensor
    rewards: Tensor
    values: Tensor
    next_values: Tensor
    terminated: Tensor
    truncated: Tensor
