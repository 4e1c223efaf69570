"""Market J: a planted alpha with quadratic costs, whose optimal trading is known exactly.

A signal f follows an AR(1) of unit variance, the next return is B f plus noise, and trading costs lambda Sigma / 2
times the square of the trade (Garleanu and Pedersen 2013, Dynamic trading with predictable returns and transaction
costs). The policy gates live in it. With `r_squared` zero it is the noise-only market. It must never reveal a return
before it is earned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import ConfigError

__all__ = ["AlphaPath", "PlantedAlpha"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AlphaPath:
    """signal (T,), known at t; returns (T,): what a position held from t to t + 1 earns for each unit."""

    signal: Floats
    returns: Floats


@dataclass(frozen=True, slots=True)
class PlantedAlpha:
    """Parameters, of one step."""

    r_squared: float = 0.02
    """Share of the returns' variance that the signal explains; 0 is a market without an edge."""
    half_life: float = 8.0
    """Of the signal, in steps."""
    risk_aversion: float = 5.0
    """gamma: the objective pays x r - gamma / 2 x^2 Sigma."""
    cost: float = 20.0
    """lambda: a trade of d costs lambda / 2 d^2 Sigma."""
    discount: float = 0.01
    """rho: a reward t steps ahead counts (1 - rho)^t."""
    sigma: float = 0.01
    """Standard deviation of the returns' noise; Sigma is its square."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.r_squared < 1.0:
            raise ConfigError(f"r_squared is {self.r_squared}; give a share from 0 to below 1")

    @property
    def phi(self) -> float:
        """Mean reversion of the signal in one step: f' = (1 - phi) f + noise."""
        return 1.0 - math.exp(-math.log(2.0) / self.half_life)

    @property
    def slope(self) -> float:
        """B: expected return for each unit of signal."""
        return self.sigma * math.sqrt(self.r_squared / (1.0 - self.r_squared))

    @property
    def markowitz(self) -> float:
        """Position for each unit of signal that would be best if trading were free, B / (gamma Sigma)."""
        return self.slope / (self.risk_aversion * self.sigma**2)

    def optimum(self) -> tuple[float, float]:
        """rate, aim: the best trade is rate * (aim * f - x) (Garleanu and Pedersen 2013, equation 7 and proposition 4).

        With a = (-g + sqrt(g^2 + 4 gamma lambda (1-rho)^2)) / (2 (1-rho)), g = gamma (1-rho) + lambda rho: the rate is
        a / lambda, the aim Markowitz / (1 + a phi / gamma).
        """
        gamma, kept = self.risk_aversion, 1.0 - self.discount
        g = gamma * kept + self.cost * self.discount
        a = (math.sqrt(g * g + 4.0 * gamma * self.cost * kept**2) - g) / (2.0 * kept)
        return a / self.cost, self.markowitz / (1.0 + a * self.phi / gamma)

    def capture(self, rate: float, aim: float, steps: int = 2000) -> float:
        """Discounted objective of the linear policy rate * (aim f - x) over the optimum's, from flat; by moments."""
        return self._worth(rate, aim, steps) / self._worth(*self.optimum(), steps)

    def path(self, steps: int, generator: np.random.Generator) -> AlphaPath:
        """A path of the market, the signal stationary from the first step."""
        kept = 1.0 - self.phi
        shocks = generator.standard_normal(steps)
        signal = np.empty(steps)
        signal[0] = shocks[0]
        for t in range(1, steps):
            signal[t] = kept * signal[t - 1] + math.sqrt(1.0 - kept**2) * shocks[t]
        return AlphaPath(signal, self.slope * signal + self.sigma * generator.standard_normal(steps))

    def _worth(self, rate: float, aim: float, steps: int) -> float:
        """E sum (1-rho)^t [(1-rho)(x B f - gamma/2 Sigma x^2) - lambda/2 Sigma d^2] by the second moments of f, x."""
        kept, pull, sigma2 = 1.0 - self.phi, rate * aim, self.sigma**2
        cross = square = total = 0.0
        for t in range(steps):
            new_cross = (1.0 - rate) * cross + pull
            new_square = (1.0 - rate) ** 2 * square + 2.0 * (1.0 - rate) * pull * cross + pull**2
            trade = new_square - 2.0 * ((1.0 - rate) * square + pull * cross) + square
            earned = self.slope * new_cross - 0.5 * self.risk_aversion * sigma2 * new_square
            total += (1.0 - self.discount) ** t * ((1.0 - self.discount) * earned - 0.5 * self.cost * sigma2 * trade)
            cross, square = kept * new_cross, new_square
        return total
