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
from cryptoai.core.errors import ConfigError, DataError, TransientError
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.adapters.feast_store import FeastStore
from cryptoai.data_universe.adapters.hot_store import RedisAddress, RedisHot

REPO = Path(__file__).parents[2] / "feature_repo"
PERP, SPOT = "binance_usdm:BTCUSDT", "binance_spot:BTCUSDT"
START = 1_723_161_300 * SECOND + 7
REDIS = shutil.which("redis-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_redis(port: int, *more: str) -> subprocess.Popen[bytes]:
    """Redis on a private port, without a file, answering."""
    assert REDIS is not None
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *more]
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
    address = RedisAddress.parse(online) if online else None
    store = FeastStore(REPO, folder, online=address, project=project)
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
    flow, longest = schema.group_slice("flow"), max(store.allowed.values())

    assert any(store.read("test:STALE", START - 3 + 5 * SECOND).present()[flow])
    assert not any(store.read("test:STALE", START - 3 + 5 * SECOND + 1).present()[flow])
    assert not any(store.read("test:STALE", START + longest).present())
    assert not any(store.read("test:STALE", START - 1).present())
    assert not any(store.read("test:NOBODY", START).present())


def test_reading_often_does_not_grow(store: FeastStore) -> None:
    """Feast appends its timestamp to a list of features that it is handed; what it keeps must stay as it was."""
    store.push(made_state("test:OFTEN", START))
    first = store.read_sdk("test:OFTEN", START)
    fields = [f.name for f in store._view("flow").features]
    served = [len(p.features) for p in store._service().feature_view_projections]

    assert all(store.read_sdk("test:OFTEN", START) == first for _ in range(5))
    assert [f.name for f in store._view("flow").features] == fields
    assert [len(p.features) for p in store._service().feature_view_projections] == served


