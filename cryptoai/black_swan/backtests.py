"""The tests that judge a forecast of risk: is the rate of breaches right, do breaches cluster, is the shortfall right.

Training's evidence, the gates and whoever compares two forecasts call them. They see only what was forecast before and
what came after; they must never be shown the data that a forecast was fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from cryptoai.core.errors import DataError

__all__ = ["CoverageTest", "christoffersen", "independence", "kupiec", "shortfall_test"]

DRAWS = 2000
"""Bootstrap samples of the shortfall test."""

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CoverageTest:
    """A likelihood-ratio test of value-at-risk breaches; a small p_value rejects the forecast."""

    statistic: float
    p_value: float
    rate: float


def kupiec(breaches: Bools, p: float, overlap: int = 1) -> CoverageTest:
    """Is the rate of breaches 1 - p (unconditional coverage, Kupiec 1995)?

    breaches: bool [n], True where the loss exceeded the forecast at level `p`, for example .99. overlap: losses that
    share what happened, of which one is independent: all count, each as much as 1 / overlap.
    """
    hits, n = float(np.count_nonzero(breaches)) / overlap, float(np.size(breaches)) / overlap
    if n == 0:
        raise DataError("no breaches to test; give at least one forecast")
    ratio = 2.0 * (_log_likelihood(hits, n, hits / n) - _log_likelihood(hits, n, 1.0 - p))
    return CoverageTest(ratio, float(stats.chi2.sf(ratio, 1)), hits / n)


def independence(breaches: Bools) -> CoverageTest:
    """Does a breach say nothing of the next forecast (first-order Markov alternative, Christoffersen 1998)?

    breaches: bool [n] in time order, n >= 2.
    """
    hit = np.asarray(breaches, dtype=bool)
    if hit.size < 2:
        raise DataError("independence needs at least two forecasts in time order")
    after = [hit[1:][hit[:-1] == state] for state in (False, True)]
    chain = sum(_log_likelihood(int(a.sum()), a.size, float(a.mean()) if a.size else 0.0) for a in after)
    free = _log_likelihood(int(hit[1:].sum()), hit.size - 1, float(hit[1:].mean()))
    ratio = 2.0 * (chain - free)
    return CoverageTest(ratio, float(stats.chi2.sf(ratio, 1)), float(hit.mean()))


def christoffersen(breaches: Bools, p: float) -> CoverageTest:
    """Is the rate right and does a breach say nothing of the next (conditional coverage, Christoffersen 1998)?

    breaches: bool [n] in time order, n >= 2. The sum of the two ratios above, with two degrees of freedom.
    """
    hit = np.asarray(breaches, dtype=bool)
    ratio = independence(hit).statistic + kupiec(hit, p).statistic
    return CoverageTest(ratio, float(stats.chi2.sf(ratio, 2)), float(hit.mean()))


def shortfall_test(losses: Floats, var: Floats, es: Floats, scale: Floats, rng: np.random.Generator) -> CoverageTest:
    """Are the losses beyond VaR as bad as ES says (McNeil and Frey 2000, section 4.2; one-sided: worse rejects)?

    losses, var, es, scale: float [n], the forecast of each moment and the deviation that it was made with. The excesses
    (loss - es) / scale of the breaches have mean 0 if ES is right; the p value is that of a bootstrap of that mean.
    `rate` is the share of breaches. DataError below 5 breaches: nothing can be said.
    """
    hit = losses > var
    excess = ((losses - es) / scale)[hit]
    if excess.size < 5:
        raise DataError(f"{excess.size} breaches are too few for a test of the shortfall; give more forecasts")
    statistic = _t_statistic(excess[None, :])[0]
    centred = excess - excess.mean()
    drawn = _t_statistic(rng.choice(centred, size=(DRAWS, excess.size)))
    return CoverageTest(float(statistic), float((1 + (drawn >= statistic).sum()) / (1 + DRAWS)), float(hit.mean()))


def _t_statistic(rows: Floats) -> npt.NDArray[np.float64]:
    """Mean over its standard error, [B] of [B, n]."""
    error = np.maximum(rows.std(axis=1, ddof=1), 1e-12) / np.sqrt(rows.shape[1])
    return np.asarray(rows.mean(axis=1) / error, dtype=np.float64)


def _log_likelihood(hits: float, n: float, rate: float) -> float:
    """Bernoulli log-likelihood with 0 log 0 = 0."""
    return float(special.xlogy(hits, rate) + special.xlog1py(n - hits, -rate))
