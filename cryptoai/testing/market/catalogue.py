"""Every synthetic market by name, as columns: what can be seen of it, and its truth in columns named `truth_*`.

`cryptoai data synth` writes them for whoever wants to try a method against a truth. Nothing of them may reach a lake:
no column has the name or the form of a market table, and the command refuses to write into one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import ConfigError

__all__ = ["CATALOGUE", "TRUTH_PREFIX", "Columns", "Entry", "columns_of"]

TRUTH_PREFIX = "truth_"
"""A method under test must not read these columns."""

Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Entry:
    """text: one line; make(seed, rows): columns of `rows` rows each."""

    text: str
    make: Callable[[int, int], Columns]


def columns_of(name: str, seed: int, rows: int) -> Columns:
    """Columns of a market; the same name, seed and number of rows give the same bytes. ConfigError for a wrong name."""
    if name not in CATALOGUE:
        raise ConfigError(f"{name} is no synthetic market; there are {', '.join(CATALOGUE)}")
    if rows < 100:
        raise ConfigError(f"--rows {rows} is too short for a market; give at least 100")
    made = CATALOGUE[name].make(seed, rows)
    return {key: np.asarray(column) for key, column in made.items()}


def _switching(seed: int, rows: int) -> Columns:
    from cryptoai.data_universe.schema import index
    from cryptoai.testing.market.switching import NOISE_SLOTS, SIGNAL_SLOT, synthetic_dataset

    market = synthetic_dataset(seed, rows)
    shown = np.where(market.mask, market.values, np.nan)
    seen = {f"seen_{name}": shown[:, index(name)] for name in (SIGNAL_SLOT, *NOISE_SLOTS)}
    mean, sd = market.oracle()
    truth = _truth(signal=market.signal, wild=market.regime, next_return=market.returns)
    oracle = _truth(wild_probability=market.wild_probability(), next_mean=mean, next_sd=sd)
    return {"row_time_ns": market.times, "row_mid": market.mid, **seen, **truth, **oracle}


def _regimes(seed: int, rows: int) -> Columns:
    from cryptoai.testing.market.regimes import regime_market

    market = regime_market(seed, rows)
    known = {f"p_{state}": column for state, column in enumerate(market.oracle().T)}
    return {"return_bp": market.returns, **_truth(regime=market.regime, **known)}


def _breaks(kind: str) -> Callable[[int, int], Columns]:
    def make(seed: int, rows: int) -> Columns:
        from cryptoai.testing.market.breaks import break_market

        market = break_market(seed, rows, kind)
        broke = np.isin(np.arange(rows), market.breaks)
        return {"x": market.values, **_truth(level=market.level, is_break=broke, p_recent_break=market.oracle())}

    return make


def _hawkes(seed: int, rows: int) -> Columns:
    from cryptoai.testing.market.hawkes import TRUTH, hawkes_flow

    flow = hawkes_flow(seed, rows)
    rates = TRUTH.intensities(flow)
    truth = _truth(rate_sell=rates[:, 0], rate_buy=rates[:, 1], p_buy=rates[:, 1] / rates.sum(axis=1))
    return {"event_s": flow.times, "is_buy": flow.types.astype(bool), **truth}


def _causal_graph(seed: int, rows: int) -> Columns:
    from cryptoai.testing.market.causal_graph import planted_graph

    graph = planted_graph(np.random.default_rng(seed), rows=rows)
    nodes = {f"x{node}": column for node, column in enumerate(graph.columns.T)}
    links = {f"x{i}_to_x{j}_lag{lag}": np.full(rows, value) for (i, j, lag), value in sorted(graph.links.items())}
    return nodes | _truth(**links)


def _propagator(seed: int, rows: int) -> Columns:
    from cryptoai.testing.market.propagator import logged_market

    market = logged_market(np.random.default_rng(seed), rows)
    kernel = {f"kernel_{lag}": np.full(rows, value) for lag, value in enumerate(market.kernel)}
    seen = {"signal": market.signal, "action": market.actions, "step_return": market.returns}
    return seen | _truth(drift=market.drift, noise=market.noise, **kernel)


def _cascade(seed: int, rows: int) -> Columns:
    from cryptoai.testing.market.cascade import LOG_MEAN, cascade_market

    market = cascade_market(seed, rows)
    seen = {f"seen_{name}": column for name, column in zip(LOG_MEAN, market.observed.T, strict=True)}
    truth = dict(zip(LOG_MEAN, market.truth.T, strict=True))
    return seen | _truth(**truth, cascade=market.cascade, p_cascade=market.oracle())


def _tails(seed: int, rows: int) -> Columns:
    from cryptoai.testing.market.tails import garch_market

    market = garch_market(seed, rows)
    limits = {f"var_{level:g}": market.value_at_risk(level / 100) for level in (95, 99, 99.5)}
    return {"step_return": market.returns, **_truth(deviation=market.deviations, **limits)}


def _anomalies(seed: int, rows: int) -> Columns:
    from cryptoai.testing.market.anomalies import planted_anomalies

    market = planted_anomalies(seed, train=1, test=rows)
    return {f"f{at:03}": column for at, column in enumerate(market.test.T)} | _truth(odd=market.odd)


def _planted_alpha(seed: int, rows: int) -> Columns:
    from cryptoai.testing.market.planted_alpha import PlantedAlpha

    law = PlantedAlpha()
    path = law.path(rows, np.random.default_rng(seed))
    rate, aim = law.optimum()
    position = np.zeros(rows)
    for t, signal in enumerate(path.signal):
        before = position[t - 1] if t else 0.0
        position[t] = before + rate * (aim * signal - before)
    truth = _truth(next_return=path.returns, next_mean=law.slope * path.signal, best_position=position)
    return {"signal": path.signal, **truth}


def _hidden_trend(seed: int, rows: int) -> Columns:
    from cryptoai.testing.market.hidden_trend import hidden_trend

    market = hidden_trend(seed, rows - 1, 1, 0.3)
    truth = _truth(side=market.side[:, 0], filtered_side=market.filtered_side()[:, 0])
    return {"step_return": market.returns[:, 0], **truth}


def _carriers(seed: int, rows: int) -> Columns:
    from cryptoai.data_universe.schema import index
    from cryptoai.testing.market.carriers import CARRIERS, IDLE, carrier_market

    market = carrier_market(seed, rows)
    shown = np.where(market.mask, market.values, np.nan)
    seen = {f"seen_{name}": shown[:, index(name)] for name in (*CARRIERS.values(), *IDLE.values())}
    times = {"row_time_ns": market.times, "row_mid": market.mid}
    return times | seen | _truth(next_return=market.returns, next_mean=market.drift)


def _truth(**columns: npt.NDArray[Any]) -> Columns:
    return {TRUTH_PREFIX + name: column for name, column in columns.items()}


CATALOGUE: dict[str, Entry] = {
    "switching": Entry("two hidden regimes and a signal among six noises", _switching),
    "carriers": Entry("three features that carry the next return, and two that only look like it", _carriers),
    "regimes": Entry("three hidden regimes of one return", _regimes),
    "breaks": Entry("volatility that doubles and falls back unannounced", _breaks("volatility")),
    "mean-breaks": Entry("a mean that shifts unannounced under Student-t noise", _breaks("mean")),
    "hawkes": Entry("buys and sells that excite each other; a row is an event", _hawkes),
    "causal-graph": Entry("eight columns that drive each other at lags 1 to 3", _causal_graph),
    "propagator": Entry("a log of actions that move the price, confounded by a signal", _propagator),
    "cascade": Entry("states before a shock, and whether it became a liquidation cascade", _cascade),
    "tails": Entry("GARCH returns with Student-t shocks", _tails),
    "anomalies": Entry("200 features; one row in twenty is put together from two", _anomalies),
    "planted-alpha": Entry("a signal that predicts, for trading at quadratic costs", _planted_alpha),
    "hidden-trend": Entry("returns that trend or revert and do not say which", _hidden_trend),
}
"""Name -> market, as `cryptoai data synth --list` shows them."""
