"""The direct forecast of returns: an ensemble of small heads on one memory, each a mixture at every horizon.

`world_model.model` owns one. Served is the equal mixture of the members (Lakshminarayanan, Pritzel and Blundell 2017);
where they differ the data did not decide, so the spread of their means is the uncertainty of the model itself. The
members are one stacked multiplication, as in TD-MPC2's ensemble. It must never let one member see another's output.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cryptoai.encoders.norm import RMSNorm
from cryptoai.world_model.distributions import SCALE_FLOOR, ReturnMixture

__all__ = ["COMPONENTS", "HORIZONS", "MEMBERS", "ReturnEnsemble", "pooled", "wide_base"]

HORIZONS = (1, 4, 16, 64)
"""Steps of the decision interval that returns are forecast over."""

COMPONENTS = 5
"""Of each member's mixture."""

MEMBERS = 5


class _MemberLinear(nn.Module):
    """(N, members, inputs) -> (N, members, outputs), weights of its own for each member; zero before training."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(MEMBERS, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(MEMBERS, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x.transpose(0, 1), self.weight).transpose(0, 1)


class ReturnEnsemble(nn.Module):
    """(..., hidden) -> unconstrained parameters (..., members, H, 3, components); all zero before training."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.width = max(hidden // 2, 16)
        self.first = nn.Linear(hidden, MEMBERS * self.width)
        self.norm = RMSNorm(self.width)
        self.last = _MemberLinear(self.width, len(HORIZONS) * 3 * COMPONENTS)

    def forward(self, h: Tensor) -> Tensor:
        inner = self.norm(self.first(h).reshape(-1, MEMBERS, self.width))
        out: Tensor = self.last(F.silu(inner))
        return out.reshape(*h.shape[:-1], MEMBERS, len(HORIZONS), 3, COMPONENTS)


def pooled(members: ReturnMixture) -> ReturnMixture:
    """Members (..., M, H, K), each as probable as the other -> one mixture (..., H, M * K)."""
    logits = torch.log_softmax(members.logits, -1)
    return ReturnMixture(*(part.movedim(-3, -2).flatten(-2) for part in (logits, members.loc, members.scale)))


def wide_base() -> Tensor:
    """(H, 3, K): equal weights, no drift, scales around the square root of the horizon."""
    spread = torch.tensor([0.1, 0.3, 0.6, 1.0, 2.0])
    scale = torch.tensor(HORIZONS, dtype=torch.float32).sqrt()[:, None] * spread
    zero = torch.zeros_like(scale)
    return torch.stack([zero, zero, torch.log(torch.expm1(scale - SCALE_FLOOR))], 1)
