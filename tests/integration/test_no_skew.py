"""No skew: what a decision read at t is what a training set says was known at t, in every column.

States of several instruments are pushed in the order of time, as a stream would, and read at a thousand random moments
on the way; afterwards the same moments are joined from the history, by our join and by Feast's. On SQLite and on a real
Redis. And a backtest, which has no store, sees the bytes that a bot reads from one.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryptoai.backtesting.market import Feed, TapeMarket
from cryptoai.cli.bot import StoredMarket
from cryptoai.core.clock import MS, SECOND
from cryptoai.core.messages import AccountView
from cryptoai.core.money import Money
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.adapters.feast_store import FeastStore
from cryptoai.data_universe.adapters.hot_store import RedisAddress
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import EventArray
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.features import Batch
from cryptoai.monitoring.state_log import StateLog
from cryptoai.testing.slices import head

REPO = Path(__file__).parents[2] / "feature_repo"
PERP = "binance_usdm:BTCUSDT"
NAMES = ("t:A", "t:B", "t:C")
ROWS, QUESTIONS = 120, 1_000
START = 1_723_161_300 * SECOND
SLOW = {"derivatives": 900, "onchain": 400_000, "events": 100_000}
"""Seconds back that a feed may be: past its limit, sometimes."""


@pytest.fixture(params=["sqlite", "redis"])
def online(request: pytest.FixtureRequest) -> Iterator[RedisAddress | None]:
    """The embedded store, or a Redis of this test's own."""
    server = shutil.which("redis-server")
    if request.param == "sqlite":
        yield None
        return
    if server is None:
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    child = subprocess.Popen([server, *options], stdout=subprocess.DEVNULL, cwd="/")
    while child.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.01)
    yield RedisAddress("127.0.0.1", port, timeout_s=5.0)
    child.terminate()
    child.wait(10)


def made(random: np.random.Generator, name: str) -> tuple[np.ndarray, Batch, dict[str, np.ndarray]]:
    """Irregular rows with holes longer than every fast limit, missing numbers, and feeds of their own age."""
    gaps = random.choice([10 * MS, 100 * MS, 2 * SECOND, 9 * SECOND], ROWS, p=[0.3, 0.4, 0.2, 0.1])
    times = START + np.cumsum(gaps) + random.integers(0, 999, ROWS)
    values = random.normal(size=(ROWS, schema.WIDTH)).astype(np.float32).astype(float)
    mask = random.random(values.shape) > 0.2
    mask[:, schema.group_slice("portfolio")] = False
    rows = Batch(np.where(mask, values, 0.0), mask, times - random.integers(0, 4 * SECOND, ROWS))
    slow = {g: times - random.integers(0, span * SECOND, ROWS) for g, span in SLOW.items()}
    return times, rows, slow


def state_of(name: str, history: tuple[np.ndarray, Batch, dict[str, np.ndarray]], k: int) -> StateVector:
    times, rows, _ = history
    values, mask = rows.values[k].tolist(), rows.mask[k].tolist()
    return StateVector.of(name, (int(rows.event_times[k]), int(times[k])), schema.SCHEMA_HASH, values, mask)


def test_a_thousand_reads_equal_the_joins(online: RedisAddress | None, tmp_path: Path) -> None:
    """Every value and every mask of 1,000 random (asset, t), online against offline, packed and through Feast."""
    random = np.random.default_rng(11)
    store = FeastStore(REPO, tmp_path, online=online)
    store.apply()
    histories = {name: made(random, name) for name in NAMES}
    for name, (times, rows, slow) in histories.items():
        store.write_offline(name, times, rows, slow)
    pushes = sorted((int(t), name, k) for name, (times, _, _) in histories.items() for k, t in enumerate(times))
    asked = np.sort(random.integers(START - SECOND, pushes[-1][0] + 8 * SECOND, QUESTIONS)) // 1000 * 1000
    names = random.choice(NAMES, QUESTIONS).tolist()
    read, turn = [], 0
    for question, (name, t) in enumerate(zip(names, asked.tolist(), strict=True)):
        while turn < len(pushes) and pushes[turn][0] <= t:
            _, owner, k = pushes[turn]
            moments = {group: int(each[k]) for group, each in histories[owner][2].items()}
            assert store.push(state_of(owner, histories[owner], k), group_times=moments)
            turn += 1
        read.append(store.read(name, t))
        if question % 50 == 0:
            assert store.read_sdk(name, t) == read[-1]

    values = np.stack([np.frombuffer(state.values, "<f4") for state in read])
    mask = np.stack([np.frombuffer(state.mask, np.uint8) for state in read]).astype(bool)
    ours, (theirs, known) = store.join(names, asked), store.history(names, asked)
    assert np.array_equal(mask, ours.mask)
    assert np.array_equal(mask, known)
    assert np.array_equal(values, ours.values)
    assert np.array_equal(values, theirs.astype(np.float32))
    assert 0.2 < mask[:, : schema.group_slice("portfolio").start].mean() < 0.7  # stale, missing and present all occur


