"""Did it just break: Bayesian online change-point detection, row by row, with a bounded memory.

`RegimeFilter` shows its answer to the models and `black_swan.breaks` raises the break alarm from it. Both run it over
the history at hand, so that a stateless server and a replay agree. It must never call the beginning of a history a
break: how long the first run had lasted before it is unknown.

Source: Adams and MacKay 2007, with a Normal-Gamma prior on mean and precision, whose forecast is a Student-t (Murphy
2007). Run lengths of `reach` rows or more share one bucket, so that T rows cost O(T reach).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from cryptoai.core.errors import ConfigError, DataError

__all__ = ["BOCPD", "RunLengths"]


class RunLengths(NamedTuple):
    """What is believed after a row, float64; place r of the last axis is a run whose break lies r rows back.

    mass (B, reach + 1): probability of each run length; belief (B, 4, reach + 1): mean, kappa, alpha and beta of its
    Normal-Gamma posterior. The last place holds all runs of `reach` rows or more and the one that began before the
    history.
    """

    mass: Tensor
    belief: Tensor


@dataclass(frozen=True, slots=True)
class BOCPD:
    """hazard: probability of a break at each row; mean, kappa, alpha, beta: Normal-Gamma prior of a run's values.

    kappa and 2 alpha count the rows that the prior is worth for mean and variance; beta / alpha is the prior variance,
    in the squared unit of the values. reach: longest run, in rows, that is told apart from longer ones. freedom: most
    degrees of freedom of a forecast. A run that lasts becomes sure that its values are normal, and then takes every
    outlier for a break; 5 keeps the tails of returns, at the price of later answers where values are normal.
    """

    hazard: float = 1 / 250
    mean: float = 0.0
    kappa: float = 1.0
    alpha: float = 1.0
    beta: float = 1.0
    reach: int = 200
    freedom: float = math.inf

    def __post_init__(self) -> None:
        if not 0 < self.hazard < 1 or self.reach < 2:
            raise ConfigError(f"hazard {self.hazard} must lie in (0, 1) and reach {self.reach} be at least 2 rows")
        if not min(self.kappa, self.alpha, self.beta) > 0:
            raise ConfigError("kappa, alpha and beta of a Normal-Gamma prior must be positive")
        if not self.freedom > 2:
            raise ConfigError(f"freedom {self.freedom} leaves a forecast without a variance; give more than 2")

    @classmethod
    def scaled_to(cls, values: Tensor, *, hazard: float = 1 / 250, reach: int = 200, freedom: float = math.inf) -> Self:
        """The weak prior in the unit of `values` (N,): their mean and variance; DataError if they never vary."""
        variance, mean = torch.var_mean(values.double())
        if not float(variance) > 0:
            raise DataError("the values of a break detector never vary; give a column that does")
        return cls(hazard, float(mean), 1.0, 1.0, float(variance), reach, freedom)

    def start(self, batch: int, device: torch.device | None = None) -> RunLengths:
        """Before the first row of `batch` histories: one run, of unknown age."""
        mass = torch.zeros(batch, self.reach + 1, dtype=torch.float64, device=device)
        mass[:, -1] = 1.0
        return RunLengths(mass, self._prior(mass).expand(batch, 4, self.reach + 1))

    def step(self, runs: RunLengths, value: Tensor, present: Tensor) -> RunLengths:
        """One row on: value, present (B,). A missing value ages the runs and teaches nothing."""
        mass, belief = self._age(runs)
        mean, kappa, alpha, beta = belief.unbind(1)
        away = value.double()[:, None] - mean
        more = kappa + 1
        surprise = kappa * away * away / (2 * more)
        log_fit = _log_student(surprise, kappa, *self._tails(alpha, beta))
        learned = torch.stack([mean + away / more, more, alpha + 0.5, beta + surprise], 1)
        # A missing value may be anything, NaN too, so it is left out by choice and not by a product with zero.
        heavier = torch.where(present[:, None], mass * log_fit.exp(), mass)
        belief = torch.where(present[:, None, None], learned, belief)
        return RunLengths(heavier / heavier.sum(-1, keepdim=True), belief)

    def recent(self, values: Tensor, mask: Tensor, rows: int = 20) -> Tensor:
        """P(a break fell in the last `rows` rows, t among them | values up to t): (B, T) -> (B, T) float64.

        values, mask (B, T), oldest first. ConfigError if `rows` exceeds the reach.
        """
        if not 0 < rows <= self.reach:
            raise ConfigError(f"{rows} recent rows lie outside of the reach of {self.reach}; ask for fewer")
        runs, answers = self.start(len(values), values.device), []
        with torch.no_grad():
            for value, present in zip(values.unbind(1), mask.unbind(1), strict=True):
                runs = self.step(runs, value, present)
                answers.append(runs.mass[:, :rows].sum(-1))
        return torch.stack(answers, 1)

    def _tails(self, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        """alpha held at half of `freedom`, and the beta that leaves the variance of a long run as it was."""
        if math.isinf(self.freedom):
            return alpha, beta
        heavy = alpha.clamp(max=self.freedom / 2)
        narrower = torch.where(alpha > heavy, 1 - 2 / self.freedom, 1.0)
        return heavy, beta * narrower * heavy / alpha

    def _prior(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.mean, self.kappa, self.alpha, self.beta])[None, :, None]

    def _age(self, runs: RunLengths) -> RunLengths:
        """Every run is a row older, or broke; the two oldest places join, weighted by their mass."""
        grown = runs.mass * (1 - self.hazard)
        oldest = grown[:, -2:]
        total = oldest.sum(-1, keepdim=True)
        share = (oldest / total.clamp_min(1e-300)).unsqueeze(1)
        mass = torch.cat([runs.mass.sum(-1, keepdim=True) * self.hazard, grown[:, :-2], total], -1)
        joined = (runs.belief[..., -2:] * share).sum(-1, keepdim=True)
        prior = self._prior(mass).expand(len(mass), 4, 1)
        return RunLengths(mass, torch.cat([prior, runs.belief[..., :-2], joined], -1))


def _log_student(surprise: Tensor, kappa: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Log-density of a value whose scaled squared distance from the mean is `surprise`, under each run."""
    spread = torch.log(2 * math.pi * beta * (kappa + 1) / kappa)
    height = torch.lgamma(alpha + 0.5) - torch.lgamma(alpha) - 0.5 * spread
    return height - (alpha + 0.5) * torch.log1p(surprise / beta)
