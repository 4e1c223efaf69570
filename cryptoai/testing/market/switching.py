"""A synthetic market whose truth is known: what can be predicted, how well, and nothing else.

Tests and `--synthetic` training use it; every learned part is judged against its oracle. All of it follows from the
seed. It must never be mistaken for market data: nothing of it may reach a lake, a bundle's evidence or a result that
is reported as real.

The market (per row; Hamilton 1989 with a predictor):
    regime     two states, calm and wild, P(stay) = .985 and .96
    signal     f' = .9 f + sqrt(1 - .81) e: stationary, variance 1
    return     r' = (mean[regime] + .16 f + sd[regime] e') basis points, mean (.06, -.12), sd (.7, 1.8)
Row t shows f (slot `ofi_1s`), six AR(.9) noises with the look of a signal (NOISE_SLOTS), past returns and volatility;
`r'` happens after row t. The calm and the wild regime are not shown: they must be inferred from the returns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryptoai.core.clock import MS
from cryptoai.data_universe.schema import WIDTH, index

__all__ = ["NOISE_SLOTS", "SIGNAL_SLOT", "SyntheticMarket", "synthetic_dataset"]

STAY = (0.985, 0.96)
MEAN = (0.06, -0.12)
SD = (0.7, 1.8)
BETA = 0.16
AR = 0.9
UNIT = 1e-4
"""One unit of the parameters above as a log return: a basis point."""

SIGNAL_SLOT = "ofi_1s"
"""The feature that carries the planted signal."""
NOISE_SLOTS = ("ofi_5s", "trade_imbalance_1s", "trade_imbalance_5s", "touch_imbalance", "book_imbalance_5", "basis")
"""Features with the signal's mean, variance and memory, and no information."""
FIXED = {
    "maker_fee": 2.0, "taker_fee": 5.0, "is_spot": 0.0, "is_linear": 1.0, "is_inverse": 0.0, "is_weekend": 0.0,
}  # fmt: skip
"""What never changes, as for a perpetual."""

START = 1_600_000_000_000_000_000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SyntheticMarket:
    """N rows of a market and the truth behind them.

    values float32 [N, 200], mask bool [N, 200], times int64 [N] ns, mid float64 [N]: as a training `Dataset` has them.
    signal float64 [N], regime int8 [N] (1 is wild): hidden truth at each row; returns float64 [N]: log return from row
    t to row t + 1 (the last one leads out of the data and is known to nobody but the oracle).
    """

    values: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    times: npt.NDArray[np.int64]
    mid: Floats
    signal: Floats
    regime: npt.NDArray[np.int8]
    returns: Floats

    def wild_probability(self) -> Floats:
        """P(regime[t] is wild | signal and returns known at row t), [N]: Hamilton's filter with the true parameters."""
        wild, known = _stationary_wild(), np.empty(len(self.signal))
        drift = BETA * self.signal
        for t, r in enumerate(self.returns / UNIT):
            known[t] = wild
            calm_fit, wild_fit = ((1 - wild) * _density(r, drift[t], 0), wild * _density(r, drift[t], 1))
            after = wild_fit / max(calm_fit + wild_fit, 1e-300)
            wild = after * STAY[1] + (1 - after) * (1 - STAY[0])
        return known

    def oracle(self, steps: int = 1) -> tuple[Floats, Floats]:
        """Mean and sd of the log return over the next `steps` rows given all that can be known at each row, [N] each.

        Exact: noise, the signals still to be drawn, and the regimes, whose means are correlated along the way.
        """
        stay = STAY[0] + STAY[1] - 1.0
        base = _stationary_wild()
        ahead = self.wild_probability() - base
        means, variances = np.zeros(len(ahead)), np.zeros(len(ahead))
        for step in range(steps):
            wild = base + ahead * stay**step
            here = MEAN[0] + wild * (MEAN[1] - MEAN[0])
            means += here
            spread = (1 - wild) * (SD[0] ** 2 + MEAN[0] ** 2) + wild * (SD[1] ** 2 + MEAN[1] ** 2) - here**2
            # The part of later signals that is still to be drawn reaches every later return of the window.
            reach = BETA * (1 - AR ** (steps - 1 - step)) / (1 - AR)
            echo = stay * (1 - stay ** (steps - 1 - step)) / (1 - stay)
            together = 2 * (MEAN[1] - MEAN[0]) ** 2 * wild * (1 - wild) * echo
            variances += spread + (1 - AR**2) * reach**2 + together
        means += BETA * self.signal * (1 - AR**steps) / (1 - AR)
        return means * UNIT, np.sqrt(variances) * UNIT

    def log_density(self) -> Floats:
        """Log density, in basis points, of each realised return given all that can be known at its row, [N]."""
        wild, drift, r = self.wild_probability(), BETA * self.signal, self.returns / UNIT
        parts = [
            share * np.exp(-0.5 * ((r - MEAN[state] - drift) / SD[state]) ** 2) / (SD[state] * math.sqrt(2 * math.pi))
            for state, share in enumerate((1 - wild, wild))
        ]
        return np.asarray(np.log(parts[0] + parts[1]))

    def paths(self, rows: npt.NDArray[np.int64], steps: int, count: int, rng: np.random.Generator) -> Floats:
        """`count` true futures of each of these rows given what is known there: log returns, [n, count, steps]."""
        shape = (len(rows), count)
        wild = rng.random(shape) < self.wild_probability()[rows, None]
        signal = np.broadcast_to(self.signal[rows, None], shape)
        drawn = np.empty((*shape, steps))
        for step in range(steps):
            state = wild.astype(np.int64)
            drift = np.asarray(MEAN)[state] + BETA * signal
            drawn[..., step] = drift + np.asarray(SD)[state] * rng.standard_normal(shape)
            stays = rng.random(shape) < np.asarray(STAY)[state]
            wild = np.where(stays, wild, ~wild)
            signal = AR * signal + math.sqrt(1 - AR**2) * rng.standard_normal(shape)
        return drawn * UNIT

    def future(self, steps: int = 1) -> Floats:
        """Realised log return over the next `steps` rows, [N - steps + 1] for the rows that have it."""
        total = np.concatenate([[0.0], np.cumsum(self.returns)])
        return np.asarray(total[steps:] - total[:-steps])


