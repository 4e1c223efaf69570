"""The queue, the Lease, access, health and the environment, each by itself."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cryptoai.core.clock import ReplayClock
from cryptoai.core.errors import ConfigError, TransientError
from operators.cluster.access import from_kubeconfig, in_cluster
from operators.cluster.client import Client, RefusedError, path_of
from operators.cluster.lease import Election, Standing, Timing, standing
from operators.handlers.glimpses import Glimpses
from operators.handlers.health import Health, application
from operators.handlers.metrics import Metrics
from operators.handlers.queue import Key, WorkQueue, backoff
from operators.handlers.watch import HEARTBEAT, Heartbeat, Sweep, registry_for, settings
from operators.main import main, read_environment
from operators.plans.model import Glimpse

Obj = dict[str, Any]
A, B = ("n", "a"), ("n", "b")
LEASE = path_of("Lease", "home", "op")


def worked(keys: list[Key], handle: Any, until: int, *, workers: int = 2) -> list[Key]:
    """Runs a queue until `until` calls have been made."""
    calls: list[Key] = []

    async def run() -> None:
        queue, enough = WorkQueue(first_backoff_s=0.0), asyncio.Event()

        async def counted(key: Key) -> float | None:
            calls.append(key)
            if len(calls) >= until:
                enough.set()
            after: float | None = await handle(queue, key, len(calls))
            return after

        for key in keys:
            queue.add(key)
        tasks = [asyncio.create_task(queue.work(counted)) for _ in range(workers)]
        await asyncio.wait_for(enough.wait(), 60)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
    return calls


def test_a_key_is_queued_once() -> None:
    """Ten events of one bot are one reconcile."""

    async def nothing(*_: object) -> None:
        return None

    assert worked([A, A, B, A, B], nothing, 2) == [A, B]


def test_a_key_is_worked_on_by_one_at_a_time_and_again_if_it_changed() -> None:
    """An event during a reconcile is neither lost nor handled beside it."""
    inside: list[Key] = []

    async def handle(queue: WorkQueue, key: Key, count: int) -> None:
        assert key not in inside
        inside.append(key)
        if count == 1:
            queue.add(key)
            queue.add(key)
            assert queue.depth == 1
            assert not queue.idle
        await asyncio.sleep(0)
        inside.remove(key)

    assert worked([A], handle, 2) == [A, A]


def test_a_failure_is_tried_again_and_does_not_stop_the_others() -> None:
    """Expected or not, an exception costs a repetition of its key only."""
    errors: dict[int, Exception] = {1: TransientError("away"), 2: ZeroDivisionError()}

    async def handle(queue: WorkQueue, key: Key, count: int) -> None:
        if count in errors:
            raise errors[count]

    assert sorted(worked([A, B], handle, 4)) == [A, A, B, B]


def test_again_later_takes_the_earlier_time() -> None:
    """A requeue of an hour does not delay one of now, and a forgotten key comes no more."""

    async def handle(queue: WorkQueue, key: Key, count: int) -> float | None:
        if count == 1:
            queue.add_after(key, 3600)
            queue.add_after(B, 3600)
            queue.forget(B)
            return 0.0
        return None

    assert worked([A], handle, 2) == [A, A]


def test_backoff_doubles_up_to_a_minute() -> None:
    """0.5 s first, 60 s at most, however often."""
    assert [backoff(n) for n in (1, 2, 3, 8, 1000)] == [0.5, 1.0, 2.0, 60.0, 60.0]


def lease(holder: str, duration: int = 15) -> Obj:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": duration, "leaseTransitions": 4}
    return {"kind": "Lease", "metadata": {"name": "op", "namespace": "home"}, "spec": spec}


@pytest.mark.parametrize(
    ("record", "unchanged", "expected"),
    [
        (None, 0.0, Standing.ABSENT),
        (lease("me"), 0.0, Standing.OURS),
        (lease(""), 0.0, Standing.FREE),
        (lease("you"), 14.9, Standing.HELD),
        (lease("you"), 15.0, Standing.STALE),
    ],
)
def test_what_a_candidate_may_do(record: Obj | None, unchanged: float, expected: Standing) -> None:
    """Another's Lease is taken only after it was seen to stand still for its whole duration."""
    assert standing(record, "me", unchanged) is expected


FAST = Timing(duration=15, deadline=0.2, retry=0.01)


def election(client: Client, me: str = "me", timing: Timing = FAST) -> Election:
    return Election(client, ("home", "op"), me, ReplayClock(1_700_000_000_123_456_789), timing)


