"""The feature store on a real Redis: the promises of the embedded one, and the same decisions through both."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import ConfigError, TransientError
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.adapters.feast_store import FeastStore

REPO = Path(__file__).parents[2] / "feature_repo"
PERP, SPOT = "binance_usdm:BTCUSDT", "binance_spot:BTCUSDT"
START = 1_723_161_300 * SECOND + 7
REDIS = shutil.which("redis-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_redis(port: int) -> subprocess.Popen[bytes]:
    """Redis on a private port, without a file, answering."""
    assert REDIS is not None
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    child = subprocess.Popen([REDIS, *options], stdout=subprocess.DEVNULL, cwd="/")
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return child
        time.sleep(0.01)
    child.kill()
    raise AssertionError("redis-server did not open its port within 5 s")


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    """host:port of a Redis that ends with the file."""
    if REDIS is None:
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    port = free_port()
    child = start_redis(port)
    yield f"127.0.0.1:{port}"
    child.terminate()
    child.wait(10)


def opened(folder: Path, online: str | None, project: str = "bot_one") -> FeastStore:
    store = FeastStore(REPO, folder, online=online, project=project)
    store.apply()
    return store


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FeastStore:
    """The same contract for both kinds."""
    online = request.getfixturevalue("redis") if request.param == "redis" else None
    return opened(tmp_path_factory.mktemp(request.param), online)


def made_state(name: str, known_at: int, value: float = 0.5) -> StateVector:
    """Every third feature missing, the portfolio group missing as a whole."""
    mask = [place % 3 != 0 and place < schema.group_slice("portfolio").start for place in range(schema.WIDTH)]
    return StateVector.of(name, (known_at - 3, known_at), schema.SCHEMA_HASH, [value] * schema.WIDTH, mask)


def test_what_was_pushed_is_read_back_bit_for_bit(store: FeastStore) -> None:
    """Values, nulls and both times to the nanosecond, hence the same state hash."""
    state = made_state("test:ROUND", START, 0.1)

    store.check()
    assert store.push(state)
    assert store.read("test:ROUND", START + 5).hash() == state.hash()


def test_two_pushes_within_a_millisecond_are_told_apart(store: FeastStore) -> None:
    """Even where Feast's own timestamp cannot: ours are integers of nanoseconds."""
    for k in range(3):
        assert store.push(made_state("test:FAST", START + k, float(k)))

    assert store.read("test:FAST", START + 2).floats()[1] == 2.0
    assert store.read("test:FAST", START + 2).known_at == START + 2


def test_an_older_push_is_refused_and_an_equal_one_corrects(store: FeastStore) -> None:
    """Feast on Redis alone would lose the correction; on SQLite alone the older state would win."""
    assert store.push(made_state("test:OLDER", START, 2.0))

    assert not store.push(made_state("test:OLDER", START - 1, 1.0))
    assert store.read("test:OLDER", START).floats()[1] == 2.0
    assert store.push(made_state("test:OLDER", START, 3.0))
    assert store.read("test:OLDER", START).floats()[1] == 3.0


def test_the_first_push_of_a_replay_may_rewind(store: FeastStore) -> None:
    """What a later run left must not freeze a replay; and after it the order is kept again."""
    store.push(made_state("test:REWIND", START + SECOND, 2.0))

    assert store.push(made_state("test:REWIND", START, 1.0), rewind=True)
    assert store.read("test:REWIND", START).floats()[1] == 1.0
    assert not store.push(made_state("test:REWIND", START - 1, 0.0))


def test_a_value_that_goes_missing_is_missing(store: FeastStore) -> None:
    """A null written over a number: PRESENT with null, in Feast's words."""
    store.push(made_state("test:GONE", START))
    empty = StateVector.of(
        "test:GONE", (START, START + 1), schema.SCHEMA_HASH, [0.0] * schema.WIDTH, [False] * schema.WIDTH
    )
    store.push(empty)

    assert store.read("test:GONE", START + 1).hash() == empty.hash()


def test_stale_future_and_unknown_states_are_masked(store: FeastStore) -> None:
    """Feast enforces no ttl online, and Redis knows nobody as well as somebody without values."""
    store.push(made_state("test:STALE", START))

    assert any(store.read("test:STALE", START + 5 * SECOND).present())
    assert not any(store.read("test:STALE", START + 5 * SECOND + 1).present())
    assert not any(store.read("test:STALE", START - 1).present())
    assert not any(store.read("test:NOBODY", START).present())