def test_materialising_to_a_moment_gives_what_was_known_then(online: RedisAddress | None, tmp_path: Path) -> None:
    """Feast's own materialize, to a few moments one after another: the online read equals the join there."""
    random = np.random.default_rng(5)
    store = FeastStore(REPO, tmp_path, online=online)
    store.apply()
    histories = {name: made(random, name) for name in NAMES}
    for name, (times, rows, slow) in histories.items():
        store.write_offline(name, times, rows, slow)
    last = max(int(times[-1]) for times, _, _ in histories.values())
    for moment in np.linspace(START + 20 * SECOND, last, 4).astype(np.int64) // 1000 * 1000:
        store.materialize(None, int(moment))
        joined = store.join(list(NAMES), np.full(len(NAMES), moment))
        for k, name in enumerate(NAMES):
            state = store.read(name, int(moment))
            assert state == store.read_sdk(name, int(moment))
            assert state.floats() == joined.values[k].tolist()
            assert state.present() == joined.mask[k].tolist()


def torn(whole: EventArray, at: int, hole: int) -> EventArray:
    """The tape with everything after `at` moved `hole` ns later."""
    late = np.where(whole.known_at > at, hole, 0)
    return replace(whole, event_time=whole.event_time + late, known_at=whole.known_at + late)


def held(now: int) -> AccountView:
    """An account in which something was lost, so that the portfolio group is not all zero."""
    return AccountView(
        time=now,
        equity=Money(900),
        peak_equity=Money(1000),
        cash=Money(900),
        positions={},
        entry_prices={},
        open_orders=1,
        last_fill_time=now - SECOND,
    )


@pytest.mark.parametrize("delay", [0, 700 * MS])
def test_a_backtest_sees_a_hole_as_a_bot_does(tmp_path: Path, delay: int) -> None:
    """A tape silent for ten seconds, with facts of which one is long past its limit: the same bytes through both."""
    whole = head(PERP, 1_500)
    start, middle = int(whole.known_at[0]), int(whole.known_at[len(whole) // 2])
    tape = torn(whole, middle, 10 * SECOND)
    mark = [middle - 650 * SECOND, middle + 4 * SECOND]  # derivatives live 600 s; the second ends the hole for them
    facts = (
        Facts.of("mark", mark, mark, [[60_000.0, 60_001.0]] * 2),
        Facts.of("onchain", [start - 300_000 * SECOND], [start - 1], [[0.0, 5.0]]),
    )
    feed, store = (Feed(instrument(PERP), tape, facts=facts),), FeastStore(REPO, tmp_path)
    store.apply()
    backtest, bot = (TapeMarket(feed, 0.1, store.allowed, delay) for _ in range(2))
    flow, seen = schema.group_slice("flow"), []
    with StateLog(tmp_path / "states.f32", schema.SCHEMA_HASH, schema.WIDTH) as log:
        shadow = StoredMarket(bot, store, log)
        for now in range(start + SECOND, int(tape.known_at[-1]), 500 * MS):
            backtest.advance(now)
            shadow.advance(now)
            state = backtest.state(PERP, now, held(now))
            assert state == shadow.state(PERP, now, held(now))
            seen.append((now - middle, any(state.present()[flow]), any(state.present()[schema.group_slice("onchain")])))

    dark = [5 * SECOND < since < 10 * SECOND + delay for since, _, _ in seen]
    assert [not there for _, there, _ in seen] == dark
    assert 8 <= sum(dark) < len(dark) - 4
    assert not any(chain for _, _, chain in seen)