def test_a_lease_is_made_held_and_given_back(api: Any) -> None:
    """The record says who and since when; the next one takes it at once after a clean stop."""

    async def run(client: Client) -> None:
        first, second = election(client), election(client, "you")
        await first.acquire()
        spec = api.objects[LEASE]["spec"]
        assert (spec["holderIdentity"], spec["renewTime"]) == ("me", "2023-11-14T22:13:20.123456Z")
        assert not await second._tried(second._campaign)
        await first.release()
        await second.acquire()
        assert api.objects[LEASE]["spec"]["holderIdentity"] == "you"
        assert api.objects[LEASE]["spec"]["leaseTransitions"] == 1

    api.run(run)


def test_a_lease_is_given_back_after_a_renewal_that_was_cut_short(api: Any) -> None:
    """The server took it, the answer was lost: the next one need not wait all the same."""

    async def run(client: Client) -> None:
        first = election(client)
        await first.acquire()
        api.change(LEASE, {"spec": {"renewTime": "2023-11-14T22:13:21.000000Z"}})
        await first.release()
        assert api.objects[LEASE]["spec"]["holderIdentity"] == ""
        await first.release()
        await election(client, "you").acquire()
        await first.release()
        assert api.objects[LEASE]["spec"]["holderIdentity"] == "you"
        api.remove(LEASE)
        await first.release()

    api.run(run)


def test_a_lease_that_the_chart_made_is_free(api: Any) -> None:
    """It has no record yet."""
    api.put(LEASE, {"kind": "Lease", "metadata": {"name": "op", "namespace": "home"}})
    api.run(lambda client: election(client).acquire())
    assert api.objects[LEASE]["spec"]["holderIdentity"] == "me"


def test_a_dead_holder_is_replaced(api: Any) -> None:
    """A record that nobody renews is taken over after its duration, here none."""
    api.put(LEASE, lease("dead", duration=0))
    api.run(lambda client: election(client).acquire())
    assert api.objects[LEASE]["spec"]["holderIdentity"] == "me"
    assert api.objects[LEASE]["spec"]["leaseTransitions"] == 5


@pytest.mark.parametrize("failure", ["down", "stolen"])
def test_leadership_ends_in_time(failure: str, api: Any) -> None:
    """Neither an unreachable server nor a usurper is led against: hold() returns within the deadline."""

    async def run(client: Client) -> float:
        mine = election(client)
        await mine.acquire()
        if failure == "down":
            api.refuse["/leases/"] = (500, "down")
        else:
            api.change(LEASE, {"spec": {"holderIdentity": "you"}})
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.wait_for(mine.hold(), 5)
        return loop.time() - started

    assert api.run(run) < 2
    if failure == "stolen":
        assert api.objects[LEASE]["spec"]["holderIdentity"] == "you"


def test_leadership_survives_somebody_elses_touch(api: Any) -> None:
    """A label on our Lease is a conflict once; the next renewal succeeds."""
    beats: list[int] = []

    async def run(client: Client) -> None:
        mine = election(client, timing=Timing(deadline=5, retry=0.01))
        await mine.acquire()
        api.change(LEASE, {"metadata": {"labels": {"a": "b"}}})
        enough = asyncio.Event()

        def beat() -> None:
            beats.append(1)
            if len(beats) > 2:
                enough.set()

        mine.beat = beat
        task = asyncio.create_task(mine.hold())
        await asyncio.wait_for(enough.wait(), 5)
        assert not task.done()
        task.cancel()

    api.run(run)


def kubeconfig(folder: Path, user: Obj, cluster: Obj | None = None) -> Path:
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://h:6443", **(cluster or {})}}],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "config"
    path.write_text(json.dumps(content))
    return path


def test_a_kubeconfig_is_read(tmp_path: Path) -> None:
    """Tokens and certificates, inline or in files beside it."""
    (tmp_path / "t").write_text("file-token\n")
    (tmp_path / "ca").write_bytes(b"CA")
    data = base64.b64encode(b"KEY").decode()
    found = from_kubeconfig(kubeconfig(tmp_path, {"client-key-data": data}, {"certificate-authority": "ca"}))
    assert (found.server, found.ca, found.key, found.bearer()) == ("https://h:6443", b"CA", b"KEY", None)
    assert from_kubeconfig(kubeconfig(tmp_path, {"token": "x"})).bearer() == "x"
    assert from_kubeconfig(kubeconfig(tmp_path, {"tokenFile": "t"})).bearer() == "file-token"


