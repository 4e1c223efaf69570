"""Order flow over time: causal convolutions and a mixer, as in DeepLOB's convolutions and MLPLOB's mixing.

The flow group is the fastest of the state, so it alone is read across time before the world model sees it.
Used by `StateEncoder`. It must never look ahead: every layer pads on the left only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cryptoai.encoders.norm import RMSNorm

__all__ = ["OrderFlowEncoder"]


class CausalConv(nn.Module):
    """(B, T, inputs) -> (B, T, outputs): sees only the present and `kernel - 1` steps back."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
        super().__init__()
        self.reach = kernel - 1
        self.conv = nn.Conv1d(inputs, outputs, kernel, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x.transpose(1, 2), (self.reach, 0)))
        return out.transpose(1, 2)


class MixerBlock(nn.Module):
    """Mixes over past time (depthwise), then over channels; residual."""

    def __init__(self, width: int, kernel: int = 4) -> None:
        super().__init__()
        self.time_norm, self.time = RMSNorm(width), CausalConv(width, width, kernel, groups=width)
        self.channel_norm = RMSNorm(width)
        self.channel = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """`valid` (B, T, 1) as numbers: a step without data stays 0, so left padding changes nothing after it."""
        x = x + valid * self.time(self.time_norm(x))
        out: Tensor = x + valid * self.channel(self.channel_norm(x))
        return out


class OrderFlowEncoder(nn.Module):
    """(B, T, flow features) scaled values + mask -> (B, T, width)."""

    group = "flow"

    def __init__(self, features: int, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.stem = CausalConv(2 * features, width, kernel=3)
        self.blocks = nn.ModuleList([MixerBlock(width), MixerBlock(width)])

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        valid = mask.any(-1, keepdim=True).to(values.dtype)
        x = valid * F.silu(self.stem(torch.cat([values, mask.to(values.dtype)], -1)))
        for block in self.blocks:
            x = block(x, valid)
        return x
