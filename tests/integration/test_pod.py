"""The bot of a pod from start to deletion, in this process: real Redis, real bundle, a server for its TradingBot."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cryptoai.cli.cluster import SAMPLES_DONE, run_in_pod
from cryptoai.cli.data import sample_path
from cryptoai.core.clock import SECOND
from cryptoai.core.config import build
from cryptoai.core.journal import Record, read_journal
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.lake import import_capture
from cryptoai.risk_engine.kill_switch import KillSwitch
from cryptoai.testing.kube_api import NAME, SPACE, FakeApi, served, tradingbot

PERP, SPOT = "binance_usdm:BTCUSDT", "binance_spot:BTCUSDT"
REDIS = shutil.which("redis-server")
CONFIG = build(
    {
        "data": {"train_share": 0.2, "embargo_s": 0.5},
        "execution": {"decision_interval_ms": 250, "model_timeout_ms": 5000},
    }
)

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(REDIS is None, reason="redis-server is not installed (apt-get install redis-server)"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], Any], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        threading.Event().wait(0.005)


@dataclass
class World:
    """What surrounds the pod."""

    folder: Path
    api: FakeApi
    redis: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    server: subprocess.Popen[bytes] | None = None
    failed: list[BaseException] = field(default_factory=list)

    def start_redis(self) -> None:
        options = ["--port", str(self.redis), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.server = subprocess.Popen([str(REDIS), *options], stdout=subprocess.DEVNULL, cwd="/")

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, {}

    def records(self) -> list[Record]:
        path = self.folder / "journal.jsonl"
        return list(read_journal(path)) if path.exists() else []

    def lives(self, bundle: Path, story: Callable[[World], None]) -> int:
        """One life of the pod while `story` happens around it; at its end the TradingBot goes."""

        def told() -> None:
            try:
                story(self)
            except BaseException as error:  # noqa: BLE001 - shown by the test
                self.failed.append(error)
            finally:
                gone = self.api.thing or tradingbot(999)
                until(lambda: bool(self.api.watches()))
                self.api.thing = None
                self.api.say("DELETED", gone)

        teller = threading.Thread(target=told)
        teller.start()
        code = run_in_pod(CONFIG, ["BTCUSDT"], str(bundle), self.folder, speed=1.0, env=self.env())
        teller.join()
        if self.failed:
            raise self.failed[0]
        return code

    def env(self) -> dict[str, str]:
        return {
            "CRYPTOAI_BOT": NAME,
            "POD_NAMESPACE": SPACE,
            "CRYPTOAI_REDIS": f"127.0.0.1:{self.redis}",
            "CRYPTOAI_STATUS_PORT": str(self.port),
            "KUBECONFIG": str(self.folder / "kubeconfig"),
        }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for name, lines in ((PERP, 3_000), (SPOT, 1_400)):
        short = tmp_path / "head.jsonl"
        with gzip.open(sample_path(name), "rb") as whole:
            short.write_bytes(b"".join(itertools.islice(whole, lines)))
        import_capture(tmp_path / "lake", short, instrument(name))
    (tmp_path / "lake" / SAMPLES_DONE).touch()
    with served(FakeApi(thing=None)) as api:
        config = {
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": api.url}}],
            "users": [{"name": "test", "user": {"token": "of-the-test"}}],
        }
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        made = World(tmp_path, api)
        yield made
    for number, handler in before.items():
        signal.signal(number, handler)
    if made.server is not None:
        made.server.terminate()
        made.server.wait(10)


def test_a_pod_waits_trades_obeys_and_ends(world: World, tiny_bundle: Path, record_property: Any) -> None:
    """Unready without a TradingBot, then without Redis; a kill is obeyed at once, survives a restart, is released."""
    took: list[float] = []

    def first(world: World) -> None:
        until(lambda: "there is no such TradingBot" in str(world.get("/readyz")))
        assert world.get("/healthz")[0] == 200
        world.api.thing = tradingbot(1)
        world.api.say("ADDED", world.api.thing)
        until(lambda: "Redis" in str(world.get("/readyz")))
        world.start_redis()
        until(lambda: world.get("/status")[1].get("decisions", 0) >= 4)
        assert world.get("/readyz")[0] == 200
        engaged = world.api.put({"engaged": True, "reason": "the test says so"})
        until(lambda: any(r.kind == "kill" for r in world.records()))
        took.append(time.monotonic() - engaged)
        until(lambda: world.get("/status")[1]["killed"])

    def second(world: World) -> None:
        world.api.thing = tradingbot(50, {"engaged": False})
        until(lambda: world.get("/status")[1].get("decisions", 0) >= 2)
        status = world.get("/status")[1]
        assert (status["killed"], status["kill_by"]) == (True, "TradingBot desk/btc")
        assert [r.kind for r in world.records()[:3]].count("kill") == 1
        world.api.version = 60
        world.api.put({"engaged": False, "releasedBy": "ann", "reason": "the test is over"})
        until(lambda: any(r.kind == "release" for r in world.records()))
        until(lambda: world.get("/status")[1]["ended"])
        assert world.get("/readyz")[0] == 200

    assert world.lives(tiny_bundle, first) == 0
    record_property("kill_latency_ms", round(1000 * took[0], 1))
    lived = world.records()
    killed = next(r for r in lived if r.kind == "kill")
    assert took[0] < 1
    assert lived[-1].kind == "end"
    assert all(r.body["reduce_only"] for r in lived if r.kind == "order" and r.seq > killed.seq)
    assert killed.body == {"reason": "the test says so", "by": "TradingBot desk/btc"}

    assert world.lives(tiny_bundle, second) == 0
    assert list(read_journal(world.folder / "journal-1.jsonl")) == lived
    assert not KillSwitch(world.folder / "kill_switch.json").engaged


def test_a_silent_api_server_stops_the_bot(world: World, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First unready, then killed by the watchdog; when the server speaks again the latch stays."""
    monkeypatch.setattr("cryptoai.cli.cluster.ALERT_S", 0.5)
    monkeypatch.setattr("cryptoai.cli.cluster.LOST_S", 1.5)
    monkeypatch.setattr("cryptoai.execution.adapters.kube_watch._WATCH_S", 1)
    world.api.thing = tradingbot(1)
    world.start_redis()

    def story(world: World) -> None:
        until(lambda: world.get("/status")[1].get("decisions", 0) >= 2)
        world.api.refuse = 503
        world.api.end_watch()
        until(lambda: "API server: no word" in str(world.get("/readyz")))
        until(lambda: any(r.kind == "kill" for r in world.records()))
        world.api.refuse = 0
        until(lambda: "API server" not in str(world.get("/readyz")))
        assert world.get("/status")[1]["kill_by"] == "watchdog"

    assert world.lives(tiny_bundle, story) == 0
    killed = next(r for r in world.records() if r.kind == "kill")
    assert killed.body["by"] == "watchdog"
    assert killed.time < world.records()[0].time + 12 * SECOND
