"""Causal discovery as one call and one artefact: columns in, a graph of lagged links with its evidence out.

`cryptoai causal` and the gates use it; `causal_picture` draws it. The graph holds what it was made from and how, so
that it can be made again. It must never be read as proof: `ASSUMPTIONS` travels with every graph.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any

import numpy as np

from cryptoai.core.errors import ConfigError, DataError
from cryptoai.world_model import pcmci as pcmci_module
from cryptoai.world_model import var_graph
from cryptoai.world_model.causal_tests import (
    Correlations,
    Floats,
    Links,
    correlations,
    lagged,
    normal_scores,
    q_values,
)
from cryptoai.world_model.exogeneity import verdict
from cryptoai.world_model.stability import stability

__all__ = ["ASSUMPTIONS", "METHODS", "CausalGraph", "Edge", "Pair", "Settings", "discover", "from_json", "to_json"]

ASSUMPTIONS = (
    "rows are equally spaced and columns stationary",
    "effects are about linear (with ranks: monotone)",
    "causes act at least one row later; what acts within a row is a pair without direction",
    "a driver that is in no column can make a link that is not there: such links are doubtful where tests notice it",
)

METHODS: dict[str, tuple[Callable[[Correlations, int], Links], int]] = {
    "pcmci": (pcmci_module.pcmci, pcmci_module.DEPTH),
    "var": (var_graph.var_links, var_graph.DEPTH),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """method: pcmci or var; level: false discovery rate; ranks: normal scores first.

    pairs: of halves, drawn from `seed`, for the frequencies; 0 for none.
    """

    method: str = "pcmci"
    max_lag: int = 3
    level: float = 0.01
    ranks: bool = False
    pairs: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method {self.method!r}: there are {' and '.join(METHODS)}")
        if self.max_lag < 1 or not 0 < self.level < 1:
            raise ConfigError(f"max_lag {self.max_lag} must be at least 1 and level {self.level} inside (0, 1)")


@dataclass(frozen=True, slots=True)
class Edge:
    """source drives target `lag` rows later. strength: partial correlation; q: false discovery rate it passes at.

    frequency: share of halves that find it, None where not asked for. evidence: certain, likely or doubtful, see
    `exogeneity`; an edge from a node to itself is `own`.
    """

    source: str
    target: str
    lag: int
    strength: float
    p: float
    q: float
    frequency: float | None
    evidence: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two nodes that move together within a row beyond what their pasts explain; no direction."""

    first: str
    second: str
    strength: float
    p: float
    q: float


@dataclass(frozen=True, slots=True)
class CausalGraph:
    """nodes, edges (strongest first), pairs; `rows` used; fingerprint: SHA-256 of names and values."""

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]
    pairs: tuple[Pair, ...]
    rows: int
    settings: Settings
    fingerprint: str
    assumptions: tuple[str, ...] = ASSUMPTIONS

    def cross(self) -> tuple[Edge, ...]:
        """Edges between different nodes."""
        return tuple(edge for edge in self.edges if edge.source != edge.target)


def discover(columns: Floats, names: Sequence[str], settings: Settings = Settings()) -> CausalGraph:
    """columns [T, N], oldest row first; rows with NaN are left out. DataError where the columns do not suffice."""
    columns = np.asarray(columns, np.float64)
    if columns.ndim != 2 or columns.shape[1] != len(names) or len(set(names)) != len(names) or len(names) < 2:
        raise DataError(f"columns of shape {columns.shape} need one name each, at least two, and each name once")
    values = normal_scores(columns) if settings.ranks else columns
    _check_changing(values, names)
    method, depth = METHODS[settings.method]
    design = lagged(values, depth * settings.max_lag)
    links = method(correlations(design, len(names)), settings.max_lag)
    q = q_values(links.p)
    at = [(int(i), int(j), int(k) + 1) for i, j, k in np.argwhere(q <= settings.level)]
    often = _frequencies(design, len(names), settings)
    wide = correlations(lagged(values, 2 * settings.max_lag), len(names))
    edges = [_edge(names, links, q, often, link, _evidence(wide, at, link, links.same_p)) for link in at]
    ordered = tuple(sorted(edges, key=lambda edge: -abs(edge.strength)))
    mark = sha256(json.dumps(list(names)).encode() + np.ascontiguousarray(columns).tobytes()).hexdigest()
    return CausalGraph(tuple(names), ordered, _pairs(names, links, settings.level), len(design), settings, mark)


def to_json(graph: CausalGraph) -> str:
    return json.dumps({"schema": 1, **asdict(graph)}, indent=1, ensure_ascii=False)


def from_json(text: str) -> CausalGraph:
    """DataError if it is not a graph of this schema."""
    try:
        raw: dict[str, Any] = json.loads(text)
        if raw.pop("schema") != 1:
            raise DataError("the graph has another schema than 1: make it again")
        raw |= {"edges": tuple(Edge(**edge) for edge in raw["edges"]), "settings": Settings(**raw["settings"])}
        raw |= {"pairs": tuple(Pair(**pair) for pair in raw["pairs"])}
        raw |= {"nodes": tuple(raw["nodes"]), "assumptions": tuple(raw["assumptions"])}
        return CausalGraph(**{field.name: raw[field.name] for field in fields(CausalGraph)})
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise DataError(f"this is not the JSON of a causal graph: {error}") from None


def _check_changing(values: Floats, names: Sequence[str]) -> None:
    for name, column in zip(names, values.T, strict=True):
        known = column[np.isfinite(column)]
        if len(known) == 0:
            raise DataError(f"column {name} has no value: leave it out")
        if known.min() == known.max():
            raise DataError(f"column {name} never changes: leave it out")


def _evidence(corr: Correlations, found: list[tuple[int, int, int]], link: tuple[int, int, int], same_p: Floats) -> str:
    return "own" if link[0] == link[1] else verdict(corr, found, link, same_p)


def _frequencies(design: Floats, nodes: int, settings: Settings) -> Floats | None:
    if settings.pairs < 1:
        return None
    method = METHODS[settings.method][0]
    rng = np.random.default_rng(settings.seed)
    return stability(
        design, nodes, lambda corr: q_values(method(corr, settings.max_lag).p) <= settings.level, rng, settings.pairs
    ).frequency


def _edge(
    names: Sequence[str], links: Links, q: Floats, often: Floats | None, link: tuple[int, int, int], evidence: str
) -> Edge:
    i, j, lag = link
    at = (i, j, lag - 1)
    frequency = None if often is None else float(often[at])
    return Edge(
        names[i], names[j], lag, float(links.strength[at]), float(links.p[at]), float(q[at]), frequency, evidence
    )


def _pairs(names: Sequence[str], links: Links, level: float) -> tuple[Pair, ...]:
    first, second = np.triu_indices(len(names), 1)
    p = links.same_p[first, second]
    q = q_values(p)
    return tuple(
        Pair(names[i], names[j], float(links.same_strength[i, j]), float(p[at]), float(q[at]))
        for at, (i, j) in enumerate(zip(first.tolist(), second.tolist(), strict=True))
        if q[at] <= level
    )
