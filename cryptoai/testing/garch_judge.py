"""ARX-GARCH(1, 1) with Student-t innovations: the forecaster of returns that is hard to beat.

Gates of the world model compare with it in the same run. It is fitted by `arch` and given the informative feature
alone, without the noise beside it: an advantage that the learned model does not have. It must never be fitted on
returns that it is judged on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

__all__ = ["GarchJudge"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GarchJudge:
    """r_t = constant + lag r_{t-1} + gain x_t + s_t e_t, s_t^2 = omega + alpha (s e)_{t-1}^2 + beta s_{t-1}^2.

    x_t is known before r_t. `persistence`, `shock`: the feature's own first-order autoregression. Units: those of r.
    """

    constant: float
    lag: float
    gain: float
    omega: float
    alpha: float
    beta: float
    freedom: float
    persistence: float
    shock: float

    @classmethod
    def fit(cls, returns: Floats, feature: Floats) -> Self:
        """Maximum likelihood on returns [N] and the feature [N] known before each."""
        from arch import arch_model

        model = arch_model(returns, x=feature[:, None], mean="ARX", lags=1, vol="GARCH", dist="t", rescale=False)
        constant, lag, gain, *variance, freedom = map(float, model.fit(disp="off", show_warning=False).params)
        persistence = float(np.corrcoef(feature[1:], feature[:-1])[0, 1])
        shock = float(feature.std()) * float(np.sqrt(1 - persistence**2))
        omega, alpha, beta = variance
        return cls(constant, lag, gain, omega, alpha, beta, freedom, persistence, shock)

    def filtered(self, returns: Floats, feature: Floats) -> tuple[Floats, Floats]:
        """Mean and sd of each return given all before it, [N] each."""
        before = np.concatenate([[0.0], returns[:-1]])
        mean = self.constant + self.lag * before + self.gain * feature
        left = returns - mean
        variance = np.empty(len(returns))
        now = float(left.var())
        for t, error in enumerate(left):
            variance[t] = now
            now = self.omega + self.alpha * error * error + self.beta * now
        return mean, np.sqrt(variance)

    def log_density(self, returns: Floats, feature: Floats) -> Floats:
        """Of each return given all before it, [N]."""
        from scipy import stats

        mean, sd = self.filtered(returns, feature)
        scale = sd * np.sqrt((self.freedom - 2) / self.freedom)
        return np.asarray(stats.t.logpdf(returns, self.freedom, mean, scale))

    def paths(
        self, state: tuple[Floats, Floats, Floats], steps: int, count: int, rng: np.random.Generator
    ) -> Floats:  # fmt: skip
        """Returns [n, count, steps]; state: return before, feature at and sd of the first step, [n] each."""
        shape = (len(state[0]), count)
        before, x, variance = (np.broadcast_to(part[:, None], shape) for part in (state[0], state[1], state[2] ** 2))
        drawn = np.empty((*shape, steps))
        for step in range(steps):
            noise = rng.standard_t(self.freedom, shape) * np.sqrt((self.freedom - 2) / self.freedom)
            error = np.sqrt(variance) * noise
            before = self.constant + self.lag * before + self.gain * x + error
            drawn[..., step] = before
            variance = self.omega + self.alpha * error**2 + self.beta * variance
            x = self.persistence * x + self.shock * rng.standard_normal(shape)
        return drawn
