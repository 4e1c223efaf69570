"""The feature kernel over the whole tapes in batch, one streamed event or fact at a time, and one reading."""

from __future__ import annotations

import resource

import numpy as np
from harness import TAPES, each, rate, report, seconds

from cryptoai.core.clock import MS
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.features import FeatureEngine, batch
from cryptoai.data_universe.market_microstructure.tape import read_capture
from cryptoai.testing.random_market import random_facts


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def main() -> None:
    perp, spot = instrument("binance_usdm:BTCUSDT"), instrument("binance_spot:BTCUSDT")
    events = read_capture(TAPES / "binance_usdm_btcusdt_20240808.gz", perp).events
    beside = read_capture(TAPES / "binance_spot_btcusdt_20240808.gz", spot).events
    times = np.arange(events.known_at[0], events.known_at[-1], 100 * MS)
    whole = seconds(lambda: batch(FeatureEngine(perp), events, None, times), repeats=3)
    report("features.batch", unit="events", events=len(events), emits=len(times), **rate(len(events), whole))
    both = seconds(lambda: batch(FeatureEngine(perp, spot), events, beside, times), repeats=3)
    count = len(events) + len(beside)
    report("features.batch_pair", unit="events", events=count, emits=len(times), **rate(count, both))
    engine, cursor, before = FeatureEngine(perp, spot), iter(range(len(events))), _peak_mb()

    def stream_one() -> None:
        row = next(cursor)
        engine.update(events, row, row + 1)

    streamed = each(stream_one, count=400_000)
    report("features.stream", unit="one event", **streamed, peak_growth_mb=round(_peak_mb() - before, 1))
    now = int(events.known_at[400_020])
    engine.update_spot(beside, 0, beside.until(now))
    report("features.emit", unit="200 features", **each(lambda: engine.emit(now), count=5_000))
    tape = random_facts(np.random.default_rng(1), 90)[2]
    fresh, place = FeatureEngine(perp), iter(range(len(tape)))

    def stream_fact() -> None:
        row = next(place)
        fresh.update_facts(tape, row, row + 1)

    report("features.fact", unit="one mark price", **each(stream_fact, count=1_900))


if __name__ == "__main__":
    main()