@pytest.mark.parametrize("content", ["", "current-context: x", "[", "contexts: []\ncurrent-context: a"])
def test_a_useless_kubeconfig_is_named(content: str, tmp_path: Path) -> None:
    """One sentence with the file's name."""
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(ConfigError, match="KUBECONFIG"):
        from_kubeconfig(path)


def test_a_pods_account_is_read_anew_each_time(tmp_path: Path) -> None:
    """The kubelet renews the token in place."""
    (tmp_path / "ca.crt").write_bytes(b"CA")
    with pytest.raises(ConfigError, match="automountServiceAccountToken"):
        in_cluster("10.0.0.1", "443", tmp_path)
    (tmp_path / "token").write_text("one")
    found = in_cluster("fd00::1", "443", tmp_path)
    assert (found.server, found.bearer()) == ("https://[fd00::1]:443", "one")
    (tmp_path / "token").write_text("two")
    assert found.bearer() == "two"


def test_health_is_about_events_that_arrive() -> None:
    """A leader whose watch, sweep or Lease stands still is dead; a standby needs its Lease loop only."""
    time = [0.0]
    health = Health(lambda: time[0])
    health.lease()
    assert health.trouble() is None
    time[0] = 100.0
    assert "Lease" in (health.trouble() or "")
    health.lead()
    assert health.trouble() is None
    time[0] = 195.0
    health.lease()
    assert "heartbeat" in (health.trouble() or "")
    assert health.beat_age == 95.0
    health.beat()
    assert health.trouble() is None
    time[0] = 270.0
    health.lease()
    assert "sweep" in (health.trouble() or "")
    health.swept()
    assert health.trouble() is None


def test_probes_and_metrics_are_served(api: Any) -> None:
    """500 with the sentence when something stands still; a deleted bot's series go with it."""
    time = [0.0]
    health, metrics = Health(lambda: time[0]), Metrics()
    metrics.watch(lambda: 2, lambda: 3, lambda: health.beat_age)
    metrics.reconciled("success", 0.1)
    conditions = [{"type": "Ready", "status": "True"}, {"type": "Halted", "status": "False"}]
    metrics.bot(A, {"conditions": conditions})

    async def run() -> list[tuple[int, str]]:
        from aiohttp.test_utils import TestClient, TestServer

        found = []
        async with TestClient(TestServer(application(health, metrics))) as client:
            for path in ("/healthz", "/metrics"):
                answer = await client.get(path)
                found.append((answer.status, await answer.text()))
            time[0] = 1000.0
            metrics.bot(A, None)
            metrics.bot(B, None)
            for path in ("/readyz", "/metrics"):
                answer = await client.get(path)
                found.append((answer.status, await answer.text()))
        return found

    (ok, _), (_, scraped), (bad, why), (_, after) = asyncio.run(run())
    assert (ok, bad) == (200, 500)
    assert "Lease" in why
    assert 'cryptoai_tradingbot_condition{bot="a",namespace="n",type="Ready"} 1.0' in scraped
    assert "cryptoai_operator_workqueue_depth 2.0" in scraped
    assert 'bot="a"' not in after


def test_a_sweep_adds_what_is_and_what_was(api: Any, bot: Any) -> None:
    """A bot whose deletion no watch brought is looked at once more."""
    api.put(path_of("TradingBot", "desk", "btc"), bot())

    async def run(client: Client) -> list[int]:
        queue, health = WorkQueue(), Health(lambda: 5.0)
        sweep = Sweep(client, queue, health)
        depths = []
        for _ in range(2):
            await sweep.once()
            depths.append(queue.depth)
            queue._waiting.clear()
            api.objects.clear()
        await sweep.once()
        assert health.swept_at == 5.0
        return [*depths, queue.depth]

    assert api.run(run) == [1, 1, 0]


def test_the_heartbeat_changes_each_time(api: Any) -> None:
    """Or no watch would bring it; also from one leader to the next. It never makes one: that would be left behind."""
    place = path_of("ConfigMap", "home", HEARTBEAT)
    api.put(place, {"kind": "ConfigMap", "metadata": {"name": HEARTBEAT, "namespace": "home"}})
    beats: list[str] = []

    async def run(client: Client) -> None:
        for heart in (Heartbeat(client, "home", "a"), Heartbeat(client, "home", "b")):
            for _ in range(2):
                await heart.once()
                beats.append(api.objects[place]["data"]["beat"])
        api.remove(place)
        with pytest.raises(RefusedError):
            await heart.once()

    api.run(run)
    assert len(set(beats)) == 4
    assert api.objects == {}


