"""Root-mean-square normalisation with a backward pass written out: on a CPU the generic one costs as much as a product.

Encoders and world model use it in place of `nn.RMSNorm`, whose parameters and values it shares. It must never be used
where a second derivative is wanted.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["RMSNorm"]

_EPS = torch.finfo(torch.float32).eps


class RMSNorm(nn.RMSNorm):
    """x (..., width) / rms(x) * weight (Zhang and Sennrich 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__(width)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32 or x.device.type != "cpu" or not torch.is_grad_enabled():
            return F.rms_norm(x, self.weight.shape, self.weight)
        out: Tensor = _Normalise.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return out


class _Normalise(torch.autograd.Function):
    """Keeps x and 1 / rms; the two sums of the backward pass are matrix-vector products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = size.square_().div_(x.shape[-1]).add_(_EPS).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        out: Tensor = (x * inverse).mul_(weight)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, inverse = ctx.saved_tensors
        (grad,) = grads
        flat = (grad * x).flatten(0, -2)
        pull = (flat @ weight).reshape(inverse.shape).mul_(inverse.pow(3)).div_(-x.shape[-1])
        back = (grad * weight).mul_(inverse).addcmul_(x, pull)
        return back, inverse.reshape(1, -1).matmul(flat)[0]
