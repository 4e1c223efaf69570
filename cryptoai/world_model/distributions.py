"""What the world model's heads return: a categorical latent and a mixture of returns, each with closed forms.

Used by `world_model.model`, by inference (quantiles) and by training (scores). Everything here is float32, also under
autocast: a softmax or a log-probability in bfloat16 is wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cryptoai.core.errors import InvariantError

__all__ = ["SCALE_FLOOR", "ReturnMixture", "kl", "log_probabilities", "mode", "sample", "t4_cdf", "t4_quantile"]

UNIMIX = 0.01
"""Share of the uniform distribution in every categorical: no class is ever impossible (DreamerV3)."""

SCALE_FLOOR = 0.02
"""Least scale of a component, in volatility units: a market that stands still must not buy infinite likelihood."""

_REACH = 60.0  # largest difference of two logits that is looked at

_LOG_T4 = math.log(3.0 / 8.0)  # Student-t density with 4 degrees of freedom at 0


def log_probabilities(logits: Tensor) -> Tensor:
    """(..., G, C) logits -> log probabilities with the uniform share mixed in, float32.

    A softmax over so few classes is slow on a CPU. Here one maximum serves all G, held within e^60, and a product with
    ones adds up and spreads the sums: the same numbers in a fifth of the time.
    """
    logits, classes = logits.float(), logits.shape[-1]
    raised = (logits - logits.detach().amax((-2, -1), keepdim=True)).clamp(min=-_REACH).exp()
    share = raised / (raised @ raised.new_ones(classes, classes))
    return torch.log((1 - UNIMIX) * share + UNIMIX / classes)


def sample(logits: Tensor, generator: torch.Generator) -> Tensor:
    """One-hot draw (..., G, C), flattened to (..., G * C); gradients pass straight through to the probabilities."""
    probabilities = log_probabilities(logits).exp()
    draw = torch.rand(logits.shape[:-1], generator=generator, device=logits.device).unsqueeze(-1)
    index = (probabilities.cumsum(-1) < draw).sum(-1).clamp(max=logits.shape[-1] - 1)
    onehot = torch.nn.functional.one_hot(index, logits.shape[-1]).to(probabilities.dtype)
    if torch.is_grad_enabled():
        onehot = onehot + probabilities - probabilities.detach()
    return onehot.flatten(-2)


def mode(logits: Tensor) -> Tensor:
    """The most likely one-hot (..., G, C), flattened to (..., G * C)."""
    onehot = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1])
    return onehot.to(torch.float32).flatten(-2)


def kl(left: Tensor, right: Tensor) -> Tensor:
    """KL(left || right) in nats of two stacks of categoricals, summed over G and C.

    Both are log probabilities (..., G, C), as `log_probabilities` gives them.
    """
    return (left.exp() * (left - right)).sum((-2, -1))


def t4_cdf(x: Tensor) -> Tensor:
    """Distribution function of Student's t with 4 degrees of freedom (closed form)."""
    share = 1 + x * x / 4
    return 0.5 + 0.375 * x / share.sqrt() * (1 - x * x / share / 12)


def t4_quantile(p: Tensor) -> Tensor:
    """Its inverse (Shaw 2006, equation 36); p is held inside [1e-6, 1 - 1e-6]."""
    p = p.clamp(1e-6, 1 - 1e-6)
    alpha = (4 * p * (1 - p)).clamp(max=1.0)
    q = torch.cos(torch.arccos(alpha.sqrt()) / 3) / alpha.sqrt()
    return torch.sign(p - 0.5) * 2 * (q - 1).clamp(min=0.0).sqrt()


@dataclass(frozen=True, slots=True)
class ReturnMixture:
    """Mixture of K Student-t (4 degrees of freedom) a horizon, in volatility units.

    logits, loc, scale: (..., H, K). Four degrees because returns have fat tails, a finite variance is wanted, and
    density, distribution and quantile all have closed forms there.
    """

    logits: Tensor
    loc: Tensor
    scale: Tensor

    @classmethod
    def of(cls, raw: Tensor) -> ReturnMixture:
        """(..., H, 3, K) unconstrained -> mixture; the layout is (weight logits, loc, softplus^-1 of scale)."""
        logits, loc, scale = raw.float().unbind(-2)
        return cls(logits, loc, torch.nn.functional.softplus(scale) + SCALE_FLOOR)

    @property
    def weights(self) -> Tensor:
        return torch.softmax(self.logits, -1)

    @property
    def mean(self) -> Tensor:
        """(..., H)"""
        return (self.weights * self.loc).sum(-1)

    @property
    def sd(self) -> Tensor:
        """(..., H); the variance of a t with 4 degrees of freedom is 2 scale^2."""
        second = (self.weights * (2 * self.scale**2 + self.loc**2)).sum(-1)
        return (second - self.mean**2).clamp(min=1e-12).sqrt()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of x (..., H)."""
        z = (x.unsqueeze(-1) - self.loc) / self.scale
        parts = _LOG_T4 - 2.5 * torch.log1p(z * z / 4) - self.scale.log()
        return torch.logsumexp(torch.log_softmax(self.logits, -1) + parts, -1)

    def cdf(self, x: Tensor) -> Tensor:
        """P(return <= x) for x (..., H)."""
        return (self.weights * t4_cdf((x.unsqueeze(-1) - self.loc) / self.scale)).sum(-1)

    def quantile(self, p: float) -> Tensor:
        """(..., H), by bisection between the least and the greatest quantile of the components."""
        if not 0 < p < 1:
            raise InvariantError(f"a quantile needs a probability inside (0, 1), not {p}")
        parts = self.loc + self.scale * t4_quantile(torch.as_tensor(p, dtype=self.loc.dtype, device=self.loc.device))
        low, high = parts.amin(-1), parts.amax(-1)
        for _ in range(32):
            middle = (low + high) / 2
            below = self.cdf(middle) < p
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def sample(self, generator: torch.Generator) -> Tensor:
        """One draw (..., H), by component and inverse distribution function."""
        shape, device = self.loc.shape[:-1], self.loc.device
        pick = torch.rand(shape, generator=generator, device=device).unsqueeze(-1)
        index = (self.weights.cumsum(-1) < pick).sum(-1, keepdim=True).clamp(max=self.loc.shape[-1] - 1)
        noise = t4_quantile(torch.rand(shape, generator=generator, device=device))
        return self.loc.gather(-1, index).squeeze(-1) + noise * self.scale.gather(-1, index).squeeze(-1)
