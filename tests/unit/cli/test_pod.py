"""What a pod says of itself, over the real HTTP server, and the parts that a bot in a pod is made of."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cryptoai.cli import pod
from cryptoai.cli.bot import Bell, Stopping, _Pace
from cryptoai.cli.children import Interrupted
from cryptoai.cli.cluster import PodSettings, SharedKillSwitch, _LastLook, placed_in
from cryptoai.cli.pod import PodStatus, serve_status
from cryptoai.core.clock import SECOND
from cryptoai.core.config import Config
from cryptoai.core.errors import ConfigError, ModelUnavailableError
from cryptoai.core.messages import Inference
from cryptoai.risk_engine.kill_switch import KillSwitch
from cryptoai.testing.fakes import make_inference

ENV = {"CRYPTOAI_BOT": "btc", "POD_NAMESPACE": "desk", "CRYPTOAI_REDIS": "redis:6379"}


@pytest.fixture
def served() -> Iterator[tuple[PodStatus, str]]:
    status = PodStatus(bot="btc", mode="shadow")
    server = serve_status(status, 0, "127.0.0.1")
    yield status, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def get(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_pod_that_waits_is_alive_and_not_ready(served: tuple[PodStatus, str]) -> None:
    """Liveness must not restart what only waits; readiness says for what."""
    status, url = served
    status.waiting = "Redis at redis:6379 (refused)"

    assert get(f"{url}/healthz") == (200, {"live": True})
    assert get(f"{url}/readyz") == (503, {"ready": False, "reason": "waiting for Redis at redis:6379 (refused)"})


def test_a_running_pod_is_ready_until_something_is_missing(served: tuple[PodStatus, str]) -> None:
    """A problem of one part comes and goes without touching another's."""
    status, url = served
    status.waiting = ""
    assert get(f"{url}/readyz")[0] == 200

    assert status.problem("model", "no answer")
    assert not status.problem("model", "no answer")
    status.problem("features", "")
    assert get(f"{url}/readyz") == (503, {"ready": False, "reason": "model: no answer"})
    status.problem("model", "")
    assert get(f"{url}/readyz")[0] == 200


def test_the_status_has_what_the_operator_reads(served: tuple[PodStatus, str]) -> None:
    """decisions, time, revision, killed, ended and mode, with their types."""
    status, url = served
    status.decisions, status.time, status.killed, status.ended, status.revision = 7, 5 * SECOND, True, True, "ab"
    code, body = get(f"{url}/status?pretty")

    assert code == 200
    wanted = {"decisions": 7, "time": 5 * SECOND, "revision": "ab", "killed": True, "ended": True, "mode": "shadow"}
    assert {key: body[key] for key in wanted} == wanted
    assert get(f"{url}/nothing")[0] == 404


def test_the_age_of_each_feed_is_a_metric(served: tuple[PodStatus, str]) -> None:
    """In Prometheus' text; a feed that never spoke is infinitely old, and the JSON of the status is not troubled."""
    status, url = served
    status.feed_ages = {"flow": 0.25, "onchain": float("inf")}
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:  # noqa: S310
        lines = answer.read().decode().splitlines()

    assert lines[1:] == [
        "# TYPE cryptoai_feature_age_seconds gauge",
        'cryptoai_feature_age_seconds{group="flow"} 0.25',
        'cryptoai_feature_age_seconds{group="onchain"} +Inf',
    ]
    assert "feed_ages" not in get(f"{url}/status")[1]


