"""The watch of a bot's own TradingBot against a small real server that speaks the API server's watch protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cryptoai.core.clock import SystemClock
from cryptoai.execution.adapters import kube_watch
from cryptoai.execution.adapters.kube_watch import ApiServer, KillObeyer, KubeWatch
from cryptoai.risk_engine.kill_switch import KillSwitch
from cryptoai.testing.kube_api import BREAK, NAME, SPACE, FakeApi, served, tradingbot


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with served(FakeApi()) as made:
        yield made


def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Waits for what another thread does; fails if it does not."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        threading.Event().wait(0.002)


@dataclass
class Bench:
    """A watch, an obeyer and the switch file, as a bot's pod has them."""

    api: FakeApi
    folder: Path
    acted: list[float] = field(default_factory=list)
    seen: list[Mapping[str, Any] | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.switch = KillSwitch(self.folder / "kill_switch.json")
        memory = self.folder / "kill_order.json"
        self.obeyer = KillObeyer(self.switch, memory, SystemClock(), lambda: self.acted.append(time.monotonic()))
        server = ApiServer(self.api.url, token=lambda: "secret-of-the-pod")
        self.watch = KubeWatch(server, SPACE, NAME, self.see)

    def see(self, thing: Mapping[str, Any] | None) -> None:
        if thing is not None:
            self.obeyer.obey(thing)
        self.seen.append(thing)

    def started(self) -> Bench:
        self.watch.start()
        until(lambda: len(self.api.watches()) > 0)
        return self


@pytest.fixture
def bench(api: FakeApi, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(api, tmp_path)
    yield made
    made.watch.stop()


def test_it_asks_for_its_own_object_and_nothing_else(bench: Bench) -> None:
    """A role with resourceNames lets exactly these two requests pass; the token is the pod's."""
    bench.started()
    first, second = bench.api.requests[:2]

    assert first["path"] == f"/apis/cryptoai.dev/v1alpha1/namespaces/{SPACE}/tradingbots"
    assert {first["fieldSelector"], second["fieldSelector"]} == {f"metadata.name={NAME}"}
    assert second["resourceVersion"] == "1"
    assert second["allowWatchBookmarks"] == "true"
    assert {first["authorization"], second["authorization"]} == {"Bearer secret-of-the-pod"}
    assert bench.watch.synced


def test_engaged_reaches_the_latch_at_once(bench: Bench, record_property: Any) -> None:
    """From the server's word to the latch on disk, and to the bell that wakes the bot."""
    bench.started()
    told = bench.api.put({"engaged": True, "reason": "feed skew"})
    until(lambda: bool(bench.acted))
    record_property("kill_latency_ms", round(1000 * (bench.acted[0] - told), 2))

    assert bench.acted[0] - told < 0.5
    assert KillSwitch(bench.switch.path).state.reason == "feed skew"
    assert KillSwitch(bench.switch.path).state.by == "TradingBot desk/btc"


def test_a_bot_that_starts_engaged_never_begins(bench: Bench) -> None:
    """The list alone is enough."""
    bench.api.put({"engaged": True, "reason": "before it started"}, tell=False)
    bench.started()

    assert bench.switch.engaged


def test_a_release_needs_a_person_and_a_reason(bench: Bench) -> None:
    """Taking `engaged` back is not a release; a name and a reason are."""
    bench.started()
    bench.api.put({"engaged": True, "reason": "stop"})
    for half in ({"engaged": False}, {"engaged": False, "releasedBy": "ann"}, {"engaged": False, "reason": "fine"}):
        bench.api.put(half)
    until(lambda: len(bench.seen) == 5)
    assert bench.switch.engaged

    bench.api.put({"engaged": False, "releasedBy": "ann", "reason": "feed is back"})
    until(lambda: len(bench.seen) == 6)
    assert not bench.switch.engaged
    assert (bench.switch.state.by, bench.switch.state.reason) == ("ann", "feed is back")


def test_the_words_of_an_old_release_release_nothing(bench: Bench) -> None:
    """A latch of the risk engine outlives any event, list or restart that repeats a release of before."""
    order = {"engaged": False, "releasedBy": "ann", "reason": "feed is back"}
    bench.started()
    bench.api.put({"engaged": True, "reason": "stop"})
    bench.api.put(order)
    until(lambda: len(bench.acted) == 2)
    bench.switch.engage("drawdown", "risk engine", 5)
    bench.api.put(order)
    until(lambda: len(bench.seen) == 4)
    again = Bench(bench.api, bench.folder)
    again.obeyer.obey(tradingbot(9, order))

    assert KillSwitch(bench.switch.path).state.by == "risk engine"
    again.obeyer.obey(tradingbot(10, order | {"reason": "looked at the drawdown"}))
    assert not KillSwitch(bench.switch.path).engaged


def test_a_release_while_the_bot_was_down_counts(bench: Bench) -> None:
    """The memory beside the latch holds what was seen last, so a restart notices the difference."""
    bench.obeyer.obey(tradingbot(1, {"engaged": True, "reason": "stop"}))
    again = Bench(bench.api, bench.folder)
    again.obeyer.obey(tradingbot(2, {"engaged": False, "releasedBy": "ann", "reason": "fine"}))

    assert not again.switch.engaged


def test_without_its_memory_nothing_is_released(bench: Bench) -> None:
    """A lost file or an object made anew fails closed."""
    order = {"engaged": False, "releasedBy": "ann", "reason": "fine"}
    bench.obeyer.obey(tradingbot(1, {"engaged": True, "reason": "stop"}))
    bench.obeyer.obey(tradingbot(2, order, uid="u-2"))
    assert bench.switch.engaged

    (bench.folder / "kill_order.json").write_text("torn")
    bench.obeyer.obey(tradingbot(3, order | {"reason": "other"}))
    assert bench.switch.engaged


RELEASE = {"engaged": False, "releasedBy": "ann", "reason": "fine"}
BEFORE = {"engaged": False, "releasedBy": "ann", "reason": "last week"}


def of_generation(number: int, kill: Any, **status: Any) -> dict[str, Any]:
    """The bot's TradingBot at a generation of its spec, with a status of the operator's."""
    thing = tradingbot(number, kill)
    return {**thing, "metadata": {**thing["metadata"], "generation": number}, "status": status}


@pytest.mark.parametrize("memory", [True, False])
def test_a_kill_while_the_bot_was_away_is_latched(memory: bool, bench: Bench) -> None:
    """Engaged and taken back without a name: the operator saw it, and keeps it in the status until the release."""
    if memory:
        bench.obeyer.obey(of_generation(3, {"engaged": False}))
    held = {"latch": {"reason": "drill", "releasedBy": ""}, "observedGeneration": 5}
    bench.obeyer.obey(of_generation(5, {"engaged": False, "reason": "drill"}, **held))
    assert bench.switch.engaged
    assert "drill" in bench.switch.state.reason

    bench.obeyer.obey(of_generation(6, RELEASE, **held))
    assert not bench.switch.engaged
    bench.obeyer.obey(of_generation(6, RELEASE, observedGeneration=6))
    assert not bench.switch.engaged


def test_a_release_while_the_bot_was_away_leaves_nothing_latched(bench: Bench) -> None:
    """Engaged, then released by name, before the bot came: the operator's older status does not undo that."""
    bench.obeyer.obey(of_generation(5, RELEASE, latch={"reason": "drill", "releasedBy": ""}, observedGeneration=4))

    assert not bench.switch.engaged


@pytest.mark.parametrize("away", [True, False])
def test_a_name_that_stood_there_before_releases_nothing(away: bool, bench: Bench) -> None:
    """The kill left the words of last week's release in the spec; taking it back does not make them a new one."""
    bench.obeyer.obey(of_generation(1, BEFORE))
    kill = {**BEFORE, "engaged": True, "reason": "feed"}
    if not away:
        bench.obeyer.obey(of_generation(2, kill))
    status = {"latch": {"reason": "feed", "releasedBy": "ann"}, "observedGeneration": 2} if away else {}
    bench.obeyer.obey(of_generation(3, {**kill, "engaged": False}, **status))
    assert bench.switch.engaged

    bench.obeyer.obey(of_generation(4, {**kill, "engaged": False, "reason": "feed is back"}, **status))
    assert not bench.switch.engaged


def test_a_spec_that_nobody_looked_at_may_have_been_a_kill(bench: Bench) -> None:
    """Two edits while both the bot and the operator were away: latched. One edit, or an operator that looked: not."""
    bench.obeyer.obey(of_generation(1, BEFORE))
    bench.obeyer.obey(of_generation(2, BEFORE))
    bench.obeyer.obey(of_generation(6, BEFORE, observedGeneration=5))
    assert not bench.switch.engaged

    bench.obeyer.obey(of_generation(8, BEFORE, observedGeneration=6))
    assert "nobody looked" in bench.switch.state.reason
    bench.obeyer.obey(of_generation(9, RELEASE, observedGeneration=6))
    assert not bench.switch.engaged


def test_a_new_volume_believes_the_operator(bench: Bench) -> None:
    """The latch was on a volume that is lost; the operator's condition still knows of it."""
    halted = [{"type": "Halted", "status": "True", "reason": "BotHalted"}]
    bench.obeyer.obey(of_generation(3, RELEASE, conditions=halted, observedGeneration=3))

    assert bench.switch.engaged


def test_a_crash_before_the_latch_is_made_good(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remembered, not yet engaged; taken back before the restart: it is engaged then."""
    with monkeypatch.context() as crash:
        crash.setattr(bench.obeyer, "_engage", lambda *_: None)
        bench.obeyer.obey(of_generation(2, {"engaged": True, "reason": "feed"}))
    again = Bench(bench.api, bench.folder)
    assert not again.switch.engaged
    again.obeyer.obey(of_generation(3, {"engaged": False}))

    assert again.switch.engaged


def test_a_full_disk_does_not_keep_it_from_engaging(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be remembered is obeyed all the same."""

    def full(_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(bench.obeyer, "_remember", full)
    with pytest.raises(OSError, match="no space"):
        bench.obeyer.obey(of_generation(2, {"engaged": True, "reason": "feed"}))
    assert bench.switch.engaged


@pytest.mark.parametrize("kill", ["yes", ["engaged"], {"engaged": "maybe"}, {"engaged": None}])
def test_an_order_that_cannot_be_read_stops(bench: Bench, kill: Any) -> None:
    """The schema refuses these; if one comes all the same, it fails closed."""
    bench.obeyer.obey(tradingbot(1, kill))

    assert bench.switch.engaged


def test_a_watch_that_ends_goes_on_from_where_it_was(bench: Bench) -> None:
    """No second list, and the version of the newest event or bookmark."""
    bench.started()
    bench.api.say("BOOKMARK", {"metadata": {"resourceVersion": "77"}})
    bench.api.end_watch()
    until(lambda: len(bench.api.watches()) == 2)

    assert bench.api.watches()[1]["resourceVersion"] == "77"
    assert len(bench.api.lists()) == 1


def test_an_expired_version_lists_again(bench: Bench) -> None:
    """410 within a watch: what happened meanwhile is in the list."""
    bench.started()
    bench.api.put({"engaged": True, "reason": "missed by the watch"}, tell=False)
    bench.api.say("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})
    until(lambda: bench.switch.engaged)

    assert len(bench.api.lists()) == 2


@pytest.mark.parametrize("broken", [BREAK, b'{"type": "MODIFIED", "obj\n', b'{"type": "MODIFIED"}\n', b"[]\n"])
def test_a_broken_watch_lists_again(bench: Bench, broken: bytes) -> None:
    """A lost connection, a torn or senseless event: nothing that happened meanwhile is missed."""
    bench.started()
    bench.api.put({"engaged": True, "reason": "while it was broken"}, tell=False)
    bench.api.lines.put(broken)

    until(lambda: bench.switch.engaged)


def test_a_server_that_refuses_is_asked_again(bench: Bench) -> None:
    """403 before the role is there: not synced, then synced; and the reason is kept for the status."""
    bench.api.refuse = 403
    bench.watch.start()
    until(lambda: len(bench.api.requests) >= 3)
    assert not bench.watch.synced
    assert "403" in bench.watch.problem

    bench.api.refuse = 0
    until(lambda: bench.watch.synced)
    assert bench.watch.problem == ""


def test_a_silent_connection_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-open: no byte comes, the watch is given up, and silence is counted from the last word."""
    monkeypatch.setattr(kube_watch, "_WATCH_S", -1.8)
    bench.started()
    assert bench.watch.silence_s() < 1

    bench.api.refuse = 503
    until(lambda: bench.watch.silence_s() > 0.4)
    assert bench.watch.problem != ""


def test_a_deleted_bot_is_told(bench: Bench) -> None:
    """By an event, or by an empty list after a gap."""
    bench.started()
    bench.api.thing, gone = None, bench.api.thing
    assert gone is not None
    bench.api.say("DELETED", gone)
    until(lambda: bench.seen[-1] is None)

    bench.api.lines.put(BREAK)
    until(lambda: len(bench.seen) >= 3)
    assert bench.seen[-1] is None


def test_another_bots_event_is_not_ours(bench: Bench) -> None:
    """Whatever the server sends, only the own name counts."""
    bench.started()
    bench.api.say("MODIFIED", tradingbot(5, {"engaged": True, "reason": "not us"}, name="eth"))
    bench.api.put({"engaged": False})
    until(lambda: len(bench.seen) == 2)

    assert not bench.switch.engaged


def test_the_watchdog_engages_once(bench: Bench) -> None:
    """With its own name, and never over what is latched already."""
    bench.obeyer.lost("silent for 60 s")
    bench.obeyer.lost("silent for 61 s")

    assert (bench.switch.state.by, bench.switch.state.reason) == ("watchdog", "silent for 60 s")
    assert len(bench.acted) == 1
