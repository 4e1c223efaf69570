"""Which regime is it: a hidden Markov model, its filter over a history, and its fit by EM.

`RegimeFilter` runs the filter on each request's history, training fits it, and the break gate compares with it. The
filter must never look ahead: the smoothed probabilities stay inside the fit.

The filter is a product of transition matrices weighted by the likelihood of each row. It is taken by doubling (Hillis
and Steele 1986; Sarkka and Garcia-Fernandez 2021): log2 T batched products instead of T small ones, each rescaled by
its largest entry, with the logarithm of the scales kept apart, so that nothing underflows in a long history.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cryptoai.core.errors import ConfigError, DataError

__all__ = ["Filtered", "RegimeHMM", "fit_hmm"]

SD_FLOOR = 1e-3
"""Smallest sd of a state, in units of the sd of the data: a state must not collapse on one row."""
PRIOR_STAY = 20.0
"""Rows that each state is believed to have stayed where it was before any data, at odds of 19 to 1."""


class Filtered(NamedTuple):
    """probabilities (B, T, S): P(state at t | rows up to and with t).

    log_likelihood (B, T): nats of the rows up to and with t; log_fit (B, T, S): log-density of row t under each state.
    """

    probabilities: Tensor
    log_likelihood: Tensor
    log_fit: Tensor


class RegimeHMM(nn.Module):
    """S states over K features, independent given the state; a feature that is missing says nothing.

    Parameters: initial_logits (S,), transition_logits (S, S), mean and log_sd (S, K). They can be trained by gradient,
    since the filter is differentiable, or set by `fit_hmm`. Source: Rabiner 1989.

    freedom: features are normal where it is infinite, else Student-t of so many degrees, and exp(log_sd) is the scale.
    Normal states explain every outlier of real returns by a visit to the wildest one; 4 stops that.
    """

    def __init__(self, states: int, features: int, freedom: float = math.inf) -> None:
        super().__init__()
        if not freedom > 0:
            raise ConfigError(f"freedom {freedom} of a regime's values must be positive")
        self.register_buffer("freedom", torch.tensor(freedom))
        self.initial_logits = nn.Parameter(torch.zeros(states))
        self.transition_logits = nn.Parameter(torch.full((states, states), -3.0).fill_diagonal_(0.0))
        self.mean = nn.Parameter(torch.zeros(states, features))
        self.log_sd = nn.Parameter(torch.linspace(-1.0, 1.0, states)[:, None].repeat(1, features))

    @classmethod
    def of(cls, initial: Tensor, transition: Tensor, mean: Tensor, sd: Tensor, freedom: float = math.inf) -> Self:
        """The model with these probabilities (S,), (S, S), means and sds (S, K), in the dtype of `mean`."""
        states, features = mean.shape
        model = cls(states, features, freedom).to(mean.dtype)
        with torch.no_grad():
            model.initial_logits.copy_(initial.clamp_min(1e-12).log())
            model.transition_logits.copy_(transition.clamp_min(1e-12).log())
            model.mean.copy_(mean)
            model.log_sd.copy_(sd.log())
        return model

    @property
    def degrees(self) -> float:
        """Of freedom."""
        return float(self.get_buffer("freedom"))

    @property
    def transition(self) -> Tensor:
        """(S, S), rows sum to 1."""
        return self.transition_logits.softmax(-1)

    def log_fit(self, values: Tensor, mask: Tensor) -> Tensor:
        """Log-density of the features present at each row under each state: (B, T, K) -> (B, T, S)."""
        z = (values.unsqueeze(-2) - self.mean) * (-self.log_sd).exp()
        nu = self.degrees
        if math.isinf(nu):
            each = -0.5 * z * z - self.log_sd - 0.5 * math.log(2 * math.pi)
        else:
            height = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi)
            each = height - self.log_sd - 0.5 * (nu + 1) * torch.log1p(z * z / nu)
        return torch.where(mask.unsqueeze(-2), each, torch.zeros_like(each)).sum(-1)

    def forward(self, values: Tensor, mask: Tensor) -> Filtered:
        """values (B, T, K), mask bool of the same shape, oldest first; masked values have no influence."""
        fit = self.log_fit(values, mask)
        top = fit.amax(-1, keepdim=True)
        weights = (fit - top).exp()
        steps = self.transition * weights.unsqueeze(-2)
        first = (self.initial_logits.softmax(-1) * weights[:, 0]).unsqueeze(-2).expand_as(steps[:, 0])
        product, scale = _prefix_products(torch.cat([first.unsqueeze(1), steps[:, 1:]], 1))
        row = product[..., 0, :]
        total = row.sum(-1)
        nats = total.log() + scale + top.squeeze(-1).cumsum(1)
        return Filtered(row / total.unsqueeze(-1), nats, fit)

    def rose(self, filtered: Filtered, rows: int = 20) -> Tensor:
        """P(the state has a higher number than `rows` rows ago | rows up to t), (B, T); 0 for the first `rows` rows.

        States of `fit_hmm` are ordered by sd, so this is a break to a wilder regime. Exact: the states of both rows
        are joined by the product of the steps between them.
        """
        known, _, fit = filtered
        starts = known.shape[1] - rows
        if starts <= 0:
            return known.new_zeros(known.shape[:2])
        steps = self.transition * (fit - fit.amax(-1, keepdim=True)).exp().unsqueeze(-2)
        joint = torch.diag_embed(known[:, :starts])
        for row in range(1, rows + 1):
            joint = _matmul(joint, steps[:, row : row + starts])
            joint = joint / joint.sum((-2, -1), keepdim=True)
        return F.pad(joint.triu(1).sum((-2, -1)), (rows, 0))


def _prefix_products(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T, S, S) -> products of matrices 0..t, scaled, and the log of what was divided out, (B, T)."""
    product, scale = _rescaled(matrices, matrices.new_zeros(matrices.shape[:2]))
    reach = 1
    while reach < matrices.shape[1]:
        joined, amount = _rescaled(
            _matmul(product[:, :-reach], product[:, reach:]), scale[:, :-reach] + scale[:, reach:]
        )
        product = torch.cat([product[:, :reach], joined], 1)
        scale = torch.cat([scale[:, :reach], amount], 1)
        reach *= 2
    return product, scale


