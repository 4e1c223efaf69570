"""What the learned stack must be compared with on real data, on the same rows, features and costs.

Forecasters give a Student-t with 4 degrees of freedom for the next return; traders give the exposure held from each
row to the next. All are fitted on the training rows alone. The gates of real data use them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Boosting", "ewma_scale", "fitted_multiple", "net_bps", "t4_log_density", "volatility_target"]

Floats = npt.NDArray[np.float64]

DECAY = 0.94
"""RiskMetrics' decay of the variance estimate."""
BAND = 0.1
"""Share of the budget that a volatility target must move by before it is traded."""
_SETTINGS: dict[str, Any] = {
    "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 100, "feature_fraction": 0.8, "seed": 7,
    "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
}  # fmt: skip
_ROUNDS = 150


def t4_log_density(x: Floats, mean: Floats, scale: Floats) -> Floats:
    """Of Student's t with 4 degrees of freedom."""
    z = (x - mean) / scale
    density: Floats = np.log(3.0 / 8.0) - np.log(scale) - 2.5 * np.log1p(z * z / 4.0)
    return density


def ewma_scale(returns: Floats) -> Floats:
    """Root of the exponentially weighted mean square of returns before and at each row (RiskMetrics 1996)."""
    found, variance = np.empty(len(returns)), float(np.mean(returns[:100] ** 2))
    for at, value in enumerate(returns):
        variance = DECAY * variance + (1 - DECAY) * value * value
        found[at] = variance
    return np.sqrt(np.maximum(found, 1e-8))


def fitted_multiple(x: Floats, mean: Floats, scale: Floats) -> float:
    """The multiple of `scale` under which x is most likely."""
    tried = np.geomspace(0.2, 5.0, 60)
    return float(tried[np.argmax([t4_log_density(x, mean, m * scale).mean() for m in tried])])


def net_bps(exposure: Floats, returns_bps: Floats, cost_bps: float) -> Floats:
    """What each row's exposure earned until the next, less the cost of getting there from the one before, from flat."""
    return exposure * returns_bps - cost_bps * np.abs(np.diff(exposure, prepend=0.0))


def volatility_target(scale: Floats, target: float) -> Floats:
    """Long, in proportion to target / scale up to all of the budget; traded where it moves by more than the band."""
    held, found = 0.0, np.empty(len(scale))
    for at, wanted in enumerate(np.minimum(1.0, target / scale)):
        held = wanted if abs(wanted - held) > BAND else held
        found[at] = held
    return found


@dataclass(frozen=True, slots=True)
class Boosting:
    """Gradient-boosted trees (LightGBM) for mean and absolute size of the next return, in any unit of `returns`."""

    mean_model: Any
    size_model: Any
    multiple: float
    floor: float

    @classmethod
    def fit(cls, features: Floats, returns: Floats, floor: float) -> Boosting:
        """The last tenth of the rows settles the multiple between size and scale, which is never below `floor`."""
        import lightgbm

        cut = int(0.9 * len(returns))

        def trained(label: Floats, objective: str) -> Any:
            data = lightgbm.Dataset(features[:cut], label=label[:cut])
            return lightgbm.train(_SETTINGS | {"objective": objective}, data, num_boost_round=_ROUNDS)

        mean, size = trained(returns, "l2"), trained(np.abs(returns), "l2")
        made = cls(mean, size, 1.0, floor)
        return cls(mean, size, fitted_multiple(returns[cut:], *made.forecast(features[cut:])), floor)

    def forecast(self, features: Floats) -> tuple[Floats, Floats]:
        """Mean and scale of the Student-t."""
        mean = np.asarray(self.mean_model.predict(features), np.float64)
        size = np.maximum(np.asarray(self.size_model.predict(features), np.float64), self.floor)
        return mean, np.maximum(self.multiple * size, self.floor)

    def exposures(self, features: Floats, cost: float) -> Floats:
        """The whole budget in the direction of the forecast where that pays for a trade; else what is held stays."""
        mean, _ = self.forecast(features)
        held, found = 0.0, np.empty(len(mean))
        for at, value in enumerate(mean):
            held = float(np.sign(value)) if abs(value) > cost else held
            found[at] = held
        return found
