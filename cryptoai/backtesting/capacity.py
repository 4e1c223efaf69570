"""How much money the strategy could have managed: the same replay at multiples of the size.

`cryptoai backtest --capacity` runs the trials of `sizes` like a grid and reads the curve off. What bends it: the book
is walked further, the simulated impact is paid, and the judge's shares of depth and volume bind. Every size pays its
own costs; nothing is extrapolated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["MONEY", "SizePoint", "capacity_curve", "sizes"]

MONEY = "execution.initial_cash"


@dataclass(frozen=True, slots=True)
class SizePoint:
    """At `multiple` of the configured money: net_return and turnover as shares of it, profit in money.

    `bound` counts how often each limit of the judge held a decision back.
    """

    multiple: float
    money: float
    net_return: float
    profit: float
    turnover: float
    bound: Mapping[str, int]


def sizes(money: float, multiples: Sequence[float]) -> dict[str, list[float]]:
    """The axis of a grid: `money` times each multiple."""
    return {MONEY: [money * multiple for multiple in sorted(set(multiples))]}


def capacity_curve(rows: Sequence[Mapping[str, Any]], money: float) -> tuple[SizePoint, ...]:
    """Of the rows of a grid over `sizes`, smallest first; failed ones are left out."""
    points = [_point(row, money) for row in rows if not row["error"]]
    return tuple(sorted(points, key=lambda point: point.multiple))


def _point(row: Mapping[str, Any], money: float) -> SizePoint:
    size = float(row["settings"][MONEY])
    share = float(row["net_return"])
    return SizePoint(size / money, size, share, share * size, float(row["turnover"]), row["limits_that_bound"])
