"""Markets of known truth in the form that the meta-controller trades: B lives along the paths of a generator.

The gates of the options and their tests step it. It must never show the side of the market, or a return before it is
traded over.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cryptoai.decision_engine.options import FULL_MOVE, Signals
from cryptoai.testing.market.hidden_trend import HiddenTrend

__all__ = ["HiddenTrendLives"]


class HiddenTrendLives:
    """One life a path of `HiddenTrend`. At full exposure the position is that of the clairvoyant after a move of 3 sd.

    The reward is position x return - position^2 / 2; `positions` keeps what was held, one (B,) a step.
    """

    def __init__(self, market: HiddenTrend) -> None:
        self._returns = torch.from_numpy(market.returns).float()
        self._full = FULL_MOVE * market.phi
        self._at = 0
        self.positions: list[Tensor] = []

    @property
    def left(self) -> int:
        """Steps until the paths end."""
        return len(self._returns) - 1 - self._at

    def signals(self) -> Signals:
        """The latest return is both move and stretch: it led away from the price before. There is no carry."""
        move = self._returns[self._at]
        return Signals(move, move, torch.zeros_like(move))

    def trade(self, exposure: Tensor) -> tuple[Tensor, Tensor]:
        position = self._full * exposure
        self._at += 1
        returns = self._returns[self._at]
        self.positions.append(position)
        return returns, (position * returns - position.square() / 2).unsqueeze(-1)

    def held(self) -> np.ndarray:
        """Positions so far, float64 [steps, B]."""
        return torch.stack(self.positions).double().numpy()
