"""Is a lagged link a cause, or the shadow of a driver that nobody recorded? Two tests that need no sight of the driver.

    same row     source and target still move together once their pasts are known: something drives both, or a link is
                 faster than the rows are apart
    instrument   a cause acts with all of its value, so also with the part of it that its own parents explain; a shadow
                 comes with the part that they do not (Wu 1973, Hausman 1978)

`causal_graph` calls a link `certain` only if neither finds a fault and the explained part alone moves the target. A
hidden driver can still pass where it drives the source's parents as well. It must never be read as a proof.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryptoai.core.errors import DataError
from cryptoai.world_model.causal_tests import Correlations, Floats

__all__ = ["CERTAIN", "DOUBTFUL", "LEVEL", "LIKELY", "verdict"]

CERTAIN, LIKELY, DOUBTFUL = "certain", "likely", "doubtful"
"""No fault and confirmed by the instrument; no fault, but the rows do not suffice to confirm; a test found a fault."""

LEVEL = 0.05
"""Level of each test, for each link alone: to doubt a cause is the cheaper mistake."""

_WEAK = 1e-3
"""Least share of the source's variance that its parents must explain beyond the target's other parents."""

Link = tuple[int, int, int]


def verdict(corr: Correlations, links: Sequence[Link], link: Link, same_p: Floats) -> str:
    """CERTAIN, LIKELY or DOUBTFUL for one of `links` (source, target, lag); `corr` reaches back 2 * the longest lag."""
    source, target, lag = link
    if same_p[source, target] <= LEVEL:
        return DOUBTFUL
    given = [corr.column(i, k) for i, j, k in links if j == target and i != source]
    instruments = [corr.column(i, k + lag) for i, j, k in links if j == source]
    table = _with_explained(corr, given, instruments, corr.column(source, lag), target)
    if table is None:
        return LIKELY
    size = len(given)
    source_at, explained_at, target_at = size, size + 1, size + 2
    beyond = table.partial(explained_at, target_at, [*range(size), source_at])
    if table.p_value(beyond, size + 1) <= LEVEL:
        return DOUBTFUL
    alone = table.partial(explained_at, target_at, list(range(size)))
    agrees = alone * table.partial(source_at, target_at, list(range(size))) > 0
    return CERTAIN if agrees and table.p_value(alone, size) <= LEVEL else LIKELY


def _with_explained(
    corr: Correlations, given: list[int], instruments: list[int], source: int, target: int
) -> Correlations | None:
    """Columns (given..., source, its explained part, target); None where the instruments explain too little."""
    base = list(dict.fromkeys([*given, *instruments]))
    weights = np.zeros(len(corr.matrix))
    weights[base] = np.linalg.lstsq(corr.matrix[np.ix_(base, base)], corr.matrix[base, source], rcond=None)[0]
    index = [*given, source, target]
    wide = np.vstack([np.eye(len(corr.matrix))[index], weights])
    table = wide @ corr.matrix @ wide.T
    order = [*range(len(given) + 1), len(given) + 2, len(given) + 1]
    table = table[np.ix_(order, order)]
    scale = np.sqrt(np.diag(table))
    if scale.min() < _WEAK:
        return None
    made = Correlations(table / np.outer(scale, scale), corr.rows, len(order))
    return made if _explains(made, len(given)) else None


def _explains(table: Correlations, size: int) -> bool:
    """Whether the explained part is more than a sum of `given`."""
    try:
        share = table.partial(size, size + 1, list(range(size)))
    except DataError:
        return False
    return share**2 > _WEAK
