"""Generalised advantage estimation with the two ends of an episode kept apart.

PPO calls it. A terminated step has no future, a truncated one has a future that was merely not watched: mixing them
up biases every value (a trading window always ends by truncation), so both flags are required.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cryptoai.core.errors import InvariantError

__all__ = ["gae"]


def gae(
    rewards: Tensor, values: tuple[Tensor, Tensor], ends: tuple[Tensor, Tensor], *, gamma: float, lam: float
) -> Tensor:
    """Advantages (T, B, K) of rewards (T, B, K) (Schulman et al. 2016).

    values: of each state and of its true successor, (T, B, K) each; the successor of a truncated step is the state that
    was cut off, never the first of the next episode. ends: terminated, truncated, bool (T, B).
    """
    now, after = values
    terminated, truncated = ends
    if not rewards.shape == now.shape == after.shape or not rewards.shape[:2] == terminated.shape == truncated.shape:
        raise InvariantError("rewards and values must be (T, B, K), terminated and truncated (T, B)")
    delta = rewards + gamma * after * ~terminated.unsqueeze(-1) - now
    carry = gamma * lam * (~(terminated | truncated)).unsqueeze(-1).to(delta.dtype)
    advantage = torch.zeros_like(delta)
    running = torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        running = delta[t] + carry[t] * running
        advantage[t] = running
    return advantage
