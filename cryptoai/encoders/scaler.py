"""Train-fit robust scaling, the first thing that happens to a state. Stored and hashed with the encoders.

Fitted once by training on the train window and frozen (a scaler that keeps learning would leak). A feature that the
train window never showed, or showed constant, is unknown: it is masked, so that nothing untrained is believed.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["RobustScaler", "symlog"]

CLIP = 20.0
_LEAST = 8  # fewer observations say nothing about a spread


def symlog(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|): linear near 0, tame far out (DreamerV3)."""
    return torch.sign(x) * torch.log1p(torch.abs(x))


class RobustScaler(nn.Module):
    """(x - median) / IQR, clipped to +-20, symlog; width D. A missing value becomes exactly 0 whatever it held."""

    center: Tensor
    scale: Tensor
    known: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("known", torch.ones(width, dtype=torch.bool))

    def fit(self, values: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
        """values, mask [N, D]: the train window and nothing else."""
        for column in range(values.shape[1]):
            seen = values[mask[:, column], column].astype(np.float64)
            center, scale = _robust(seen[np.isfinite(seen)])
            self.center[column], self.scale[column] = center, scale if scale > 0 else 1.0
            self.known[column] = scale > 0

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D) raw and mask -> scaled float32 and the mask of what may be believed."""
        present = mask & self.known & torch.isfinite(values)
        scaled = (torch.where(present, values, self.center) - self.center) / self.scale
        return symlog(scaled.clamp(-CLIP, CLIP)), present


def _robust(seen: NDArray[np.float64]) -> tuple[float, float]:
    """Median and IQR/1.349 (the sd of a normal); the sd where more than half the values are equal; 0 if constant."""
    if len(seen) < _LEAST:
        return 0.0, 0.0
    low, center, high = np.quantile(seen, (0.25, 0.5, 0.75))
    scale = float(high - low) / 1.349 or float(seen.std())
    return float(center), scale if scale > 1e-9 + 1e-6 * abs(center) else 0.0
