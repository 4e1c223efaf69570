"""The feature kernel: stream equals batch, and gaps, cold starts and late rows are told apart from knowledge."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from cryptoai.core.clock import MS, SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe import schema
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import ASK, BID, CLEAR, GAP, LEVEL, QUOTE, TRADE, EventArray
from cryptoai.data_universe.features import FeatureEngine, batch
from cryptoai.testing.slices import head

PERP, SPOT = "binance_usdm:BTCUSDT", "binance_spot:BTCUSDT"
MARKET = ("book", "trades", "spot")
Row = tuple[int, int, int, int, int, int]


def engine(*, paired: bool = True) -> FeatureEngine:
    return FeatureEngine(instrument(PERP), instrument(SPOT) if paired else None)


def events(rows: list[Row]) -> EventArray:
    """Rows of (ms, kind, side, last, price, qty)."""
    table = np.array(rows, np.int64)
    times = table[:, 0] * MS
    small = [table[:, k].astype(np.int8) for k in (1, 2, 3)]
    return EventArray(times, times, *small, table[:, 4].copy(), table[:, 5].copy())


def quiet_market(start_ms: int, seconds: int) -> list[Row]:
    """A book of 12 levels a side around 600,000.5 ticks, a quote each 100 ms and a buy each second."""
    book = [
        (start_ms, LEVEL, side, 0, 600_000 + (k + 1 if side == ASK else -k), 10)
        for side in (BID, ASK)
        for k in range(12)
    ]
    rows: list[Row] = [(start_ms, CLEAR, 0, 0, 0, 0), *book[:-1], (*book[-1][:3], 1, *book[-1][4:])]
    for step in range(1, 10 * seconds):
        now = start_ms + 100 * step
        rows += [(now, QUOTE, BID, 0, 600_000, 10 + step % 2), (now, QUOTE, ASK, 1, 600_001, 10)]
        if step % 10 == 0:
            rows.append((now, TRADE, 1, 1, 600_001, 3))
    return rows


def present(made: tuple[np.ndarray, np.ndarray, int], name: str) -> bool:
    return bool(made[1][schema.index(name)])


def value(made: tuple[np.ndarray, np.ndarray, int], name: str) -> float:
    assert present(made, name), name
    return float(made[0][schema.index(name)])


def cuts(tape: EventArray, how: str) -> Iterator[int]:
    """Ends of chunks, up to and including the last row."""
    if how == "rows":
        yield from range(1, len(tape) + 1)
    elif how == "messages":
        yield from np.flatnonzero(tape.last) + 1
    else:
        yield from range(7, len(tape), 997)
    yield len(tape)


def streamed(
    tape: EventArray, spot: EventArray, times: np.ndarray, how: str
) -> list[tuple[np.ndarray, np.ndarray, int]]:
    made, machine = [], engine()
    for feed, given in ((machine.update, tape), (machine.update_spot, spot)):
        done = 0
        until = given.until(int(times[0]))
        for stop in cuts(given.slice(0, until), how):
            feed(given, done, stop)
            done = stop
    made.append(machine.emit(int(times[0])))
    own, other = tape.until(int(times[0])), spot.until(int(times[0]))
    for now in times[1:]:
        machine.update(tape, own, own := tape.until(int(now)))
        machine.update_spot(spot, other, other := spot.until(int(now)))
        made.append(machine.emit(int(now)))
    return made


@pytest.mark.parametrize("how", ["rows", "messages", "odd"])
def test_a_stream_cut_anywhere_equals_batch_to_the_bit(how: str) -> None:
    """Row by row, message by message or in odd chunks: the same numbers and masks as in one call."""
    tape, spot = head(PERP, 11_000), head(SPOT, 4_900)
    if how == "rows":
        tape, spot = tape.slice(0, 20_000), spot.slice(0, 5_000)
    times = tape.known_at[-1] - np.array([900, 433, 0]) * MS
    whole = batch(engine(), tape, spot, times)
    made = streamed(tape, spot, times, how)

    assert np.array_equal(np.array([v for v, _, _ in made]), whole.values)
    assert np.array_equal(np.array([m for _, m, _ in made]), whole.mask)
    assert [e for _, _, e in made] == whole.event_times.tolist()


def test_reading_more_often_changes_nothing() -> None:
    """Features are a function of what is known, not of how often somebody looked."""
    tape, spot = head(PERP, 11_000), head(SPOT, 4_900)
    times = np.arange(tape.known_at[0], tape.known_at[-1], 50 * MS)
    often, seldom = batch(engine(), tape, spot, times), batch(engine(), tape, spot, times[::37])

    assert np.array_equal(often.values[::37], seldom.values)
    assert np.array_equal(often.mask[::37], seldom.mask)


def test_on_the_real_tape_all_that_can_be_computed_is_present_once_warm() -> None:
    """After 32 s only the features without a feed are masked, and VPIN of 50 buckets."""
    tape, spot = head(PERP, 11_000), head(SPOT, 4_900)
    machine = engine()
    machine.update(tape)
    machine.update_spot(spot)
    _, mask, _ = machine.emit(int(max(tape.known_at[-1], spot.known_at[-1])))
    absent = {f.name for f, bit in zip(schema.FEATURES, mask, strict=True) if not bit and f.source in MARKET}
    fed = {f.source for f, bit in zip(schema.FEATURES, mask, strict=True) if bit}

    assert absent <= {"vpin_10", "vpin_50"}
    assert fed == {*MARKET, "registry"}


def test_a_window_is_masked_until_it_was_seen_whole() -> None:
    """One second in, the 1 s window speaks, the 5 s and 30 s windows do not."""
    machine = engine(paired=False)
    tape = events(quiet_market(1_000_000, 40))
    machine.update(tape, 0, tape.until(1_001_500 * MS))
    early = machine.emit(1_001_500 * MS)
    machine.update(tape, tape.until(1_001_500 * MS))
    late = machine.emit(int(tape.known_at[-1]))

    assert present(early, "trade_imbalance_1s")
    assert not present(early, "trade_imbalance_5s")
    assert not present(early, "realised_volatility_5s")
    assert value(late, "trade_imbalance_30s") == 1.0
    assert value(late, "realised_volatility_30s") == 0.0


def test_the_quiet_market_by_hand() -> None:
    """Spread, depth and rates of a market simple enough to compute in the head."""
    machine = engine(paired=False)
    machine.update(events(quiet_market(1_000_000, 40)))
    made = machine.emit(1_040_000 * MS)
    notional = 600_000 * 0.1 * 0.001

    assert value(made, "spread") == pytest.approx(1e4 / 600_000.5)
    assert value(made, "bid_depth_10") == pytest.approx(
        np.log1p(sum((600_000 - k) * 0.1 * 0.001 * 10 for k in range(10)))
    )
    assert value(made, "trade_size_30s") == pytest.approx(np.log1p(3 * notional), rel=1e-5)
    assert value(made, "run_length") == pytest.approx(np.log1p(39))
    assert value(made, "quote_age") == pytest.approx(np.log1p(0.1))


def test_without_a_companion_every_pair_feature_is_masked() -> None:
    """A basis to nothing is not zero."""
    machine = engine(paired=False)
    machine.update(events(quiet_market(1_000_000, 40)))
    made = machine.emit(1_040_000 * MS)

    assert not any(present(made, f.name) for f in schema.FEATURES if f.source == "spot")
    with pytest.raises(DataError, match="companion"):
        machine.update_spot(events(quiet_market(1_040_000, 1)))


def test_a_gap_masks_all_that_needs_a_past_until_it_is_warm_again() -> None:
    """What was seen before the hole says nothing about after it."""
    machine = engine(paired=False)
    machine.update(events([*quiet_market(1_000_000, 40), (1_040_000, GAP, 0, 1, 0, 0)]))
    hole = machine.emit(1_040_100 * MS)
    machine.update(events(quiet_market(1_040_200, 40)))
    again = machine.emit(1_042_200 * MS + 38 * SECOND)

    assert not any(present(hole, f.name) for f in schema.FEATURES if f.source in ("book", "trades"))
    assert value(again, "trade_imbalance_30s") == 1.0


def test_an_empty_side_or_crossed_quotes_are_not_believed() -> None:
    """The touch stays what it was; nothing becomes infinite."""
    machine = engine(paired=False)
    machine.update(
        events(
            [
                *quiet_market(1_000_000, 3),
                (1_003_000, QUOTE, BID, 0, 700_000, 5),
                (1_003_000, QUOTE, ASK, 1, 600_001, 5),
            ]
        )
    )
    made = machine.emit(1_003_000 * MS)

    assert value(made, "spread") == pytest.approx(1e4 / 600_000.5)
    assert np.isfinite(made[0]).all()


def test_rows_or_readings_out_of_order_are_refused() -> None:
    """A row that arrives after its time was read would be the future."""
    machine = engine(paired=False)
    tape = events(quiet_market(1_000_000, 3))
    machine.update(tape)
    with pytest.raises(DataError, match="asked for after"):
        machine.emit(1_000_500 * MS)
    machine.emit(1_005_000 * MS)

    with pytest.raises(DataError, match="came after"):
        machine.update(tape)


def test_a_long_silence_is_lived_through_slot_by_slot() -> None:
    """Hours without a row: returns and volatility are zero, old trades no longer count."""
    machine = engine(paired=False)
    machine.update(events(quiet_market(1_000_000, 40)))
    made = machine.emit(1_040_000 * MS + 3 * 3600 * SECOND)

    assert value(made, "perp_return_30s") == 0.0
    assert value(made, "realised_volatility_30s") == 0.0
    assert not present(made, "trade_imbalance_30s")
