"""Options: four small, documented ways to hold a position, and the paper record of each.

The meta-controller chooses among them (`meta`). An option is a closed-form policy over a few signals that any market
has; it never learns, so that its name keeps its meaning. The record is what each option would have earned, kept for all
of them at once: it is all that is known about which one suits the market now. It must never hold a return before that
return is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

__all__ = ["FULL_CARRY", "FULL_MOVE", "HALF_LIVES", "OPTIONS", "RECORD_WIDTH", "Record", "Signals", "option_exposures"]

OPTIONS = ("trend", "revert", "carry", "flat")
"""Order of the last axis of `option_exposures`.

trend: along the latest move (time-series momentum, Moskowitz, Ooi and Pedersen 2012). revert: against the stretch of
the price over its mean (Poterba and Summers 1988). carry: the side that is paid for being held, by funding or basis
(Koijen et al. 2018); for somebody with a position elsewhere, the hedge that pays. flat: nothing.
"""
FULL_MOVE = 3.0
"""Move or stretch, in volatility units, at which the whole risk budget is held."""
FULL_CARRY = 0.1
"""Carry a step, in volatility units, at which it is held."""
HALF_LIVES = (4.0, 12.0, 36.0)
"""Of the averages in a record, steps."""
RECORD_WIDTH = len(OPTIONS) * len(HALF_LIVES)

_POWER_HALF_LIFE = 256.0
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Signals:
    """What the options know, each (B,), in volatility units of one step.

    move: the latest return; stretch: how far the price stands over its running mean; carry: what one unit of long
    exposure is paid for a step (minus the funding of a perpetual).
    """

    move: Tensor
    stretch: Tensor
    carry: Tensor


def option_exposures(signals: Signals) -> Tensor:
    """(B, 4) by OPTIONS, each in [-1, 1], in proportion to its signal."""
    trend = (signals.move / FULL_MOVE).clamp(-1.0, 1.0)
    revert = (-signals.stretch / FULL_MOVE).clamp(-1.0, 1.0)
    carry = (signals.carry / FULL_CARRY).clamp(-1.0, 1.0)
    return torch.stack([trend, revert, carry, torch.zeros_like(trend)], -1)


@dataclass(frozen=True, slots=True)
class Record:
    """Paper results of the options over B lives.

    averages (B, 4, 3): exponential averages of exposure x return by HALF_LIVES; power (B, 4): slow average of its
    square, not yet divided by `weight` (how much of it is filled, the same for all).
    """

    averages: Tensor
    power: Tensor
    weight: float

    @classmethod
    def empty(cls, lives: int, device: torch.device | str = "cpu") -> Self:
        options = len(OPTIONS)
        zero = torch.zeros(lives, options, device=device)
        return cls(torch.zeros(lives, options, len(HALF_LIVES), device=device), zero, 0.0)

    def after(self, exposures: Tensor, returns: Tensor) -> Record:
        """The record once the options' exposures (B, 4) have met the returns (B,)."""
        earned = exposures * returns.unsqueeze(-1)
        keep = self.averages.new_tensor([0.5 ** (1 / half) for half in HALF_LIVES])
        slow = 0.5 ** (1 / _POWER_HALF_LIFE)
        averages = keep * self.averages + (1 - keep) * earned.unsqueeze(-1)
        power = slow * self.power + (1 - slow) * earned.square()
        return Record(averages, power, slow * self.weight + 1 - slow)

    def statistics(self) -> Tensor:
        """(B, 12): each average over its standard error, as if the option had no skill; 0 for one that never held."""
        keep = self.averages.new_tensor([0.5 ** (1 / half) for half in HALF_LIVES])
        error = (self.power / max(self.weight, _LEAST)).sqrt().unsqueeze(-1) * ((1 - keep) / (1 + keep)).sqrt()
        plain = torch.where(error > _LEAST, self.averages / error.clamp(min=_LEAST), torch.zeros_like(self.averages))
        return plain.flatten(-2)