def test_every_watch_is_narrowed_and_bounded(tmp_path: Path) -> None:
    """Children are selected by label on the server; no watch may hang for ever; kopf writes nothing."""
    made = settings()
    assert made.peering.standalone
    assert not made.posting.enabled
    assert made.watching.client_timeout is not None
    assert len(made.watching.label_selectors) == 5
    access = from_kubeconfig(kubeconfig(tmp_path, {"token": "x"}))
    registry = registry_for(access, WorkQueue(), Health(lambda: 0.0), Glimpses())
    handlers = list(registry._watching.get_all_handlers())
    assert len(handlers) == 6
    assert not list(registry._changing.get_all_handlers())


def generation(number: int, switch: Obj | None = None, told: int | None = 3, uid: str = "u") -> Obj:
    """A TradingBot of that generation, whose status speaks of generation `told`."""
    metadata = {"namespace": "n", "name": "a", "uid": uid, "generation": number}
    return {"metadata": metadata, "spec": {"killSwitch": switch or {}}, "status": {"observedGeneration": told}}


def test_a_kill_between_two_looks_is_noticed() -> None:
    """The watch brings every generation, and the words that stood there are kept until a status tells of them."""
    glimpses = Glimpses()
    for bot in (generation(4, {"engaged": True, "reason": "drill"}), generation(5), generation(6)):
        glimpses.note(bot)
    assert glimpses.since(generation(6)) == Glimpse({"reason": "drill", "releasedBy": ""})
    assert glimpses.since(generation(6, told=None)).engaged == {"reason": "drill", "releasedBy": ""}
    assert glimpses.since(generation(6, told=4)) == Glimpse()
    assert glimpses.since(generation(6, told=6)) == Glimpse()


def test_a_generation_that_passed_unseen_is_told() -> None:
    """Of this very object; a watch that lags behind is waited for, because it brings all in order."""
    glimpses = Glimpses()
    glimpses.note(generation(6))
    assert glimpses.since(generation(6)) == Glimpse(unseen=True)
    assert glimpses.since(generation(6, told=5)) == Glimpse()
    assert glimpses.since(generation(6, told=None)) == Glimpse()
    for behind in (generation(7), generation(6, uid="another")):
        with pytest.raises(TransientError, match="watch"):
            glimpses.since(behind)
    glimpses.forget(A)
    with pytest.raises(TransientError):
        glimpses.since(generation(6))
    for number in range(300):
        glimpses.note(generation(number))
    assert glimpses.since(generation(299, told=250)) == Glimpse()


ENV = {
    "CRYPTOAI_IMAGE_BOT": "bot:1",
    "CRYPTOAI_IMAGE_SERVE": "serve:1",
    "CRYPTOAI_REDIS": "redis:6379",
    "POD_NAME": "op-1",
    "POD_NAMESPACE": "home",
}


def test_the_environment_is_read(tmp_path: Path) -> None:
    """Names as the chart sets them, with the defaults that it may leave out."""
    more = {"KUBECONFIG": str(kubeconfig(tmp_path, {"token": "x"})), "CRYPTOAI_IMAGE_PULL_SECRETS": "one,two"}
    found = read_environment({**ENV, **more})
    assert found.platform.pull_secrets == ("one", "two")
    assert (found.me, found.home, found.namespace) == ("op-1", "home", None)
    assert (found.health_port, found.metrics_port, found.platform.pull_policy) == (8083, 8084, "IfNotPresent")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *(({name: ""}, name) for name in ENV),
        ({"KUBECONFIG": ""}, "KUBECONFIG"),
        ({"CRYPTOAI_IMAGE_PULL_POLICY": "Sometimes"}, "Sometimes"),
        ({"CRYPTOAI_LISTEN_HEALTH": "0"}, "CRYPTOAI_LISTEN_HEALTH"),
    ],
)
def test_a_wrong_environment_is_one_sentence(
    change: Mapping[str, str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The variable is named, and the exit code is that of a configuration error."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for name, value in ({**ENV, "KUBECONFIG": str(kubeconfig(tmp_path, {"token": "x"}))} | dict(change)).items():
        monkeypatch.setenv(name, value)
    assert main() == 78
    assert words in capsys.readouterr().err


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    """And it names the variable that moves it."""
    from operators.main import _listening

    async def run() -> None:
        runner = web.AppRunner(web.Application())
        await runner.setup()
        taken = web.TCPSite(runner, "0.0.0.0", 0)  # noqa: S104 - where the operator listens
        await taken.start()
        try:
            with pytest.raises(ConfigError, match="CRYPTOAI_LISTEN_HEALTH"):
                await _listening(runner, runner.addresses[0][1])
        finally:
            await runner.cleanup()

    asyncio.run(run())
