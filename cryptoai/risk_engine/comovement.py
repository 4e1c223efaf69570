"""How two instruments move together: an exponentially weighted correlation of their returns between decisions.

The kernel feeds it the mids of every round; the judge's portfolio limits read it. Plain floats in a fixed order, so a
replay gives the same numbers. What was seen too rarely is unknown, which the limits take for moving as one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product

__all__ = ["Comovement"]

HALF_LIFE = 120.0
LEAST = 30


class Comovement:
    """Correlations with a half-life of 120 rounds, known from 30 common returns on (RiskMetrics 1996, section 5)."""

    def __init__(self) -> None:
        self._decay = 0.5 ** (1.0 / HALF_LIFE)
        self._last: dict[str, float] = {}
        self._products: dict[tuple[str, str], float] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def observe(self, mids: Mapping[str, float]) -> None:
        """One round: the mid of every instrument that has one, all above zero."""
        returns = {name: math.log(mid / self._last[name]) for name, mid in mids.items() if name in self._last}
        self._last.update(mids)
        for (a, x), (b, y) in product(returns.items(), repeat=2):
            self._products[a, b] = self._decay * self._products.get((a, b), 0.0) + x * y
            self._counts[a, b] = self._counts.get((a, b), 0) + 1

    def correlation(self, a: str, b: str) -> float | None:
        """In [-1, 1]; None while unknown or while one of the two has not moved."""
        spread = math.sqrt(self._products.get((a, a), 0.0) * self._products.get((b, b), 0.0))
        if self._counts.get((a, b), 0) < LEAST or spread <= 0:
            return None
        return max(-1.0, min(1.0, self._products[a, b] / spread))
