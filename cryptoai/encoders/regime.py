"""Volatility, trend and calendar state of the market, and a filter of its hidden regimes.

`StateEncoder` uses `RegimeEncoder` for the regime group of features. `RegimeFilter` answers from a history alone and
keeps nothing between calls: a block of eight numbers for whoever wants to know the regime. Neither may look ahead.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cryptoai.core.errors import ConfigError
from cryptoai.encoders.bocpd import BOCPD
from cryptoai.encoders.feature_mlp import FeatureMLP
from cryptoai.encoders.hmm import Filtered, RegimeHMM, fit_hmm

__all__ = ["BLOCK", "RegimeEncoder", "RegimeFilter"]

MAX_STATES = 4
FREEDOM = 5.0
"""Degrees of freedom that the break detector grants to returns."""
BLOCK = ("p_0", "p_1", "p_2", "p_3", "entropy", "age", "volatility", "p_break")
"""What the columns of `RegimeFilter` mean."""


class RegimeEncoder(FeatureMLP):
    """(..., regime features) + mask -> (..., 8)."""

    group = "regime"

    def __init__(self, features: int, width: int = 8) -> None:
        super().__init__(features, width)


class RegimeFilter(nn.Module):
    """values (B, T, K) + mask -> (B, T, 8): probabilities of up to 4 regimes (calm first), and what follows from them.

    entropy: of the probabilities, 1 is uniform. age: log(1 + rows since the likeliest regime changed) / 10.
    volatility: log of the expected sd of column 0 over the sd of the calmest regime. p_break: P(a break in column 0 in
    the last 20 rows) by BOCPD. The first five and the volatility are differentiable in the HMM and in the values.
    """

    def __init__(self, features: int, states: int = MAX_STATES, detector: BOCPD | None = None) -> None:
        super().__init__()
        if not 2 <= states <= MAX_STATES:
            raise ConfigError(f"{states} regimes do not fit the block; choose 2 to {MAX_STATES}")
        self.hmm = RegimeHMM(states, features)
        found = detector or BOCPD()
        prior = [found.hazard, found.mean, found.kappa, found.alpha, found.beta, float(found.reach), found.freedom]
        self.register_buffer("prior", torch.tensor(prior, dtype=torch.float64))

    @classmethod
    def fit(
        cls,
        values: npt.NDArray[np.floating],
        mask: npt.NDArray[np.bool_],
        generator: np.random.Generator,
        *,
        states: int = MAX_STATES,
        freedom: float = math.inf,
    ) -> Self:
        """Both detectors on one history [T, K] in time order; float32 parameters. DataError: see `fit_hmm`.

        freedom: of the values within a regime, see `RegimeHMM`.
        """
        first = torch.as_tensor(values[mask[:, 0], 0])
        made = cls(values.shape[1], states, BOCPD.scaled_to(first, freedom=FREEDOM))
        made.hmm.load_state_dict(fit_hmm(values, states, generator, mask=mask, freedom=freedom).float().state_dict())
        return made

    @property
    def detector(self) -> BOCPD:
        """The break detector of column 0."""
        hazard, mean, kappa, alpha, beta, reach, freedom = self.get_buffer("prior").tolist()
        return BOCPD(hazard, mean, kappa, alpha, beta, int(reach), freedom)

    def filtered(self, values: Tensor, mask: Tensor) -> Filtered:
        """The HMM's answer for a history, (B, T, states)."""
        found: Filtered = self.hmm(values.to(self.hmm.mean.dtype), mask)
        return found

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        known = self.filtered(values, mask).probabilities
        states = known.shape[-1]
        entropy = -(known * known.clamp_min(1e-12).log()).sum(-1) / math.log(states)
        sd = self.hmm.log_sd[:, 0].exp()
        volatility = ((known @ sd) / sd.min()).log()
        p_break = self.detector.recent(values[..., 0], mask[..., 0]).to(known.dtype)
        rest = torch.stack([entropy, _age(known), volatility, p_break], -1)
        block = torch.cat([F.pad(known, (0, MAX_STATES - states)), rest], -1)
        return block.to(values.dtype)


def _age(known: Tensor) -> Tensor:
    """log(1 + rows since the likeliest state changed) / 10, (B, T)."""
    best = known.argmax(-1)
    changed = F.pad(best[:, 1:] != best[:, :-1], (1, 0), value=True)
    rows = torch.arange(best.shape[1], device=best.device).expand_as(best)
    last = torch.where(changed, rows, torch.zeros_like(rows)).cummax(1).values
    return (rows - last).to(known.dtype).log1p() / 10
