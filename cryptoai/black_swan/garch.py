"""How wild is this moment: GARCH(1,1) with Student-t shocks, fitted by `arch`, run by a recursion of our own.

`conditional` filters returns with it before a tail is fitted (McNeil and Frey 2000). Only `fit_garch` needs `arch`, and
only training calls it; the recursion needs numpy and scipy alone and never looks ahead: the deviation of step t is made
of returns before t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import signal

from cryptoai.core.errors import DataError

__all__ = ["LEAST", "Garch", "fit_garch"]

LEAST = 500
"""Returns that a fit needs."""

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Garch:
    """v[t+1] = omega + alpha (r[t] - mean)^2 + beta v[t] (Bollerslev 1987), in the unit of the returns, squared.

    nu: degrees of freedom of the shocks, infinite for normal ones; start: the variance before the first return.
    """

    mean: float
    omega: float
    alpha: float
    beta: float
    nu: float
    start: float

    @property
    def persistence(self) -> float:
        """Share of a shock to the variance that is left after one step."""
        return self.alpha + self.beta

    def deviations(self, returns: Floats) -> Doubles:
        """Standard deviation of each of the returns [n] given those before it, and of the one to come: [n + 1]."""
        shocks = np.square(np.asarray(returns, dtype=np.float64) - self.mean)
        driven = self.omega + self.alpha * shocks
        after, _ = signal.lfilter([1.0], [1.0, -self.beta], driven, zi=[self.beta * self.start])
        return np.asarray(np.sqrt(np.concatenate([[self.start], after])))


def fit_garch(returns: Floats, *, normal: bool = False) -> Garch:
    """Maximum likelihood on returns [n] in time order; DataError below 500, where one is not finite or none moves.

    normal: shocks are normal, as in the baseline of the gates. The variance starts at that of the returns.
    """
    from arch import arch_model

    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1 or values.size < LEAST or not np.isfinite(values).all():
        raise DataError(f"a volatility filter needs {LEAST} finite returns in time order; give more data")
    scale = float(values.std())
    if scale < 1e-15:
        raise DataError("the returns do not move: there is no volatility to filter")
    model = arch_model(values / scale, mean="Constant", dist="normal" if normal else "t", rescale=False)
    found = model.fit(disp="off", show_warning=False).params
    alpha, beta = float(found["alpha[1]"]), float(found["beta[1]"])
    omega = max(float(found["omega"]), 1e-10) * scale**2
    nu = math.inf if normal else float(found["nu"])
    return Garch(float(found["mu"]) * scale, omega, alpha, min(beta, 1.0 - 1e-9), nu, scale**2)
