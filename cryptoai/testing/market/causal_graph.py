"""Columns that drive each other at known lags: what causal discovery must find, and what must not fool it.

    x_j(t) = own_j x_j(t - 1) + sum over links (i, j, lag) of coefficient * x_i(t - lag) + innovation_j(t)

Gates and tests of `world_model.pcmci` and its neighbours use it; all of it follows from the seed. Innovations are
normal, or GARCH(1, 1) with Student-t shocks of four degrees of freedom. A hidden driver moves two of the nodes and is
shown to nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["HIDDEN", "Link", "PlantedGraph", "planted_graph", "simulate_links"]

Floats = npt.NDArray[np.float64]
Link = tuple[int, int, int]
"""(source, target, lag)."""

COEFFICIENT = (0.15, 0.35)
OWN = (0.2, 0.6)
MAX_LAG = 3
GARCH = (0.1, 0.85)
"""Weights of the last squared innovation and of the last variance; the variance is 1 on average."""
HIDDEN = 0.5
"""Coefficient of a hidden driver on both of its nodes, whose own lags differ by one row."""
WARM_UP = 200
_STABLE = 0.95


@dataclass(frozen=True, slots=True)
class PlantedGraph:
    """columns float64 [T, N]; links: coefficient of every cross link; own: float64 [N] autocorrelation.

    `driven`: the two nodes behind a hidden driver, the first one moved a row earlier; None without one.
    """

    columns: Floats
    links: dict[Link, float]
    own: Floats
    driven: tuple[int, int] | None


def planted_graph(
    rng: np.random.Generator,
    nodes: int = 8,
    rows: int = 2_000,
    links: int = 12,
    *,
    heavy: bool = False,
    hidden: float | None = None,
) -> PlantedGraph:
    """A random stable graph and `rows` rows of it; `heavy` is GARCH-t4, `hidden` the memory of a hidden driver."""
    planted, own = _stable(rng, nodes, links)
    driven = None if hidden is None else _unlinked(rng, nodes, planted)
    every, memory = dict(planted), own
    if driven is not None and hidden is not None:
        every |= {(nodes, driven[0], 1): HIDDEN, (nodes, driven[1], 2): HIDDEN}
        memory = np.append(own, hidden)
    shocks = _innovations(rng, rows + WARM_UP, len(memory), heavy=heavy)
    columns = simulate_links(every, memory, shocks)[WARM_UP:, :nodes]
    return PlantedGraph(columns, planted, own, driven)


def simulate_links(links: dict[Link, float], own: Floats, shocks: Floats) -> Floats:
    """Rows of the recursion above from `shocks` [T, N], starting at rest."""
    weights = _weights(links, own)
    x = np.zeros((len(shocks) + MAX_LAG, len(own)))
    for t, shock in enumerate(shocks):
        past = x[t : t + MAX_LAG][::-1]  # lag 1 first
        x[t + MAX_LAG] = past.reshape(-1) @ weights + shock
    return np.asarray(x[MAX_LAG:])


def _weights(links: dict[Link, float], own: Floats) -> Floats:
    """[lags * N, N]: what each lagged node adds to each node."""
    weights = np.zeros((MAX_LAG, len(own), len(own)))
    weights[0] = np.diag(own)
    for (source, target, lag), coefficient in links.items():
        weights[lag - 1, source, target] = coefficient
    return weights.reshape(-1, len(own))


def _stable(rng: np.random.Generator, nodes: int, links: int) -> tuple[dict[Link, float], Floats]:
    """Draws until the recursion forgets its start (spectral radius of the companion matrix below .95)."""
    while True:
        own = rng.uniform(*OWN, nodes)
        pairs = [(i, j) for i in range(nodes) for j in range(nodes) if i != j]
        drawn = {_link(rng, pairs[at]): _coefficient(rng) for at in rng.choice(len(pairs), links, replace=False)}
        companion = np.zeros((nodes * MAX_LAG, nodes * MAX_LAG))
        companion[:, :nodes] = _weights(drawn, own)
        companion[:-nodes, nodes:] = np.eye(nodes * (MAX_LAG - 1))
        if np.abs(np.linalg.eigvals(companion)).max() < _STABLE:
            return drawn, own


def _link(rng: np.random.Generator, pair: Sequence[int]) -> Link:
    return pair[0], pair[1], int(rng.integers(1, MAX_LAG + 1))


def _coefficient(rng: np.random.Generator) -> float:
    return float(rng.uniform(*COEFFICIENT) * rng.choice([-1.0, 1.0]))


def _unlinked(rng: np.random.Generator, nodes: int, links: dict[Link, float]) -> tuple[int, int]:
    """Two nodes without a link of their own: whatever is found between them is the driver's shadow."""
    linked = {frozenset(link[:2]) for link in links}
    free = [(i, j) for i in range(nodes) for j in range(nodes) if i != j and frozenset((i, j)) not in linked]
    return free[int(rng.integers(len(free)))]


def _innovations(rng: np.random.Generator, rows: int, nodes: int, *, heavy: bool) -> Floats:
    if not heavy:
        return np.asarray(rng.standard_normal((rows, nodes)))
    shocks = rng.standard_t(4, (rows, nodes)) / np.sqrt(2.0)
    out, variance = np.empty_like(shocks), np.ones(nodes)
    for t, shock in enumerate(shocks):
        out[t] = np.sqrt(variance) * shock
        variance = (1 - sum(GARCH)) + GARCH[0] * out[t] ** 2 + GARCH[1] * variance
    return np.asarray(out)
