"""Real recorded markets as training sees them: a shipped tape through the feature kernel, and candles as features.

The gates of real data use it. Candles may not be shipped: they are read from `shared/data` beside the checkout, and
where that is absent `candles` says so with None. A row holds only what was known at its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryptoai.backtesting.baselines import mids
from cryptoai.backtesting.market import Feed
from cryptoai.core.clock import MS, SECOND
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.features import FeatureEngine, batch
from cryptoai.encoders.groups import STATE_DIM
from cryptoai.testing.slices import head
from cryptoai.training.dataset import Dataset, Timing

__all__ = ["FEATURES", "RealMarket", "candle_features", "candles", "tape"]

Floats = npt.NDArray[np.float64]

CANDLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "perp_candles"
STEP_NS = 300 * SECOND
DAY = 288
"""Candles of five minutes in a day: the longest memory of a feature."""
FEATURES = (
    "return 1", "return 3", "return 12", "return 48", "return 288", "volatility 6", "volatility 24", "volatility 96",
    "volatility 288", "range", "place in range", "volume against its day", "signed volume", "hour sine", "hour cosine",
)  # fmt: skip
WHOLE_TAPE = 10**9
"""More lines than the shipped tape has."""


@dataclass(frozen=True, slots=True)
class RealMarket:
    """Rows with their timing; `memory_ns` is the longest past that a feature holds."""

    name: str
    rows: Dataset
    timing: Timing
    memory_ns: int


def candles(symbol: str, last: int | None = None) -> RealMarket | None:
    """Five-minute candles of a perpetual, BTC or ETH, the `last` ones if given; None where the file is absent."""
    path = CANDLES / f"{symbol}_USDT_USDT_perp_5m_2024-01_2024-05.parquet"
    if not path.exists():
        return None
    import polars as pl

    table = pl.read_parquet(path).sort("date")
    closes = table["date"].dt.epoch("ns").to_numpy() + STEP_NS
    prices = {name: table[name].to_numpy().astype(np.float64) for name in ("open", "high", "low", "close", "volume")}
    found = candle_features(closes, prices)
    keep = slice(DAY if last is None else max(DAY, len(closes) - last), None)
    values = np.zeros((len(closes), STATE_DIM), np.float32)
    values[:, : len(FEATURES)] = found
    mask = np.zeros((len(closes), STATE_DIM), np.bool_)
    mask[:, : len(FEATURES)] = True
    rows = Dataset(values[keep], mask[keep], closes[keep], prices["close"][keep])
    return RealMarket(f"{symbol} 5m candles", rows, Timing(STEP_NS, 1), DAY * STEP_NS)


def candle_features(times: npt.NDArray[np.int64], prices: Mapping[str, Floats]) -> Floats:
    """float64 [n, 15] by FEATURES, each of the candle that closes at its time and of earlier ones.

    `prices`: open, high, low, close, volume, each float64 [n].
    """
    low, close = prices["low"], prices["close"]
    log = np.log(close)
    returns = np.diff(log, prepend=log[0])
    at = np.arange(len(log))
    past = [log - log[np.maximum(at - back, 0)] for back in (1, 3, 12, 48, DAY)]
    spread = [np.log(_ewma(returns**2, span) + 1e-12) / 2 for span in (6, 24, 96, DAY)]
    width = np.maximum(prices["high"] - low, 1e-12)
    place, flow = (close - low) / width - 0.5, np.log1p(prices["volume"])
    hour = 2 * np.pi * ((times // SECOND) % 86_400) / 86_400
    return np.stack(
        [
            *past, *spread, np.log(width / close), place, flow - _ewma(flow, DAY),
            np.sign(close - prices["open"]) * (flow - _ewma(flow, DAY)), np.sin(hour), np.cos(hour),
        ],
        axis=1,
    )  # fmt: skip


def tape() -> RealMarket:
    """The shipped capture of the BTCUSDT perpetual, every 100 ms with a decision a second."""
    own = instrument("binance_usdm:BTCUSDT")
    events = head(own.id, WHOLE_TAPE)
    step = 100 * MS
    first, last = int(events.known_at[0]), int(events.known_at[-1])
    times = np.arange(-(-first // step) * step, last + 1, step, dtype=np.int64)
    found = batch(FeatureEngine(own), events, None, times)
    rows = Dataset(found.values.astype(np.float32), found.mask, times, mids(Feed(own, events), times))
    return RealMarket("BTCUSDT tape", rows, Timing(step, 10), 60 * SECOND)


def _ewma(x: Floats, span: int) -> Floats:
    """Exponentially weighted mean of x[..t], for every t."""
    from scipy.signal import lfilter

    decay = 1 - 2 / (span + 1)
    found: Floats = lfilter([1 - decay], [1, -decay], x, zi=[decay * x[0]])[0]
    return found