def _rescaled(product: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    top = product.detach().amax((-2, -1))
    return product / top[..., None, None], scale + top.log()


def _matmul(left: Tensor, right: Tensor) -> Tensor:
    """Batched product of small matrices; S sums of outer products are several times faster than bmm at S = 3."""
    total = left[..., :, :1] * right[..., :1, :]
    for k in range(1, left.shape[-1]):
        total = total + left[..., :, k : k + 1] * right[..., k : k + 1, :]
    return total


def fit_hmm(
    values: npt.NDArray[np.floating],
    states: int,
    generator: np.random.Generator,
    *,
    mask: npt.NDArray[np.bool_] | None = None,
    freedom: float = math.inf,
    restarts: int = 4,
    iterations: int = 100,
) -> RegimeHMM:
    """Baum-Welch on one history [T, K]; the likeliest of several starts, states ordered by sd, calm first.

    freedom: see `RegimeHMM`; for Student-t values the steps are those of Peel and McLachlan 2000.
    Every start runs a tenth of `iterations`, the best one goes on until a step gains less than 1e-6 nats a row.
    DataError for a history shorter than 50 rows a state.
    """
    if len(values) < 50 * states:
        raise DataError(f"{len(values)} rows are too few for {states} regimes; give at least {50 * states}")
    rows = torch.as_tensor(np.asarray(values, dtype=np.float64))[None]
    there = torch.ones_like(rows, dtype=torch.bool) if mask is None else torch.as_tensor(mask)[None]
    with torch.no_grad():
        starts = [_start(rows, there, states, generator, freedom) for _ in range(restarts)]
        tried = [_improve(model, rows, there, max(1, iterations // 10)) for model in starts]
        best = max(tried, key=lambda pair: pair[1])[0]
        return _ordered(_improve(best, rows, there, iterations)[0])


def _start(rows: Tensor, there: Tensor, states: int, generator: np.random.Generator, freedom: float) -> RegimeHMM:
    """Each state takes its mean and sd from a short window of the data, chosen at random."""
    length, scale = rows.shape[1], _moments(rows[0], there[0])[1]
    window = max(20, min(50, length // states))
    places = generator.integers(0, length - window + 1, states)
    found = [_moments(rows[0, p : p + window], there[0, p : p + window]) for p in places]
    mean = torch.stack([m for m, _ in found])
    sd = torch.stack([s for _, s in found]).clamp_min(0.05 * scale)
    chain = torch.full((states, states), 0.05 / max(states - 1, 1), dtype=rows.dtype).fill_diagonal_(0.95)
    return RegimeHMM.of(torch.full((states,), 1.0 / states, dtype=rows.dtype), chain, mean, sd, freedom)


def _moments(rows: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sd of what is present in [T, K]: (K,), (K,)."""
    weight = there.to(rows.dtype)
    count = weight.sum(0).clamp_min(1.0)
    mean = torch.where(there, rows, 0.0).sum(0) / count
    spread = torch.where(there, (rows - mean) ** 2, 0.0).sum(0) / count
    return mean, spread.sqrt()


def _improve(model: RegimeHMM, rows: Tensor, there: Tensor, iterations: int) -> tuple[RegimeHMM, float]:
    """EM steps until they gain nothing; the model and its log-likelihood before the last step."""
    floor = SD_FLOOR * _moments(rows[0], there[0])[1].clamp_min(1e-12)
    before = -math.inf
    for _ in range(iterations):
        filtered, smooth, moves = _expect(model, rows, there)
        now = float(filtered.log_likelihood[0, -1])
        if now - before < 1e-6 * rows.shape[1]:
            break
        before, model = now, _maximise(model, smooth, moves, rows[0], there[0], floor)
    return model, before


def _expect(model: RegimeHMM, rows: Tensor, there: Tensor) -> tuple[Filtered, Tensor, Tensor]:
    """Filtered history, smoothed probabilities (T, S) and expected moves (S, S)."""
    filtered = model(rows, there)
    fit = filtered.log_fit
    weights = (fit - fit.amax(-1, keepdim=True)).exp()
    steps = (model.transition * weights.unsqueeze(-2))[:, 1:]
    # Products of the steps t+1..T, from the right: the prefix products of the mirrored, transposed steps.
    mirrored, _ = _prefix_products(steps.flip(1).transpose(-1, -2))
    after = torch.cat([mirrored.transpose(-1, -2).flip(1).sum(-1), torch.ones_like(fit[:, -1:])], 1)[0]
    smooth = filtered.probabilities[0] * after
    smooth = smooth / smooth.sum(-1, keepdim=True)
    joint = filtered.probabilities[0, :-1, :, None] * steps[0] * after[1:, None, :]
    return filtered, smooth, (joint / joint.sum((-2, -1), keepdim=True)).sum(0)


def _maximise(model: RegimeHMM, smooth: Tensor, moves: Tensor, rows: Tensor, there: Tensor, floor: Tensor) -> RegimeHMM:
    """The model that makes the expected history likeliest, under a weak prior that states last."""
    weight = smooth[:, :, None] * there[:, None, :].to(rows.dtype)
    count = weight.sum(0).clamp_min(1e-9)
    seen = torch.where(there, rows, 0.0)[:, None, :]
    trusted = weight * _trust(model, seen)
    mean = (trusted * seen).sum(0) / trusted.sum(0).clamp_min(1e-9)
    sd = ((trusted * (seen - mean) ** 2).sum(0) / count).sqrt().maximum(floor)
    states = len(moves)
    prior = torch.full_like(moves, 0.05 * PRIOR_STAY / max(states - 1, 1)).fill_diagonal_(0.95 * PRIOR_STAY)
    chain = (moves + prior) / (moves + prior).sum(-1, keepdim=True)
    return RegimeHMM.of(smooth[0], chain, mean, sd, model.degrees)


def _trust(model: RegimeHMM, seen: Tensor) -> Tensor | float:
    """How far a value counts for the mean and scale of each state, (T, S, K): an outlier of a Student-t less."""
    nu = model.degrees
    if math.isinf(nu):
        return 1.0
    z = (seen - model.mean) * (-model.log_sd).exp()
    return (nu + 1) / (nu + z * z)


def _ordered(model: RegimeHMM) -> RegimeHMM:
    order = model.log_sd.sum(-1).argsort()
    initial = model.initial_logits.softmax(-1)[order]
    return RegimeHMM.of(
        initial, model.transition[order][:, order], model.mean[order], model.log_sd[order].exp(), model.degrees
    )