def test_reading_often_does_not_grow(store: FeastStore) -> None:
    """Feast appends its timestamp to a list of features that it is handed; ours is made anew for each read."""
    store.push(made_state("test:OFTEN", START))
    first = store.read("test:OFTEN", START)

    assert all(store.read("test:OFTEN", START) == first for _ in range(20))
    assert [f.name for f in store._view("flow").features][: len(schema.NAMES[schema.group_slice("flow")])] == list(
        schema.NAMES[schema.group_slice("flow")]
    )


def test_bots_that_share_a_redis_do_not_meet(redis: str, tmp_path: Path) -> None:
    """Each has a Feast project of its own; what is left behind expires."""
    from redis import Redis

    one, two = opened(tmp_path / "1", redis, "bot_1"), opened(tmp_path / "2", redis, "bot_2")
    one.push(made_state("test:SHARED", START, 1.0))
    two.push(made_state("test:SHARED", START - SECOND, 2.0))
    host, port = redis.split(":")
    with Redis(host=host, port=int(port)) as client:
        keys = [key for key in client.scan_iter() if key.endswith((b"bot_1", b"bot_2"))]
        lives = [client.ttl(key) for key in keys]

    assert one.read("test:SHARED", START).floats()[1] == 1.0
    assert two.read("test:SHARED", START).floats()[1] == 2.0
    assert len(keys) == 2
    assert all(0 < life <= 86_400 for life in lives)


def test_an_address_that_is_none_is_named(tmp_path: Path) -> None:
    """Before anything connects."""
    with pytest.raises(ConfigError, match="host:port"):
        FeastStore(REPO, tmp_path, online="redis")


@pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")
def test_a_redis_that_dies_is_a_transient_error_and_comes_back(tmp_path: Path) -> None:
    """Every call fails within a second with one sentence; a new Redis on the same port serves again."""
    port = free_port()
    store = opened(tmp_path, f"127.0.0.1:{port}")
    for call in (store.check, lambda: store.read("t:X", START), lambda: store.push(made_state("t:X", START))):
        begun = time.monotonic()
        with pytest.raises(TransientError, match="Redis does not answer"):
            call()
        assert time.monotonic() - begun < 1
    for value in (1.0, 2.0):
        child = start_redis(port)
        try:
            store.push(made_state("t:X", START, value))
            assert store.read("t:X", START).floats()[1] == value
        finally:
            child.terminate()
            child.wait(10)


def test_decisions_are_the_same_through_both_stores(redis: str, tiny_bundle: Path, tmp_path: Path) -> None:
    """Same tape, same bundle: every record of the journal, and with it every state hash, byte for byte."""
    journals = {kind: replayed(tmp_path / kind, online, tiny_bundle) for kind, online in kinds(redis)}

    assert journals["redis"] == journals["sqlite"]
    assert sum(b'"kind":"decision"' in line for line in journals["redis"].splitlines()) >= 4
    assert b'"inference":{' in journals["redis"]


def kinds(redis: str) -> list[tuple[str, str | None]]:
    return [("sqlite", None), ("redis", redis)]


def replayed(folder: Path, online: str | None, bundle: Path) -> bytes:
    """A bot's whole run on the first seconds of the shipped tapes."""
    from cryptoai.backtesting.market import Feed
    from cryptoai.cli.bot import Bell, Bot, Stopping
    from cryptoai.core.config import build
    from cryptoai.data_universe.asset_registry.registry import instrument
    from cryptoai.decision_engine.inference import InferenceEngine
    from cryptoai.risk_engine.kill_switch import KillSwitch
    from cryptoai.testing.slices import head

    chosen: Any = {"data": {"train_share": 0.4, "embargo_s": 0.5}, "execution": {"decision_interval_ms": 1000}}
    feed = Feed(instrument(PERP), head(PERP, 3_000), instrument(SPOT), head(SPOT, 1_400))
    engine = InferenceEngine.load(bundle)
    store, bell = opened(folder / "features", online, "bot_same"), Bell()
    switch = KillSwitch(folder / "kill_switch.json")
    bot = Bot(build(chosen), "bot", (feed,), engine, engine.revision, store, folder, switch)
    bot.run(0.0, bell, Stopping(bell))
    return (folder / "journal.jsonl").read_bytes()


def test_push_and_read_are_quick(store: FeastStore, record_property: Any) -> None:
    """A decision pushes and reads once; ten times what was measured is the alarm."""
    spent = []
    for k in range(40):
        state, begun = made_state("test:QUICK", START + k * SECOND), time.perf_counter()
        store.push(state)
        store.read("test:QUICK", state.known_at)
        spent.append(1000 * (time.perf_counter() - begun))
    record_property("push_and_read_p50_ms", round(float(np.median(spent)), 2))

    assert np.median(spent) < 80
