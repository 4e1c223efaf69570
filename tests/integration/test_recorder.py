"""The live recorder against a local exchange that misbehaves: its tape equals the truth or says it does not know."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptoai.core.clock import MS, ReplayClock
from cryptoai.core.instruments import Instrument
from cryptoai.data_universe.adapters.ccxt_recorder import Limits, Recorder, connect
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import ASK, BID, GAP, QUOTE, EventArray
from cryptoai.data_universe.importing import append_piece, import_recording
from cryptoai.data_universe.lake import read_events
from cryptoai.data_universe.market_microstructure.book import Book
from cryptoai.data_universe.market_microstructure.live import LiveTape
from cryptoai.testing.feed_exchange import BINANCE_OPTIONS, Faults, FeedExchange, moved, served

PERP = instrument("binance_usdm:BTCUSDT")
STEPS = 6_000
"""Ten minutes of 100 ms."""


SYMBOLS = {"okx_spot": "BTC-USDT", "kraken": "BTC-USD", "coinbase": "BTC-USD"}


def _instrument(venue: str) -> Instrument:
    """On the grid of the local exchange."""
    return PERP.model_copy(update={"id": f"{venue}:{SYMBOLS.get(venue, 'BTCUSDT')}"})


def _exchange(venue: str, address: str) -> Any:
    made = connect(venue, {"enableRateLimit": False})
    if venue in SYMBOLS:
        made.options["fetchMarkets"] = {"types": ["spot"]} if venue == "okx_spot" else "fetchMarketsV3"
    else:
        made.options.update(BINANCE_OPTIONS, fetchMarkets={"types": ["linear"]}, enableUnifiedAccount=True)
    made.has["fetchCurrencies"] = False
    made.urls["api"] = moved(made.urls["api"], address)
    return made


async def _record(folder: Path, venue: str, faults: Faults, steps: int) -> tuple[FeedExchange, Path]:
    """Drive the exchange event by event; each waits until what was sent has arrived."""
    clock = ReplayClock(1_723_161_256_000 * MS)
    feed = FeedExchange(clock, faults, dialect=venue.partition("_")[0])
    made = _instrument(venue)
    async with served(feed) as address:
        tape = LiveTape(folder / "tapes", venue, (made,), clock)
        limits = Limits(first_wait_s=0.001, longest_wait_s=0.01, store_s=0.2)
        recorder = Recorder(_exchange(venue, address), tape, clock, lambda p: append_piece(folder / "lake", p), limits)
        running = asyncio.ensure_future(recorder.run([made.symbol]))
        while not feed.subscribed:  # noqa: ASYNC110 - the server says nothing, it is asked
            await asyncio.sleep(0)
        for _ in range(steps):
            await feed.step()
            for _ in range(8):
                await asyncio.sleep(0)
        recorder.stop()
        await running
    return feed, tape.path


def _follow(events: EventArray, feed: FeedExchange, depth: int = 100) -> tuple[int, int, int]:
    """(messages where the best levels equal the truth of their time, messages where they are unknown, holes)."""
    book, start, equal, unknown = Book(), 0, 0, 0
    for end in (np.flatnonzero(events.last) + 1).tolist():
        book.apply(events, start, end)
        start = end
        if events.kind[end - 1] != 0:
            continue
        if not book.known:
            unknown += 1
            continue
        truth = feed.truth[int(events.event_time[end - 1]) // MS]
        for side, name in ((BID, "b"), (ASK, "a")):
            best = dict(sorted(truth[name].items(), reverse=side == BID)[:depth])
            assert dict(zip(*(column.tolist() for column in book.top(side, depth)), strict=True)) == best
        assert not book.crossed()
        equal += 1
    return equal, unknown, int(np.count_nonzero(events.kind == GAP))


@pytest.mark.parametrize("venue", ["binance_usdm", "bybit", *sorted(SYMBOLS)])
@pytest.mark.parametrize(
    ("steps", "often"), [pytest.param(600, 8, id="a minute"), pytest.param(STEPS, 1, marks=pytest.mark.slow, id="ten")]
)
def test_minutes_of_faults_end_in_the_truth_or_in_marked_holes(
    tmp_path: Path, venue: str, steps: int, often: int
) -> None:
    """Dropped, late, reordered, doubled messages, closed connections and failing snapshots."""
    chances = {"drop": 0.002, "delay": 0.001, "swap": 0.001, "duplicate": 0.005, "close": 0.001}
    faults = Faults(np.random.default_rng(5), **{k: v * often for k, v in chances.items()}, snapshots=2)  # type: ignore[arg-type]
    feed, path = asyncio.run(_record(tmp_path, venue, faults, steps))
    made = _instrument(venue)
    events = read_events(tmp_path / "lake", made)
    equal, _, holes = _follow(events, feed, 10 if venue == "kraken" else 100)  # its checksum is over the best ten
    assert all(faults.counts[name] for name in ("drop", "delay", "swap", "duplicate", "close"))
    assert (np.count_nonzero(events.kind == QUOTE) > steps // 2) == (venue == "binance_usdm")
    # Coinbase connects anew after each message lost, Kraken subscribes anew: how soon, the load decides too.
    assert equal > steps // (4 if venue in {"binance_usdm", "bybit"} else 10)
    assert holes >= faults.counts["drop"] // 4
    again = import_recording(tmp_path / "lake", path, made).events
    assert len(read_events(tmp_path / "lake", made)) == len(events)
    assert import_recording(tmp_path / "second", path, made).events.total_rows == again.total_rows
    assert read_events(tmp_path / "second", made).fingerprint() == events.fingerprint()


@pytest.mark.parametrize("venue", sorted(SYMBOLS))
def test_other_venues_sync_follow_and_agree_with_the_truth(tmp_path: Path, venue: str) -> None:
    """ccxt.pro's own classes subscribe; snapshot and updates give the venue's book, without a hole."""
    steps = 120
    feed, path = asyncio.run(_record(tmp_path, venue, Faults(np.random.default_rng(5)), steps))
    events = read_events(tmp_path / "lake", _instrument(venue))
    equal, unknown, holes = _follow(events, feed)
    assert (unknown, holes) == (0, 0)
    assert equal >= steps
    assert np.count_nonzero(events.kind == 1) == steps // 5
    report = import_recording(tmp_path / "again", path, _instrument(venue)).events
    assert not report.quarantined_lines
    assert read_events(tmp_path / "again", _instrument(venue)).fingerprint() == events.fingerprint()
