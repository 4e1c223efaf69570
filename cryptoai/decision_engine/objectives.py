"""The five things that a decision is judged by, and how they are weighed against each other.

| objective | per-step term, volatility units | source |
|---|---|---|
| return | exposure x return (its expectation where that is known) | |
| cost | -(fee of the change + charge for leverage) | |
| drawdown | D - D', with D' = max(D - net, 0) the distance from the peak after the step | Chekhlov et al. 2005 |
| cvar | -(eta + max(L - eta, 0) / (1 - .95)), L = -exposure x return, eta = 1.645 x abs(exposure) x sd | Rockafellar and Uryasev 2000 |
| turnover | -abs(change of exposure) | |

The first two add up to the net result. Drawdown: the discounted sum of D - D' is D_0 less the discounted average of the
later drawdowns (Abel), so a Markov term pays for a path property once D is part of the state. CVaR: for any eta the
mean of L is bounded by that term's, and the bound is the conditional value at risk where eta is the value at risk, as
it is for a normal return; taken step by step it is a Markov risk measure (Ruszczynski 2010).

The weights are applied at the advantage. A policy is trained for many of them at once (conditioned networks, Abels et
al. 2019): it sees its `preferences`, the log ratio of each weight to its default, and each imagined life has its own.
Used by `reward`, `imagination`, `policy`, `critic` and inference. It must never depend on what was learned.
"""  # noqa: E501  (a table's row cannot be wrapped)

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cryptoai.core.errors import ConfigError

__all__ = [
    "CVAR_LEVEL",
    "OBJECTIVES",
    "PREFERENCES",
    "SITUATION",
    "SPAN",
    "WEIGHTS",
    "cvar_term",
    "draw_preferences",
    "drawdown_after",
    "preferences_of",
    "relative_weights",
    "situate",
]

OBJECTIVES = ("return", "cost", "drawdown", "cvar", "turnover")
"""Last axis of every reward and value; the sum of the first two is the net result."""
WEIGHTS = (1.0, 1.0, 0.02, 0.01, 0.02)
"""The default weight of each."""
SPAN = 8.0
"""Each weight but the return's may be up to this many times larger or smaller than its default."""
PREFERENCES = len(OBJECTIVES) - 1
SITUATION = 1 + PREFERENCES
"""Width of what follows the world model's feature in a policy's input: drawdown, preferences."""

CVAR_LEVEL = 0.95
_NORMAL_QUANTILE = 1.6448536269514722
_DRAWDOWN_UNIT = 5.0
_PLAIN_SHARE = 0.5


def drawdown_after(drawdown: Tensor, net: Tensor) -> Tensor:
    """Distance from the peak of the running result after a step that earned `net`, both (B,)."""
    return (drawdown - net).clamp(min=0.0)


def cvar_term(exposure: Tensor, drawn: Tensor, spread: Tensor | float) -> Tensor:
    """The term of the table, (B,): exposure, drawn = exposure x return, and the standard deviation of the return."""
    eta = _NORMAL_QUANTILE * exposure.abs() * spread
    return -(eta + (-drawn - eta).clamp(min=0.0) / (1.0 - CVAR_LEVEL))


def draw_preferences(lives: int, generator: torch.Generator) -> Tensor:
    """(lives, 4) in [-1, 1]: half of the lives have the default weights, the others any."""
    device = generator.device
    drawn = 2.0 * torch.rand(lives, PREFERENCES, generator=generator, device=device) - 1.0
    plain = torch.rand(lives, 1, generator=generator, device=device) < _PLAIN_SHARE
    return torch.where(plain, torch.zeros_like(drawn), drawn)


def relative_weights(preferences: Tensor) -> Tensor:
    """preferences (..., 4) -> weight over default weight (..., 5), by the root of the greatest; 1 for the default.

    Only ratios matter to a policy. The root halves (in the log) how far one life's rewards outweigh another's.
    """
    ratios = torch.cat([torch.zeros_like(preferences[..., :1]), preferences], -1) * math.log(SPAN)
    return (ratios - 0.5 * ratios.amax(-1, keepdim=True)).exp()


def preferences_of(weights: Sequence[float]) -> Tensor:
    """The preferences (4,) that stand for these five weights; ConfigError if one cannot be stood for."""
    if len(weights) != len(OBJECTIVES) or not all(math.isfinite(w) and w > 0 for w in weights):
        raise ConfigError(f"objective weights must be {len(OBJECTIVES)} positive numbers, one for each of {OBJECTIVES}")
    ratios = [w / weights[0] / (default / WEIGHTS[0]) for w, default in zip(weights, WEIGHTS, strict=True)]
    for name, ratio in zip(OBJECTIVES, ratios, strict=True):
        if abs(math.log(ratio)) > math.log(SPAN) + 1e-9:
            raise ConfigError(
                f"objective weight {name} is {ratio:g} times its default, relative to the weight of return; "
                f"it must lie within 1/{SPAN:g} to {SPAN:g} times"
            )
    return torch.tensor([math.log(ratio) / math.log(SPAN) for ratio in ratios[1:]])


def situate(feature: Tensor, drawdown: Tensor, preferences: Tensor) -> Tensor:
    """feature (B, F), drawdown (B,) in volatility units, preferences (B, 4) -> what the policy sees, (B, F + 5)."""
    depth = (drawdown / (drawdown + _DRAWDOWN_UNIT)).unsqueeze(-1)
    return torch.cat([feature, depth, preferences], -1)
