"""A market that breaks: its volatility or its mean jumps at moments that nobody announces, and the truth of them.

The gate of the break alarm and its tests use it. All of it follows from the seed. It must never let two breaks come
closer than `MIN_GAP` rows: an alarm that answers one of them could not be told from one that answers the other.

Kinds, and the rows that a level lasts (a least number and a geometric one):
    volatility   normal noise of sd 1, with bursts of sd 2; calm 250 + 250 on average, burst 60 + 140
    mean         Student-t noise of 5 degrees of freedom, sd 1, whose mean is 0 or `shift`; each level 60 + 190
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import DataError

__all__ = ["KINDS", "MIN_GAP", "BreakMarket", "break_market"]

KINDS = ("volatility", "mean")
MIN_GAP = 60
LASTS = {"volatility": ((250, 250), (60, 140)), "mean": ((60, 190), (60, 190))}
"""Of each level: rows in which it cannot end, and the mean number of rows after them."""
SD = (1.0, 2.0)
FREEDOM = 5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BreakMarket:
    """values float64 [N]; level int8 [N], 0 or 1, the hidden truth; breaks int64 [K], the first row of each new level.

    kind, shift: as given to `break_market`.
    """

    values: Floats
    level: npt.NDArray[np.int8]
    breaks: npt.NDArray[np.int64]
    kind: str
    shift: float

    def oracle(self, recent: int = 20, levels: tuple[int, ...] = (0, 1)) -> Floats:
        """P(a break to one of `levels` fell in the last `recent` rows, t among them | values up to t), [N].

        Exact: a filter over (level, rows since its break) that knows both levels and the law of how long they last.
        """
        hazard, fits = _hazard(self.kind), self._fits()
        mass, answer = np.zeros_like(hazard), np.empty(len(fits))
        mass[0, -1] = 1.0
        for t, fit in enumerate(fits):
            mass = (_age(mass, hazard) if t else mass) * fit[:, None]
            mass /= mass.sum()
            answer[t] = mass[list(levels), :recent].sum()
        return answer

    def _fits(self) -> Floats:
        """Likelihood of each value under each level up to a common factor, [N, 2]."""
        if self.kind == "volatility":
            sd = np.asarray(SD)
            return np.asarray(np.exp(-0.5 * (self.values[:, None] / sd) ** 2) / sd) + 1e-300
        away = (self.values[:, None] - np.array([0.0, self.shift])) * math.sqrt(FREEDOM / (FREEDOM - 2))
        return np.asarray((1 + away**2 / FREEDOM) ** (-(FREEDOM + 1) / 2))


def _hazard(kind: str) -> Floats:
    """Chance of each level to end at a row, by rows since its break, [2, longest least number + 1]."""
    least = [rows for rows, _ in LASTS[kind]]
    ages = np.arange(max(least))
    return np.stack([np.where(ages >= rows - 1, 1.0 / mean, 0.0) for rows, mean in LASTS[kind]])


def _age(mass: Floats, hazard: Floats) -> Floats:
    """One row on: masses by level and rows since its break; the last column is that many rows or more."""
    stays = mass * (1 - hazard)
    older = np.empty_like(mass)
    older[:, 1:] = stays[:, :-1]
    older[:, -1] += stays[:, -1]
    older[:, 0] = (mass * hazard).sum(axis=1)[::-1]
    return older


def break_market(seed: int, rows: int, kind: str = "volatility", *, shift: float = 1.0) -> BreakMarket:
    """`rows` rows, begun in level 0 long after its break. Same seed, same bytes; DataError for an unknown kind."""
    if kind not in KINDS:
        raise DataError(f"kind {kind!r} of a break market is unknown; choose one of {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    breaks = _breaks(rng, rows, kind)
    level = (np.searchsorted(breaks, np.arange(rows), side="right") % 2).astype(np.int8)
    if kind == "volatility":
        return BreakMarket(np.asarray(SD)[level] * rng.standard_normal(rows), level, breaks, kind, shift)
    noise = rng.standard_t(FREEDOM, rows) * math.sqrt((FREEDOM - 2) / FREEDOM)
    return BreakMarket(shift * level + noise, level, breaks, kind, shift)


def _breaks(rng: np.random.Generator, rows: int, kind: str) -> npt.NDArray[np.int64]:
    """First rows of the levels after the first, whose own break lies before the data."""
    least, mean = np.transpose([LASTS[kind][n % 2] for n in range(rows // MIN_GAP + 2)])
    gaps = least - 1 + rng.geometric(1.0 / mean)
    gaps[0] -= least[0] - 1
    breaks = np.cumsum(gaps)
    return np.asarray(breaks[breaks < rows])
