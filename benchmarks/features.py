"""The feature kernel over the whole tape in batch, and one streamed message at a time."""

from __future__ import annotations

import numpy as np
from harness import TAPES, each, rate, report, seconds

from cryptoai.core.clock import MS
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.features import FeatureEngine, batch
from cryptoai.data_universe.market_microstructure.tape import read_capture


def main() -> None:
    perp = instrument("binance_usdm:BTCUSDT")
    events = read_capture(TAPES / "binance_usdm_btcusdt_20240808.gz", perp).events
    times = np.arange(events.known_at[0], events.known_at[-1], 100 * MS)
    whole = seconds(lambda: batch(FeatureEngine(perp), events, None, times), repeats=3)
    report("features.batch", unit="events", events=len(events), emits=len(times), **rate(len(events), whole))
    engine, cursor = FeatureEngine(perp), iter(range(len(events)))

    def stream_one() -> None:
        row = next(cursor)
        engine.update(events, row, row + 1)

    report("features.stream", unit="one event", **each(stream_one, count=20_000))
    report("features.emit", unit="200 features", **each(lambda: engine.emit(int(events.known_at[-1])), count=2_000))


if __name__ == "__main__":
    main()
