"""What the policy is paid: one pure function of the action, the market's next return and what was held before.

Used by imagination and by whoever scores a policy on recorded returns. Returns and costs are in volatility units
(1 = one standard deviation of the return of a decision interval), so that one learning rate fits every market.
It must never look past the one return it is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["OBJECTIVES", "WEIGHTS", "Step", "reward", "wanted_exposure"]

OBJECTIVES = ("profit", "cost", "downside")
"""Last axis of every reward and value; the sum of the first two is the net result."""
WEIGHTS = (1.0, 1.0, 0.1)
"""How the objectives are added at the advantage; they can change without training the critic anew."""

PATIENT_FILL = 0.5
"""Share of a wanted change that trades in one interval when waiting at the touch; at full urgency it is all."""
PATIENT_COST = 0.4
"""Cost of waiting over cost of crossing: 2 against 5 basis points, the maker and taker fee of the perpetual."""
LEVERAGE_CHARGE = 0.01
"""Charge on exposure at full leverage: it brings liquidation nearer and, for one instrument, earns nothing."""
TAIL_START = 1.645
"""Loss from which the downside counts; the 95 % quantile of a normal return at full exposure."""


@dataclass(frozen=True, slots=True)
class Step:
    """exposure (B,): what is held after the trade, in [-1, 1]; reward (B, 3) by OBJECTIVES."""

    exposure: Tensor
    reward: Tensor


def wanted_exposure(action: Tensor) -> Tensor:
    """direction * max(size, 0): (B, 4) -> (B,), the meaning fixed by `core.messages.Action`."""
    return action[..., 0] * action[..., 1].clamp(min=0.0)


def reward(action: Tensor, before: Tensor, returns: Tensor, cost: float, *, expected: Tensor | None = None) -> Step:
    """action (B, 4) in [-1, 1], exposure before (B,), next return (B,) -> what is held and earned.

    expected (B,): the mean of that return given what was known, if it is; profit is then paid in expectation, which has
    the same mean and far less noise (Rao-Blackwell), while the downside meets the return itself.

    profit = exposure * return. Timing trades certainty of execution against its price: at full urgency the whole change
    is traded at `cost` a unit, a patient order trades half of it at 0.4 of that. Leverage costs and earns nothing.
    downside = -max(loss - 1.645, 0), the expected-shortfall term of Rockafellar and Uryasev (2000) at a fixed level.
    """
    urgency = 0.5 * (action[..., 3] + 1.0)
    change = (PATIENT_FILL + (1.0 - PATIENT_FILL) * urgency) * (wanted_exposure(action) - before)
    exposure = before + change
    drawn = exposure * returns
    profit = drawn if expected is None else exposure * expected
    fee = cost * (PATIENT_COST + (1.0 - PATIENT_COST) * urgency) * change.abs()
    charge = LEVERAGE_CHARGE * exposure.abs() * (0.5 * (action[..., 2] + 1.0)) ** 2
    spent = -(fee + charge)
    downside = -(-(drawn + spent) - TAIL_START).clamp(min=0.0)
    return Step(exposure, torch.stack([profit, spent, downside], -1))
