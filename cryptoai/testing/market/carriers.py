"""A market in which three groups of features each carry a planted share of the next return, and two carry none.

    flow         `ofi_1s`: AR(.9)
    derivatives  `basis`: AR(.97)
    events       `news_sentiment_1h`: a shock of either sign in one row of fifteen, decaying by exp(-1/8) a row; missing
                 from thirty rows after the last shock
    liquidity    `touch_imbalance`, on-chain `exchange_inflow_1d`: the look of the first two, and no information

    return = BETA (flow + derivatives + event) + e, in basis points, each carrier of variance near 1 and e of variance 1

The ablation of an encoder is judged on it: what carries must be missed, what does not must not be. It must never be
mistaken for market data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryptoai.core.clock import SECOND
from cryptoai.data_universe.schema import WIDTH, index

__all__ = ["BETA", "CARRIERS", "IDLE", "CarrierMarket", "carrier_market"]

BETA = 0.3
CARRIERS = {"flow": "ofi_1s", "derivatives": "basis", "events": "news_sentiment_1h"}
"""Group to the slot that carries information."""
IDLE = {"liquidity": "touch_imbalance", "onchain": "exchange_inflow_1d"}
"""Group to the slot that only looks like it."""

START = 1_600_000_000_000_000_000
UNIT = 1e-4
_MEMORY = {"flow": 0.9, "derivatives": 0.97, "liquidity": 0.9, "onchain": 0.97}
_RATE, _DECAY, _SILENT, _SHOCK = 1 / 15, 8.0, 30, 1.9
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CarrierMarket:
    """values float32 [N, 200], mask bool [N, 200], times [N] ns, mid [N]; returns [N]: log return after each row.

    drift [N]: its expectation, a log return; what an oracle forecasts.
    """

    values: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    times: npt.NDArray[np.int64]
    mid: Floats
    returns: Floats
    drift: Floats


def carrier_market(seed: int, rows: int) -> CarrierMarket:
    """`rows` rows a second apart. Same seed, same bytes."""
    rng = np.random.default_rng(seed)
    shown = {group: _autoregressive(rng, rows, memory) for group, memory in _MEMORY.items()}
    shown["events"], heard = _news(rng, rows)
    drift = BETA * sum((shown[group] for group in CARRIERS), np.zeros(rows)) * UNIT
    returns = drift + rng.standard_normal(rows) * UNIT
    values, mask = np.zeros((rows, WIDTH), np.float32), np.zeros((rows, WIDTH), bool)
    for group, name in (CARRIERS | IDLE).items():
        values[:, index(name)], mask[:, index(name)] = shown[group], True
    mask[:, index(CARRIERS["events"])] = heard
    values[~mask] = 0.0
    times = START + np.arange(rows, dtype=np.int64) * SECOND
    mid = 50_000.0 * np.exp(np.concatenate([[0.0], np.cumsum(returns[:-1])]))
    return CarrierMarket(values, mask, times, mid, returns, drift)


def _autoregressive(rng: np.random.Generator, rows: int, memory: float) -> Floats:
    path = rng.standard_normal(rows)
    for t in range(1, rows):
        path[t] = memory * path[t - 1] + np.sqrt(1 - memory**2) * path[t]
    return path


def _news(rng: np.random.Generator, rows: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The decayed shocks, and where the last one is recent enough to be shown; it is zero where it is not."""
    happens, sign = rng.random(rows) < _RATE, rng.choice((-1.0, 1.0), rows)
    level, age = np.zeros(rows), np.full(rows, _SILENT + 1)
    for t in range(1, rows):
        level[t] = level[t - 1] * np.exp(-1 / _DECAY) + happens[t] * sign[t] * _SHOCK
        age[t] = 0 if happens[t] else age[t - 1] + 1
    heard = age < _SILENT
    return np.where(heard, level, 0.0), heard