def synthetic_dataset(seed: int, rows: int, *, step_ms: int = 100, missing: float = 0.02) -> SyntheticMarket:
    """`rows` rows, `step_ms` apart; each shown feature is missing with probability `missing`. Same seed, same bytes.

    A window is at least one row long, so at `step_ms` 1000 and above the newest return is itself a feature.
    """
    rng = np.random.default_rng(seed)
    regime = _regimes(rng, rows)
    hidden = _autoregressive(rng, rows, 1 + len(NOISE_SLOTS))
    drift = np.asarray(MEAN)[regime] + BETA * hidden[:, 0]
    returns = (drift + np.asarray(SD)[regime] * rng.standard_normal(rows)) * UNIT
    mid = 50_000.0 * np.exp(np.concatenate([[0.0], np.cumsum(returns[:-1])]))
    values, mask = _show(hidden, returns, max(1, 1000 // step_ms))
    mask &= rng.random(mask.shape) >= missing
    values[~mask] = 0.0
    times = START + np.arange(rows, dtype=np.int64) * step_ms * MS
    return SyntheticMarket(values, mask, times, mid, hidden[:, 0], regime, returns)


def _show(hidden: Floats, returns: Floats, second: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """What a bot sees at each row: nothing of a return that lies ahead. `second`: rows in one."""
    values = np.zeros((len(returns), WIDTH), dtype=np.float32)
    past = np.concatenate([[0.0], returns[:-1]]) / UNIT
    columns = dict(zip((SIGNAL_SLOT, *NOISE_SLOTS), hidden.T, strict=True)) | {
        "perp_return_1s": _rolling(past, second), "perp_return_5s": _rolling(past, 5 * second),
        "realised_volatility_5s": np.sqrt(_rolling(past**2, 5 * second)),
        "realised_volatility_30s": np.sqrt(_rolling(past**2, 30 * second)),
    }  # fmt: skip
    for name, column in (columns | FIXED).items():
        values[:, index(name)] = column
    mask = np.zeros(values.shape, dtype=bool)
    mask[:, [index(name) for name in (*columns, *FIXED)]] = True
    return values, mask


def _rolling(x: Floats, window: int) -> Floats:
    """Sum of the last `window` values, of fewer at the start."""
    padded = np.concatenate([np.zeros(window - 1), x])
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, window).sum(axis=1))


def _regimes(rng: np.random.Generator, rows: int) -> npt.NDArray[np.int8]:
    state = int(rng.random() < _stationary_wild())
    draws = rng.random(rows)
    path = np.empty(rows, dtype=np.int8)
    for t in range(rows):
        path[t] = state
        state = state if draws[t] < STAY[state] else 1 - state
    return path


def _autoregressive(rng: np.random.Generator, rows: int, channels: int) -> Floats:
    shocks = rng.standard_normal((rows, channels))
    path = np.empty_like(shocks)
    path[0] = shocks[0]
    for t in range(1, rows):
        path[t] = AR * path[t - 1] + math.sqrt(1 - AR**2) * shocks[t]
    return path


def _stationary_wild() -> float:
    return (1 - STAY[0]) / (2 - STAY[0] - STAY[1])


def _density(r: float, drift: float, state: int) -> float:
    """Of a one-row return in basis points, up to a constant."""
    z = (r - MEAN[state] - drift) / SD[state]
    return math.exp(-0.5 * z * z) / SD[state]
