"""Queue models: how much of a level still stands before our order when quantity left it and nobody says from where.

`matching` calls `left_in_front` in its compiled loop; `MODELS` names the models for the configuration. A model must
never see the future or draw a random number: the probabilistic ones move the order by the expected share.

    fifo    all of it stood behind us until the level shows less than is ahead of us: ahead' = min(ahead, shown).
            No real queue is slower: the bound called risk averse, and the default.
    power   the share w(front) / (w(front) + w(back)) left before us, with w(x) = x^n (n = 1: cancellations hit each
            unit alike; a larger n: the larger part is hit more than in proportion);
    log     the same with w(x) = log(1 + x);
    touch   no queue at all: whoever is touched is filled whole. The other bound, for comparison only.

The probabilistic family is the one market makers' backtests use for feeds without order ids (Rigtorp 2013, "Estimating
order queue position"); here it is rounded against us, to whole steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from cryptoai.data_universe.jit import lean

__all__ = ["FIFO", "LOG", "MODELS", "POWER", "TOUCH", "left_in_front"]

FIFO, POWER, LOG, TOUCH = range(4)

MODELS: Mapping[str, int] = MappingProxyType({"fifo": FIFO, "power": POWER, "log": LOG, "touch": TOUCH})
"""Name in the configuration -> number in the compiled state."""


@lean
def left_in_front(model: int, exponent: float, ahead: int, before: int, shown: int) -> int:
    """Steps ahead of us after a level went from `before` (net of what traded) to `shown` displayed.

    Never more than `ahead` or `shown`, never less than 0.
    """
    gone = before - shown
    if gone <= 0 or ahead <= 0:
        return min(ahead, shown)
    front = _weight(model, exponent, float(ahead))
    back = _weight(model, exponent, float(max(before - ahead, 0)))
    return min(ahead - int(gone * front / (front + back)), shown)


@lean
def _weight(model: int, exponent: float, quantity: float) -> float:
    return math.log(1.0 + quantity) if model == LOG else quantity**exponent
