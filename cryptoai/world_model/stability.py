"""How often a link is found again in halves of the data: stability selection (Meinshausen and Bühlmann 2010).

`causal_graph` adds these frequencies to its links. The halves are made of blocks of rows, so that memory stays inside
a block, and each half is used with its complement (Shah and Samworth 2013). They are drawn without replacement: a
bootstrap sample repeats rows, and a test that takes them for new ones finds links in noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import DataError
from cryptoai.world_model.causal_tests import Correlations, Floats, correlations

__all__ = ["Stability", "halves", "stability"]

Found = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stability:
    """frequency float64[N, N, lags]: share of halves in which a link was found."""

    frequency: Floats

    def expected_false(self, threshold: float = 0.9) -> float:
        """Most false links to be expected among those as frequent as `threshold` (Meinshausen and Bühlmann, theorem 1).

        It assumes that all false links are equally likely to be found; `threshold` lies in (.5, 1].
        """
        found = float(self.frequency.sum())
        return found**2 / ((2 * threshold - 1) * self.frequency.size)


def stability(
    design: Floats, nodes: int, find: Callable[[Correlations], Found], rng: np.random.Generator, pairs: int
) -> Stability:
    """`find` on 2 * `pairs` halves of `lagged` rows."""
    found = [find(correlations(design[rows], nodes)) for _ in range(pairs) for rows in halves(len(design), rng)]
    return Stability(np.mean(found, axis=0, dtype=np.float64))


def halves(rows: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Two complementary halves of `rows`, each of blocks about sqrt(rows) long, in order."""
    blocks = np.array_split(np.arange(rows), max(2, round(math.sqrt(rows)) // 2 * 2))
    if rows < 4:
        raise DataError(f"{rows} rows cannot be cut into halves of blocks")
    order = rng.permutation(len(blocks))
    first, second = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    return np.concatenate([blocks[b] for b in first]), np.concatenate([blocks[b] for b in second])
