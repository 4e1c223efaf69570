"""The forecast that knows nothing: a mixture of Student-t around zero, fitted to the returns of the fit part.

It is where the world model's return heads start from, and the baseline that they must beat. Its locations are held at
zero: the drift of a short window is luck, and a policy would trade on it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryptoai.world_model.distributions import SCALE_FLOOR
from cryptoai.world_model.returns import COMPONENTS, HORIZONS

__all__ = ["fit_base"]

_SPREAD = np.array([0.1, 0.35, 0.7, 1.2, 2.5])
_LEAST = SCALE_FLOOR + 1e-3
_MOST_ROWS = 50_000


def fit_base(returns: NDArray[np.floating], known: NDArray[np.bool_]) -> Tensor:
    """returns, known [N, H] -> unconstrained parameters (H, 3, K) for `WorldModel.set_units`.

    A horizon that the fit part is too short for gets the spread of a random walk.
    """
    fits = [
        _fit(returns[known[:, h], h].astype(np.float64), steps**0.5)
        for h, steps in enumerate(HORIZONS[: returns.shape[1]])
    ]
    return torch.from_numpy(np.stack(fits)).float()


def _fit(x: NDArray[np.float64], unknown: float, rounds: int = 60) -> NDArray[np.float64]:
    """Expectation maximisation for scales and weights of t4 components at zero (Peel and McLachlan 2000)."""
    x = x[:: max(1, len(x) // _MOST_ROWS)]
    scale = np.maximum(_SPREAD * (x.std() if len(x) else unknown), _LEAST)
    weight = np.full(COMPONENTS, 1 / COMPONENTS)
    for _ in range(rounds if len(x) else 0):
        z2 = (x[:, None] / scale) ** 2
        density = weight / scale * (1 + z2 / 4) ** -2.5
        share = density / density.sum(1, keepdims=True)
        pull = share * 5 / (4 + z2)
        scale = np.maximum(np.sqrt((pull * x[:, None] ** 2).sum(0) / np.maximum(share.sum(0), 1e-9)), _LEAST)
        weight = (share.sum(0) + 1) / (len(x) + COMPONENTS)  # one imagined observation each: no weight becomes 0
    return np.stack([np.log(weight), np.zeros(COMPONENTS), np.log(np.expm1(scale - SCALE_FLOOR))])
