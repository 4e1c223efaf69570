"""Causality: are the links, doubts and effects that the world model names those that were planted?

Every graph is random, every figure a mean over seeds. Beside PCMCI stand a vector autoregression and plain lagged
correlation, beside the effect the naive regression, all on the same data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from cryptoai.core.config import ModelConfig
from cryptoai.data_universe.schema import WIDTH
from cryptoai.testing.gates.gate import Check, Gate
from cryptoai.testing.market.causal_graph import Link, PlantedGraph, planted_graph
from cryptoai.testing.market.propagator import KERNEL, LoggedMarket, logged_market, twin
from cryptoai.world_model.causal_graph import CausalGraph, Settings, discover
from cryptoai.world_model.causal_tests import correlations, lagged, p_values, q_values
from cryptoai.world_model.counterfactual import Context, counterfactual
from cryptoai.world_model.exogeneity import CERTAIN
from cryptoai.world_model.impact import Propagator, estimate_propagator
from cryptoai.world_model.model import WorldModel

__all__ = ["CHECKS"]

PART = "causality"
Floats = npt.NDArray[np.float64]
Finder = Callable[[Floats], set[Link]]

LEVEL, SHORT_LEVEL = 0.01, 0.05
MEMORIES = (0.0, 0.5, 0.8, 0.95)
"""First-order autocorrelation of the hidden driver, from a new one each row to one that hardly moves."""
STEPS = 20


def _graphs(quick: bool) -> list[Gate]:
    seeds = 5 if quick else 20
    plain = _scores(seeds, LEVEL, rows=2_000)
    heavy = _scores(seeds, LEVEL, rows=500, heavy=True)
    short = _scores(seeds, SHORT_LEVEL, nodes=20, rows=150, links=25)
    note = f"{seeds} random graphs, 12 links of .15 to .35, lags 1 to 3; links of a node to itself do not count"
    return [
        _f1("link F1, 8 nodes, 2,000 rows", plain, "pcmci", 0.95, note),
        _f1("link F1, 8 nodes, 500 rows, GARCH-t4", heavy, "ranks + pcmci", 0.85, note),
        Gate(
            PART,
            "link F1, 20 nodes, 150 rows",
            short["pcmci"],
            "above VAR + BH",
            short["pcmci"] > short["var"],
            _others(short, "pcmci"),
            1.0,
            f"{seeds} random graphs, 25 links, false discovery rate {SHORT_LEVEL}: rows do not suffice for most links",
        ),
        _noise(seeds),
        _speed(),
    ]


def _f1(metric: str, scores: Mapping[str, float], ours: str, least: float, note: str) -> Gate:
    return Gate(
        PART, metric, scores[ours], f">= {least}", scores[ours] >= least, _others(scores, ours), 1.0, f"{ours}; {note}"
    )


def _others(scores: Mapping[str, float], ours: str) -> dict[str, float]:
    return {name: value for name, value in scores.items() if name != ours}


def _scores(
    seeds: int, level: float, *, heavy: bool = False, nodes: int = 8, rows: int, links: int = 12
) -> dict[str, float]:
    """Mean F1 of every finder."""
    finders = _finders(level)
    markets = [planted_graph(np.random.default_rng(seed), nodes, rows, links, heavy=heavy) for seed in range(seeds)]
    return {
        name: float(np.mean([_f1_score(find(market.columns), set(market.links)) for market in markets]))
        for name, find in finders.items()
    }


def _finders(level: float) -> dict[str, Finder]:
    asked = {
        "pcmci": Settings(level=level),
        "ranks + pcmci": Settings(level=level, ranks=True),
        "var": Settings("var", level=level),
        "ranks + var": Settings("var", level=level, ranks=True),
    }
    found: dict[str, Finder] = {name: lambda x, s=settings: _cross(_named(x, s)) for name, settings in asked.items()}  # type: ignore[misc]
    return found | {"correlation": lambda x: _correlated(x, level)}


def _named(columns: Floats, settings: Settings) -> CausalGraph:
    return discover(columns, [str(n) for n in range(columns.shape[1])], settings)


def _cross(graph: CausalGraph) -> set[Link]:
    return {(int(edge.source), int(edge.target), edge.lag) for edge in graph.cross()}


def _correlated(columns: Floats, level: float, lags: int = 3) -> set[Link]:
    """The naive graph: every lagged correlation that is not chance."""
    nodes = columns.shape[1]
    corr = correlations(lagged(columns, lags), nodes)
    r = corr.matrix[nodes:, :nodes].reshape(lags, nodes, nodes)
    found = np.argwhere(q_values(p_values(r, corr.rows - 2)) <= level)
    return {(int(i), int(j), int(k) + 1) for k, i, j in found if i != j}


def _f1_score(found: set[Link], true: set[Link]) -> float:
    return 2 * len(found & true) / max(len(found) + len(true), 1)


def _noise(seeds: int) -> Gate:
    """Links found where none is."""
    markets = [planted_graph(np.random.default_rng(500 + seed), 8, 500, 0, heavy=True) for seed in range(4 * seeds)]
    found = {
        name: float(np.mean([len(find(m.columns)) > 0 for m in markets])) for name, find in _finders(LEVEL).items()
    }
    ours = found["ranks + pcmci"]
    return Gate(
        PART,
        "graphs with a link where none is planted",
        ours,
        "<= .10",
        ours <= 0.10,
        _others(found, "ranks + pcmci"),
        0.0,
        f"{4 * seeds} sets of 8 autocorrelated GARCH-t4 columns, 500 rows; .01 is aimed at",
    )


def _speed() -> Gate:
    market = planted_graph(np.random.default_rng(0), 20, 2_000, 30)
    seconds = {name: _best_of(market, Settings(name, max_lag=5)) for name in ("pcmci", "var")}
    return Gate(
        PART,
        "seconds for 20 nodes, 2,000 rows, 5 lags",
        seconds["pcmci"],
        "<= 2",
        seconds["pcmci"] <= 2.0,
        {"var": seconds["var"], "a regression a test": _by_regressions(market)},
        None,
        "processor time of one thread, best of 3, with the doubts of every link; the regressions are those of the "
        "second step alone, with 10 conditions, from 100 of its 2,000",
    )


def _by_regressions(market: PlantedGraph) -> float:
    """What the second step would take if each partial correlation were that of two residuals."""
    given = lagged(market.columns, 5)[:, 20:30]
    pair, began = market.columns[5:, :2], time.process_time()
    for _ in range(100):
        rest = pair - given @ np.linalg.lstsq(given, pair, rcond=None)[0]
        np.corrcoef(rest.T)
    return (time.process_time() - began) * 20


def _best_of(market: PlantedGraph, settings: Settings) -> float:
    took = []
    for _ in range(3):
        began = time.process_time()
        _named(market.columns, settings)
        took.append(time.process_time() - began)
    return min(took)


def _hidden(quick: bool) -> list[Gate]:
    seeds = 5 if quick else 20
    kept = [_kept(seed) for seed in range(seeds)]
    share = sum(certain for certain, _ in kept) / sum(found for _, found in kept)
    return [
        _shadow_gate(seeds, 2_000),
        _shadow_gate(seeds, 500),
        Gate(
            PART,
            "true links called certain, no hidden driver",
            share,
            ">= .80",
            share >= 0.80,
            {},
            1.0,
            f"of those found, {seeds} graphs of 2,000 rows; two tests at .05 doubt about a tenth by design",
        ),
    ]


def _shadow_gate(seeds: int, rows: int) -> Gate:
    runs = {memory: [_shadows(memory, rows, seed) for seed in range(seeds)] for memory in MEMORIES}
    every = [pair for pairs in runs.values() for pair in pairs]
    found, certain = (float(np.mean([pair[at] for pair in every])) for at in (0, 1))
    each = ", ".join(f"{memory:g}: {np.mean([pair[1] for pair in pairs]):.2f}" for memory, pairs in runs.items())
    return Gate(
        PART,
        f"a hidden driver's shadow passes as certain, {rows:,} rows",
        certain,
        "<= .10 of runs",
        certain <= 0.10,
        {"pcmci without doubts": found},
        0.0,
        f"{seeds} graphs for each memory of the driver; {each}",
    )


def _shadows(memory: float, rows: int, seed: int) -> tuple[bool, bool]:
    """Whether a link between the two driven nodes is found at all, and whether one is called certain."""
    market = planted_graph(np.random.default_rng(100 + seed), rows=rows, hidden=memory)
    driven = set(market.driven or ())
    between = [e for e in _named(market.columns, Settings()).cross() if {int(e.source), int(e.target)} == driven]
    return len(between) > 0, any(edge.evidence == CERTAIN for edge in between)


def _kept(seed: int) -> tuple[int, int]:
    """True links called certain, and true links found."""
    market = planted_graph(np.random.default_rng(300 + seed))
    found = [
        e for e in _named(market.columns, Settings()).cross() if (int(e.source), int(e.target), e.lag) in market.links
    ]
    return sum(edge.evidence == CERTAIN for edge in found), len(found)


def _effects(quick: bool) -> list[Gate]:
    seeds = 3 if quick else 10
    paths = [_path_gate(seeds, 20_000, curved=curved) for curved in (False, True)]
    return [*paths, *_coverage(40 if quick else 200)]


def _path_gate(seeds: int, rows: int, *, curved: bool) -> Gate:
    markets = [logged_market(np.random.default_rng(seed), rows, curved=curved) for seed in range(seeds)]
    fits = {name: [fit(market) for market in markets] for name, fit in _FITS.items()}
    errors = {name: [_path_error(*pair) for pair in zip(markets, made, strict=True)] for name, made in fits.items()}
    worst = {name: max(values) for name, values in errors.items()}
    first = {name: float(np.mean([impact.kernel[0] for impact in made])) for name, made in fits.items()}
    return Gate(
        PART,
        f"effect path against the twin run, {'curved' if curved else 'linear'} policy",
        worst["double ml"],
        "<= .10 in the worst seed",
        worst["double ml"] <= 0.10,
        _others(worst, "double ml"),
        0.0,
        f"largest error / largest effect over {STEPS} steps, {seeds} logs of {rows:,}; mean "
        f"{np.mean(errors['double ml']):.3f}; first kernel {first['double ml']:.3f}, naive {first['naive']:.3f}, "
        f"true {KERNEL[0]:.3f}",
    )


_FITS: dict[str, Callable[[LoggedMarket], Propagator]] = {
    "double ml": lambda m: estimate_propagator(m.returns, m.actions, m.signal[:, None]),
    "linear": lambda m: estimate_propagator(m.returns, m.actions, m.signal[:, None], curved=False),
    "naive": lambda m: estimate_propagator(m.returns, m.actions, None),
}


def _programs() -> tuple[Floats, Floats]:
    """Buying for half of the time, and doing nothing."""
    return np.where(np.arange(STEPS) < STEPS // 2, 1.0, 0.0), np.zeros(STEPS)


def _path_error(market: LoggedMarket, impact: Propagator) -> float:
    """Of the rolled-out branches' difference, against the simulator's twin run with the same noise."""
    first, second = _programs()
    at = len(market.returns) - STEPS
    real = np.cumsum(np.subtract(*twin(market, at, first, second)))
    model, values, mask = _small_model()
    context = Context(values, mask, market.actions[at - len(KERNEL) : at])
    made = counterfactual(model, impact, context, first, second, seed=7, paths=4)
    return float(np.abs((made.first - made.second).mean(0) - real).max() / np.abs(real).max())


@cache
def _small_model() -> tuple[WorldModel, torch.Tensor, torch.Tensor]:
    """An untrained world model: what the market does by itself cancels between the branches."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = WorldModel(ModelConfig(hidden_dim=32, latent_dim=16, layers=1, heads=2)).eval()
    return model, torch.zeros(1, 4, WIDTH), torch.ones(1, 4, WIDTH, dtype=torch.bool)


