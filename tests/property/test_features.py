"""Whatever the tape, its facts and the way it is cut: a stream equals batch, and no number is infinite."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoai.core.clock import MS
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.features import FeatureEngine, batch
from cryptoai.testing.random_market import START, random_facts, random_tape
from cryptoai.testing.slices import head

PERP, SPOT = "binance_usdm:BTCUSDT", "binance_spot:BTCUSDT"


def engine() -> FeatureEngine:
    return FeatureEngine(instrument(PERP), instrument(SPOT))


def streamed(tapes: tuple[Any, ...], now: int, generator: np.random.Generator) -> FeatureEngine:
    """An engine fed up to `now` in pieces of random length, taken from random tapes, with readings in between."""
    made = engine()
    own, spot, *facts = tapes
    feeds = [(made.update, own), (made.update_spot, spot), *((made.update_facts, one) for one in facts)]
    stops = sorted(generator.integers(int(own.known_at[0]), now, 4).tolist())
    done = [0] * len(feeds)
    for until in [*stops, now]:
        left = [k for k, (_, tape) in enumerate(feeds) if tape.until(until) > done[k]]
        while left:
            k = int(generator.choice(left))
            feed, tape = feeds[k]
            stop = min(tape.until(until), done[k] + int(generator.integers(1, 4_000)))
            feed(tape, done[k], stop)
            done[k] = stop
            if stop == tape.until(until):
                left.remove(k)
        if until < now and generator.random() < 0.5:
            made.emit(until)
    return made


@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 10**6), gaps=st.integers(0, 3))
def test_a_stream_cut_anywhere_equals_batch_on_random_tapes_with_gaps_and_facts(seed: int, gaps: int) -> None:
    """To the bit, values and masks; nothing is infinite and what is masked is 0."""
    generator = np.random.default_rng(seed)
    tapes = (
        random_tape(generator, 45, gaps=gaps), random_tape(generator, 45, price=6_003_000, gaps=gaps // 2),
        *random_facts(generator, 45),
    )  # fmt: skip
    now = START + 45_100 * MS
    own, spot, *facts = tapes
    rows = batch(engine(), own, spot, np.array([START + 20_000 * MS, now]), facts)
    values, mask, _ = streamed(tapes, now, generator).emit(now)

    assert np.array_equal(values, rows.values[-1])
    assert np.array_equal(mask, rows.mask[-1])
    assert np.isfinite(rows.values).all()
    assert not rows.values[~rows.mask].any()


@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 10**6), back_ms=st.integers(0, 9_000))
def test_a_stream_cut_anywhere_equals_batch_on_the_real_tapes(seed: int, back_ms: int) -> None:
    """The same on the recorded perpetual and its spot market."""
    tapes = head(PERP, 11_000), head(SPOT, 4_900)
    now = int(tapes[0].known_at[-1]) - back_ms * MS
    rows = batch(engine(), *tapes, np.array([now]))
    values, mask, _ = streamed(tapes, now, np.random.default_rng(seed)).emit(now)

    assert np.array_equal(values, rows.values[-1])
    assert np.array_equal(mask, rows.mask[-1])
