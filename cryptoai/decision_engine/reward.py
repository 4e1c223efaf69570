"""What the policy is paid: one pure function of the action, the market's next return and what was held before.

Used by imagination and by whoever scores a policy on recorded returns. Returns and costs are in volatility units
(1 = one standard deviation of the return of a decision interval), so that one learning rate fits every market. The
terms are defined in `objectives`. It must never look past the one return it is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cryptoai.decision_engine.objectives import OBJECTIVES, WEIGHTS, cvar_term, drawdown_after

__all__ = ["OBJECTIVES", "WEIGHTS", "Step", "reward", "wanted_exposure"]

PATIENT_FILL = 0.5
"""Share of a wanted change that trades in one interval when waiting at the touch; at full urgency it is all."""
PATIENT_COST = 0.4
"""Cost of waiting over cost of crossing: 2 against 5 basis points, the maker and taker fee of the perpetual."""
LEVERAGE_CHARGE = 0.01
"""Charge on exposure at full leverage: it brings liquidation nearer and, for one instrument, earns nothing."""


@dataclass(frozen=True, slots=True)
class Step:
    """exposure (B,): what is held after the trade, in [-1, 1]; reward (B, 5) by OBJECTIVES; drawdown (B,) after it."""

    exposure: Tensor
    reward: Tensor
    drawdown: Tensor


def wanted_exposure(action: Tensor) -> Tensor:
    """direction * max(size, 0): (B, 4) -> (B,), the meaning fixed by `core.messages.Action`."""
    return action[..., 0] * action[..., 1].clamp(min=0.0)


def reward(
    action: Tensor,
    before: Tensor,
    returns: Tensor,
    cost: float,
    *,
    expected: Tensor | None = None,
    spread: Tensor | None = None,
    drawdown: Tensor | None = None,
) -> Step:
    """action (B, 4) in [-1, 1], exposure before (B,), next return (B,) -> what is held and earned.

    expected (B,): the mean of that return given what was known, if it is; the return objective is then paid in
    expectation, which has the same mean and far less noise (Rao-Blackwell), while all else meets the return itself.
    spread (B,): its standard deviation given what was known, 1 without. drawdown (B,): before the step, 0 without.

    Timing trades certainty of execution against its price: at full urgency the whole change is traded at `cost` a unit,
    a patient order trades half of it at 0.4 of that. Leverage costs and earns nothing.
    """
    urgency = 0.5 * (action[..., 3] + 1.0)
    change = (PATIENT_FILL + (1.0 - PATIENT_FILL) * urgency) * (wanted_exposure(action) - before)
    exposure = before + change
    drawn = exposure * returns
    fee = cost * (PATIENT_COST + (1.0 - PATIENT_COST) * urgency) * change.abs()
    spent = -(fee + LEVERAGE_CHARGE * exposure.abs() * (0.5 * (action[..., 2] + 1.0)) ** 2)
    depth = torch.zeros_like(exposure) if drawdown is None else drawdown
    deeper = drawdown_after(depth, drawn + spent)
    earned = drawn if expected is None else exposure * expected
    tail = cvar_term(exposure, drawn, 1.0 if spread is None else spread)
    return Step(exposure, torch.stack([earned, spent, depth - deeper, tail, -change.abs()], -1), deeper)