def test_reading_asks_the_registry_once(store: FeastStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feast makes and type-checks every field anew when it is asked for a service: 70 of 73 milliseconds."""
    store.push(made_state("test:ONCE", START))
    store.apply()
    asked, real = [], type(store._store).get_feature_service

    def counted(*args: Any, **options: Any) -> Any:
        asked.append(args[1])
        return real(*args, **options)

    monkeypatch.setattr(type(store._store), "get_feature_service", counted)
    assert len({store.read_sdk("test:ONCE", START).hash() for _ in range(10)}) == 1
    assert asked == ["market_state_v1"]


def test_the_packed_copy_says_what_feast_says(store: FeastStore) -> None:
    """Fresh, partly stale, stale, from the future and unknown: two ways to read, one state."""
    state = made_state("test:BOTH", START, 0.25)
    store.push(state, group_times={"onchain": START - 86_400 * SECOND, "events": 0})

    for now in (START, START - 1, START + 5 * SECOND, START + 5 * SECOND + 1, START + 700 * SECOND, START + 10**15):
        assert store.read("test:BOTH", now) == store.read_sdk("test:BOTH", now)
    assert store.read("test:NOBODY_2", START) == store.read_sdk("test:NOBODY_2", START)
    assert any(store.read("test:BOTH", START).present()[schema.group_slice("onchain")])
    assert not any(store.read("test:BOTH", START).present()[schema.group_slice("events")])


def test_a_push_that_dies_before_feast_leaves_nothing_newer(store: FeastStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends a push in the middle, the packed copy is not newer than Feast, and no older push gets past it."""
    store.push(made_state("test:TORN", START, 1.0))

    def dies(*_: Any) -> None:
        raise TransientError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(store._online, "online_write_batch", dies)
        with pytest.raises(TransientError):
            store.push(made_state("test:TORN", START + 9, 2.0))

    assert store.read("test:TORN", START + 9).floats()[1] == 1.0
    assert not store.push(made_state("test:TORN", START + 8, 3.0))
    assert store.push(made_state("test:TORN", START + 9, 4.0))
    assert store.read("test:TORN", START + 9) == store.read_sdk("test:TORN", START + 9)


def test_a_push_that_dies_after_feast_shows_the_older_state(store: FeastStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feast first, the packed copy last: a reader sees the state before, which grows stale."""
    store.push(made_state("test:LATE", START, 1.0))
    with monkeypatch.context() as patch:
        patch.setattr(store.hot, "put", lambda *_, **__: False)
        store.push(made_state("test:LATE", START + 9, 2.0))

    assert store.read("test:LATE", START + 9).floats()[1] == 1.0
    assert store.read_sdk("test:LATE", START + 9).floats()[1] == 2.0


def test_a_damaged_copy_is_refused(store: FeastStore) -> None:
    """One flipped bit, or bytes of another layout, are an error and never numbers."""
    store.push(made_state("test:BITS", START))
    blob = bytearray(store.hot.get("test:BITS") or b"")
    blob[500] ^= 1
    store.hot.put("test:BITS", bytes(blob))

    with pytest.raises(DataError, match="checksum"):
        store.read("test:BITS", START)
    store.hot.put("test:BITS", bytes(blob[:-1]), rewind=True)
    with pytest.raises(DataError, match="layout"):
        store.read("test:BITS", START)


@pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")
def test_a_redis_with_a_password_lets_only_the_right_one_in(tmp_path: Path) -> None:
    """A wrong or absent password is said as an error that does not contain it."""
    port = free_port()
    child = start_redis(port, "--requirepass", "open sesame")
    try:
        right = RedisAddress.parse(f"127.0.0.1:{port}", password="open sesame")
        RedisHot(right, "p").check()
        for wrong in (RedisAddress.parse(f"127.0.0.1:{port}"), RedisAddress.parse(f"redis://:guess@127.0.0.1:{port}")):
            with pytest.raises(TransientError) as said:
                RedisHot(wrong, "p").check()
            assert "guess" not in str(said.value) + repr(wrong)
        assert "sesame" not in repr(right)
    finally:
        child.terminate()
        child.wait(10)


@pytest.mark.skipif(REDIS is None or shutil.which("openssl") is None, reason="needs redis-server and openssl")
def test_a_redis_behind_tls_is_verified(tmp_path: Path) -> None:
    """With its CA the connection is made, without it refused; a plain one is refused too."""
    make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 2 -subj /CN=localhost -addext"
    subprocess.run([*make.split(), "subjectAltName=IP:127.0.0.1"], cwd=tmp_path, check=True, capture_output=True)
    port = free_port()
    keys = ["--tls-cert-file", str(tmp_path / "c.pem"), "--tls-key-file", str(tmp_path / "k.pem")]
    try:
        child = start_redis(port, "--port", "0", "--tls-port", str(port), *keys, "--tls-auth-clients", "no")
    except AssertionError:
        pytest.skip("this redis-server was built without TLS")
    try:
        RedisHot(RedisAddress.parse(f"rediss://127.0.0.1:{port}", ca=str(tmp_path / "c.pem")), "p").check()
        for refused in (f"rediss://127.0.0.1:{port}", f"127.0.0.1:{port}"):
            with pytest.raises(TransientError):
                RedisHot(RedisAddress.parse(refused), "p").check()
    finally:
        child.terminate()
        child.wait(10)


def test_bots_that_share_a_redis_do_not_meet(redis: str, tmp_path: Path) -> None:
    """Each has a Feast project of its own; what is left behind expires."""
    from redis import Redis

    one, two = opened(tmp_path / "1", redis, "bot_1"), opened(tmp_path / "2", redis, "bot_2")
    one.push(made_state("test:SHARED", START, 1.0))
    two.push(made_state("test:SHARED", START - SECOND, 2.0))
    host, port = redis.split(":")
    with Redis(host=host, port=int(port)) as client:
        keys = [key for key in client.scan_iter() if b"bot_1" in key or b"bot_2" in key]
        lives = [client.ttl(key) for key in keys]

    assert one.read("test:SHARED", START).floats()[1] == 1.0
    assert two.read("test:SHARED", START).floats()[1] == 2.0
    assert len(keys) == 6  # of each: Feast's hash, our packed state and our claim
    assert all(0 < life <= 86_400 for life in lives)


def test_an_address_that_is_none_is_named(tmp_path: Path) -> None:
    """Before anything connects."""
    with pytest.raises(ConfigError, match="host:port"):
        opened(tmp_path, "redis")


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
