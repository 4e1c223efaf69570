"""Value at risk and expected shortfall of the next step, for longs and for shorts: a volatility filter, then the tails.

    returns -> Garch (-> LogScale) -> shocks = return / deviation -> one Tail a side -> VaR = deviation x quantile

The method of McNeil and Frey (2000). The gates and studies of prices use it; a bundle carries the same idea in
`guard.RiskModel`, where the world model's forecast stands in the place of the filter. It must never use a return to
judge itself: what it says of step t is made of what was known before t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from cryptoai.black_swan.evt import Tail, fit_tail
from cryptoai.black_swan.garch import Garch, fit_garch
from cryptoai.black_swan.scale import LogScale
from cryptoai.core.errors import DataError

__all__ = ["SIDES", "ConditionalTail", "Schedule", "Side", "walk_forward"]

Side = Literal["long", "short"]
SIDES: tuple[Side, Side] = ("long", "short")
"""A long loses when the price falls, a short when it rises."""
LEAST_RATE = 0.05
"""The tails start low enough for VaR at 95 % to be asked."""

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ConditionalTail:
    """A fitted filter and the tails of its shocks, in deviations; long: of falls, short: of rises.

    scale: a second filter on drivers beside the GARCH deviation, or None.
    """

    garch: Garch
    scale: LogScale | None
    long: Tail
    short: Tail

    @classmethod
    def fit(cls, returns: Floats, drivers: Floats | None = None, *, min_exceed: int = 100) -> Self:
        """returns [n] in time order, drivers [n, K] known before each; DataError if there are too few."""
        garch = fit_garch(returns)
        off, scale = returns - garch.mean, None
        if drivers is not None:
            scale = LogScale.fit(off, _with_garch(garch, returns, drivers))
        shocks = off / _deviations(garch, scale, returns, drivers)[: len(returns)]
        long, short = (
            fit_tail(side, min_exceed=min_exceed, least_rate=LEAST_RATE) for side in (-shocks, shocks)
        )  # fmt: skip
        return cls(garch, scale, long, short)

    def deviations(self, returns: Floats, drivers: Floats | None = None) -> Doubles:
        """The unit of the tails at each of the returns [n], given what was known before it.

        [n + 1], the last for the return to come; with drivers [m, K], m is n or n + 1 and so is the answer's length.
        """
        return _deviations(self.garch, self.scale, returns, drivers)

    def risk(
        self, returns: Floats, p: float, side: Side = "long", drivers: Floats | None = None
    ) -> tuple[Doubles, Doubles]:
        """(VaR, ES) at level `p` >= .95, of the length of `deviations`: losses, positive, in unit of returns."""
        tail = self.long if side == "long" else self.short
        drift = self.garch.mean * (-1.0 if side == "long" else 1.0)
        deviation = self.deviations(returns, drivers)
        return drift + deviation * tail.var(p), drift + deviation * tail.es(p)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Forecasts begin at step `start` and are fitted anew every `every` steps, on the last `window` steps."""

    start: int = 2000
    every: int = 500
    window: int = 8000


def walk_forward(
    returns: Floats, levels: Sequence[float], schedule: Schedule, drivers: Floats | None = None
) -> Mapping[tuple[Side, float], Doubles]:
    """VaR of each return [n], for both sides at each level, by fits to earlier returns alone; NaN before the start.

    drivers: [n, K], known before each return. DataError if nothing is left to be forecast.
    """
    n = len(returns)
    if n <= schedule.start:
        raise DataError(f"{n} returns leave nothing after the first {schedule.start}; give more data")
    answers = {(side, p): np.full(n, np.nan) for side in SIDES for p in levels}
    for now in range(schedule.start, n, schedule.every):
        first, stop = max(0, now - schedule.window), min(now + schedule.every, n)
        known = None if drivers is None else drivers[first:now]
        model = ConditionalTail.fit(returns[first:now], known)
        ahead = None if drivers is None else drivers[first:stop]
        for (side, p), answer in answers.items():
            answer[now:stop] = model.risk(returns[first:stop], p, side, ahead)[0][now - first : stop - first]
    return answers


def _with_garch(garch: Garch, returns: Floats, drivers: Floats) -> Doubles:
    """The logarithm of the GARCH deviation is one more driver."""
    return np.column_stack([drivers, np.log(garch.deviations(returns)[: len(drivers)])])


def _deviations(garch: Garch, scale: LogScale | None, returns: Floats, drivers: Floats | None) -> Doubles:
    if scale is None:
        return garch.deviations(returns)
    if drivers is None:
        raise DataError("this model was fitted with drivers; give those of the returns too")
    return scale.of(_with_garch(garch, returns, drivers))
