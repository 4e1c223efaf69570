"""The tanh-Normal distribution of bounded actions, with a log-probability that stays exact at the bounds.

The policy returns it, PPO differentiates it. Samples are kept before the squashing (`raw`), because atanh of a
saturated action loses everything that matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["TanhNormal"]


@dataclass(frozen=True, slots=True)
class TanhNormal:
    """a = tanh(u), u ~ Normal(mean, exp(log_std)); mean (..., A), log_std broadcastable to it."""

    mean: Tensor
    log_std: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Raw u (..., A), reparameterised: gradients flow into mean and log_std."""
        noise = torch.randn(self.mean.shape, generator=generator, dtype=self.mean.dtype, device=self.mean.device)
        return self.mean + self.log_std.exp() * noise

    def mode(self) -> Tensor:
        """tanh(mean): what inference does."""
        return torch.tanh(self.mean)

    def log_prob(self, raw: Tensor) -> Tensor:
        """Log-density of tanh(raw), summed over the actions: (..., A) -> (...).

        log(1 - tanh(u)^2) is written 2 (log 2 - u - softplus(-2u)), exact for any u (Haarnoja et al. 2018, app. C).
        """
        z = (raw - self.mean) * torch.exp(-self.log_std)
        normal = -0.5 * z * z - self.log_std - 0.5 * math.log(2.0 * math.pi)
        squash = 2.0 * (math.log(2.0) - raw - F.softplus(-2.0 * raw))
        return (normal - squash).sum(-1)

    def entropy(self, generator: torch.Generator | None = None) -> Tensor:
        """One unbiased draw of the entropy of tanh(u), (...): it has no closed form, but its gradient is exact."""
        return -self.log_prob(self.sample(generator))