def test_a_main_thread_that_hangs_is_not_alive(served: tuple[PodStatus, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a beat the probe fails, with one it passes again."""
    status, url = served
    monkeypatch.setattr(pod, "_LIVE_S", 0.0)
    assert get(f"{url}/healthz")[0] == 500

    monkeypatch.setattr(pod, "_LIVE_S", 60.0)
    status.beat()
    assert get(f"{url}/healthz")[0] == 200


def test_a_bell_ends_a_wait_for_the_recorded_pace() -> None:
    """Rung from another thread, the wait of an hour ends at once; the next one waits again."""
    bell = Bell()
    pace = _Pace(1.0, bell, lambda: None)
    pace.wait_until(0)
    ring = threading.Timer(0.05, bell.ring)
    ring.start()
    begun = time.monotonic()
    pace.wait_until(3600 * SECOND)

    assert 0.04 < time.monotonic() - begun < 1
    assert not bell.wait(0)
    ring.join()


def test_a_long_wait_keeps_calling_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog and the beat run while the recorded pace is waited for."""
    monkeypatch.setattr("cryptoai.cli.bot._SLICE_S", 0.01)
    calls: list[int] = []
    pace = _Pace(1.0, Bell(), lambda: calls.append(1))
    pace.wait_until(0)
    pace.wait_until(SECOND // 10)

    assert len(calls) >= 3


def test_a_signal_interrupts_a_wait_and_spares_a_step() -> None:
    """Before `hold` it raises at once; after it the bell is rung and the step goes on to its end."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    bell = Bell()
    stopping = Stopping(bell)
    try:
        stopping.listen()
        with pytest.raises(Interrupted, match="SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)
        stopping.hold()
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

    assert str(stopping.asked) == "stopped by SIGTERM"
    assert bell.wait(0)


def test_what_the_model_thought_during_a_kill_is_not_sent(tmp_path: Path) -> None:
    """The switch is looked at once more after the answer, on disk, because another process may have set it."""
    switch, status = SharedKillSwitch(tmp_path / "kill.json"), PodStatus()

    class Slow:
        def decide(self, _history: Any) -> Inference:
            KillSwitch(tmp_path / "kill.json").engage("now", "another process", 1)
            return make_inference(0.5)

    with pytest.raises(ModelUnavailableError, match="kill switch"):
        _LastLook(Slow(), switch, status).decide([])
    assert status.problems == {}


def test_a_silent_model_shows_in_the_status(tmp_path: Path) -> None:
    """And goes from it with the next answer."""
    status, answers = PodStatus(), iter([None, make_inference(0.5)])

    class Model:
        def decide(self, _history: Any) -> Inference:
            answer = next(answers)
            if answer is None:
                raise ModelUnavailableError("no answer within 0.5 s")
            return answer

    guarded = _LastLook(Model(), SharedKillSwitch(tmp_path / "kill.json"), status)
    with pytest.raises(ModelUnavailableError):
        guarded.decide([])
    assert status.problems == {"model": "no answer within 0.5 s"}
    guarded.decide([])
    assert status.problems == {}


def test_the_latch_takes_two_threads(tmp_path: Path) -> None:
    """Setting, releasing and reading at once never fails and never shows a torn file."""
    switch = SharedKillSwitch(tmp_path / "kill.json")
    failed: list[Exception] = []

    def work(name: str) -> None:
        try:
            for k in range(15):
                switch.engage(f"{name} {k}", name, k)
                switch.refresh()
                switch.release("tested", name, k)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failed.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("watch", "kernel")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert not KillSwitch(tmp_path / "kill.json").engaged


def test_the_environment_is_read_and_named() -> None:
    """Every missing variable in one sentence; the password is not shown."""
    with pytest.raises(ConfigError, match="CRYPTOAI_BOT, POD_NAMESPACE, CRYPTOAI_REDIS"):
        PodSettings.read({})
    with pytest.raises(ConfigError, match="CRYPTOAI_STATUS_PORT"):
        PodSettings.read(ENV | {"CRYPTOAI_STATUS_PORT": "http"})
    settings = PodSettings.read(ENV | {"CRYPTOAI_REDIS_PASSWORD": "hunter2", "CRYPTOAI_MODEL_REVISION": "ab"})

    assert (settings.port, settings.password, settings.pin) == (8082, "hunter2", "ab")
    assert "hunter2" not in repr(settings)
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST"):
        settings.server()


def test_every_bot_has_a_feast_project_of_its_own() -> None:
    """Names that would meet if they were only joined stay apart."""
    names = [("desk", "btc"), ("desk-a", "btc"), ("desk", "a-btc"), ("desk-a-", "btc")]
    projects = {PodSettings.read(ENV | {"POD_NAMESPACE": n, "CRYPTOAI_BOT": b}).project for n, b in names}

    assert len(projects) == len(names)
    assert all(project.replace("_", "").isalnum() for project in projects)


def test_everything_lies_on_the_volume() -> None:
    """Lake and features below the one folder that may be written; the rest is as configured."""
    config = placed_in(Config(), Path("/var/lib/cryptoai"))

    assert config.data.lake == "/var/lib/cryptoai/lake"
    assert config.features.data == "/var/lib/cryptoai/features"
    assert config.risk == Config().risk