def _coverage(seeds: int) -> list[Gate]:
    note = f"95 % interval of the effect after {STEPS} steps, {seeds} logs of 4,000"
    return [
        _interval_gate(
            "placebo: the interval contains 0", _held(range(1_000, 1_000 + seeds), np.zeros_like(KERNEL)), note
        ),
        _interval_gate("the interval contains the twin run's effect", _held(range(5_000, 5_000 + seeds), KERNEL), note),
    ]


def _held(seeds: range, kernel: Floats) -> dict[str, float]:
    """Share of logs whose interval contains what the twin run shows, by method."""
    first, second = _programs()
    held: dict[str, list[bool]] = {"double ml": [], "naive": []}
    for seed in seeds:
        market = logged_market(np.random.default_rng(seed), 4_000, kernel)
        real = float(np.cumsum(np.subtract(*twin(market, 4_000 - STEPS, first, second)))[-1])
        for name, inside in held.items():
            effect = _FITS[name](market).effect(first, second)
            inside.append(bool(effect.low[-1] <= real <= effect.high[-1]))
    return {name: float(np.mean(inside)) for name, inside in held.items()}


def _interval_gate(metric: str, held: Mapping[str, float], note: str) -> Gate:
    ours = held["double ml"]
    return Gate(PART, metric, ours, ">= .90", ours >= 0.90, _others(held, "double ml"), 0.95, note)


CHECKS: tuple[Check, ...] = (
    Check("causality.graph", _graphs),
    Check("causality.hidden", _hidden),
    Check("causality.counterfactual", _effects),
)
