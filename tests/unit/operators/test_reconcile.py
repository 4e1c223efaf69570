"""The reconcile loop against an API over HTTP: it converges, stays quiet, repairs, and survives dying anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cryptoai.core.clock import ReplayClock
from cryptoai.core.errors import CryptoAIError
from cryptoai.deployment import Platform
from operators.cluster.client import Client, ConflictError, RefusedError, path_of
from operators.cluster.pods import Pods
from operators.handlers.reconcile import Reconciler, selector

Obj = dict[str, Any]
KEY = ("desk", "btc")
BOT = path_of("TradingBot", *KEY)


def reconciler(client: Client, pods: Pods, platform: Platform, **more: Any) -> Reconciler:
    return Reconciler(client, pods, platform, ReplayClock(1_700_000_000_000_000_000), **more)


async def passes(client: Client, platform: Platform, count: int = 1) -> None:
    async with Pods() as pods:
        for _ in range(count):
            await reconciler(client, pods, platform)(KEY)


def settled(api: Any) -> None:
    """What the controllers of a cluster do: everything is rolled out, one ready pod a workload."""
    for kind, name, component in (("Deployment", "btc-inference", "inference"), ("StatefulSet", "btc-bot", "bot")):
        path = path_of(kind, "desk", name)
        generation = api.objects[path]["metadata"]["generation"]
        status = {"observedGeneration": generation, "updatedReplicas": 1, "readyReplicas": 1}
        api.change(path, {"status": status}, "/status")
        labels = api.objects[path]["spec"]["template"]["metadata"]["labels"]
        body = {"conditions": [{"type": "Ready", "status": "True"}]}
        api.put(
            path_of("Pod", "desk", name), {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "status": body}
        )
        assert labels["app.kubernetes.io/component"] == component


def shape(api: Any) -> dict[str, Obj]:
    """What there is, without what no two runs have in common."""
    dropped = ("uid", "resourceVersion", "creationTimestamp", "generation", "ownerReferences")
    return {
        path: {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k not in dropped}, "status": None}
        for path, obj in api.objects.items()
        if obj["kind"] != "Event"
    }


@pytest.fixture
def ready(api: Any, bot: Callable[..., Obj]) -> Any:
    """An API with a TradingBot and its claim."""
    api.put(BOT, bot())
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": "bundles"}, "status": {"phase": "Bound"}}
    api.put(path_of("PersistentVolumeClaim", "desk", "bundles"), claim)
    return api


def test_it_converges_and_then_writes_nothing(ready: Any, platform: Platform) -> None:
    """Made in one pass, Running after the cluster's part, and no write at all in a third."""
    ready.run(lambda client: passes(client, platform))
    assert ready.objects[BOT]["status"]["phase"] == "Pending"
    settled(ready)
    ready.run(lambda client: passes(client, platform))
    assert ready.objects[BOT]["status"]["phase"] == "Running"
    before = len(ready.writes)
    ready.run(lambda client: passes(client, platform, 3))
    assert ready.writes[before:] == []


def test_every_child_is_owned_by_the_bot_and_goes_with_it(ready: Any, platform: Platform) -> None:
    """Nothing is left when the garbage collector has followed the owner references, the journal included."""
    ready.run(lambda client: passes(client, platform))
    ready.remove(BOT)
    left = [path for path, obj in ready.objects.items() if obj["kind"] != "Event"]
    assert left == [path_of("PersistentVolumeClaim", "desk", "bundles")]
    ready.run(lambda client: passes(client, platform))
    assert [path for path, obj in ready.objects.items() if obj["kind"] != "Event"] == left


def test_drift_is_repaired(ready: Any, platform: Platform) -> None:
    """Deleted children come back, changed ones are put right, and one with frozen fields in two passes."""
    ready.run(lambda client: passes(client, platform, 2))
    good = shape(ready)
    ready.remove(path_of("Service", "desk", "btc-inference"))
    ready.change(path_of("StatefulSet", "desk", "btc-bot"), {"spec": {"replicas": 3}})
    [config] = [path for path in ready.objects if "/configmaps/" in path]
    ready.change(config, {"data": {"settings.yaml": "evil"}})
    ready.run(lambda client: passes(client, platform, 2))
    assert shape(ready) == good


@pytest.mark.parametrize("when", ["drop_before", "drop_after"])
def test_dying_between_any_two_writes_is_harmless(
    when: str, ready: Any, bot: Callable[..., Obj], platform: Platform
) -> None:
    """However far a pass came, and whether or not its last write arrived, the next ones end in the same state."""

    async def dies(client: Client) -> None:
        with pytest.raises(CryptoAIError):
            await passes(client, platform)

    ready.run(lambda client: passes(client, platform, 2))
    good, steps = shape(ready), len(ready.writes)
    assert steps > 10
    for step in range(10):
        crashed = type(ready)()
        crashed.put(BOT, bot())
        claim = path_of("PersistentVolumeClaim", "desk", "bundles")
        crashed.put(claim, ready.objects[claim])
        setattr(crashed, when, step)
        crashed.run(dies)
        assert len(crashed.writes) == step + 1
        setattr(crashed, when, None)
        crashed.run(lambda client: passes(client, platform, 2))
        assert shape(crashed) == good


def test_an_edited_limit_is_rolled_out(ready: Any, platform: Platform) -> None:
    """A new ConfigMap, the StatefulSet points to it, the old one is kept for a way back."""
    ready.run(lambda client: passes(client, platform, 2))
    for leverage in (2, 3, 4, 5):
        ready.change(BOT, {"spec": {"risk": {"maxLeverage": leverage}}})
        ready.run(lambda client: passes(client, platform, 2))
    configs = [obj["metadata"]["name"] for path, obj in ready.objects.items() if "/configmaps/" in path]
    assert len(configs) == 3
    mounted = ready.objects[path_of("StatefulSet", "desk", "btc-bot")]["spec"]["template"]["spec"]["volumes"][2]
    assert mounted["configMap"]["name"] == configs[-1]
    assert ready.objects[BOT]["status"]["configRevision"] == configs[-1][-8:]


def test_a_refusal_is_in_the_status_and_is_tried_again(ready: Any, platform: Platform) -> None:
    """The server's sentence becomes the condition; the pass fails, so that the queue backs off."""
    ready.refuse["POST /apis/apps/v1"] = (403, "exceeded quota: cpu")

    async def refused(client: Client) -> None:
        with pytest.raises(RefusedError, match="exceeded quota"):
            await passes(client, platform)

    ready.run(refused)
    degraded = ready.objects[BOT]["status"]["conditions"][4]
    assert (degraded["reason"], degraded["status"]) == ("ApplyFailed", "True")
    assert "exceeded quota: cpu" in degraded["message"]
    ready.refuse.clear()
    ready.run(lambda client: passes(client, platform))
    assert ready.objects[BOT]["status"]["conditions"][4]["status"] == "False"


def test_a_stale_status_is_refused(ready: Any, platform: Platform) -> None:
    """An operator that read an older version cannot overwrite what was written since."""

    async def overtaken(client: Client) -> None:
        old = await client.get("TradingBot", *KEY)
        assert old is not None
        ready.change(BOT, {"spec": {"suspend": True}})
        body = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "status": {"phase": "Running"}}
        with pytest.raises(ConflictError):
            await client.patch("TradingBot", *KEY, body, part="/status")

    ready.run(overtaken)
    assert ready.objects[BOT]["status"] == {}


def test_events_are_told_even_where_they_are_forbidden(ready: Any, platform: Platform) -> None:
    """An Event a child made; and without the right to write Events everything else still works."""
    ready.refuse["/events"] = (403, "forbidden")
    ready.run(lambda client: passes(client, platform))
    assert ready.objects[BOT]["status"]["phase"] == "Pending"
    ready.refuse.clear()
    ready.remove(path_of("Service", "desk", "btc-bot"))
    ready.run(lambda client: passes(client, platform))
    told = [obj for obj in ready.objects.values() if obj["kind"] == "Event"]
    assert [(e["reason"], e["message"], e["involvedObject"]["name"]) for e in told] == [
        ("Created", "Service btc-bot", "btc")
    ]


def test_a_bot_that_is_gone_is_forgotten(api: Any, platform: Platform) -> None:
    """No object, no write; whoever keeps something by the key is told."""
    seen: list[tuple[Any, Any]] = []

    async def once(client: Client) -> None:
        async with Pods() as pods:
            await reconciler(client, pods, platform, seen=lambda key, status: seen.append((key, status)))(KEY)

    api.run(once)
    assert seen == [(KEY, None)]
    assert api.writes == []


def test_what_pods_say_becomes_status(ready: Any, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from the pods' own ports; what is not in order is not believed."""
    said: dict[str, Any] = {
        "/status": {"decisions": 7, "time": 1_700_000_000_000_000_000, "killed": True, "ended": False},
        "/health": {"status": "ok", "revision": "a" * 32},
    }

    async def report(_self: Pods, pod: Obj, port: int, path: str, stamp: str) -> Any:
        return said[path]

    monkeypatch.setattr(Pods, "report", report)
    ready.run(lambda client: passes(client, platform))
    settled(ready)
    ready.run(lambda client: passes(client, platform))
    status = ready.objects[BOT]["status"]
    assert (status["phase"], status["modelRevision"], status["lastDecision"]["number"]) == ("Halted", "a" * 32, 7)
    said.update({"/status": {"decisions": "many"}, "/health": {"status": "refused", "reason": "wrong schema"}})
    ready.run(lambda client: passes(client, platform))
    status = ready.objects[BOT]["status"]
    assert status["lastDecision"]["number"] == 7
    assert status["conditions"][1]["message"] == "the bundle was refused: wrong schema"


def test_lists_are_read_in_pages(api: Any) -> None:
    """More objects than a page holds, of all namespaces, filtered by labels."""
    for number in range(1203):
        labels = {"app.kubernetes.io/managed-by": "cryptoai-operator", "app.kubernetes.io/instance": f"b{number % 2}"}
        api.put(path_of("Pod", f"n{number % 3}", f"p{number}"), {"kind": "Pod", "metadata": {"labels": labels}})

    async def listed(client: Client) -> tuple[int, int]:
        return len(await client.list("Pod")), len(await client.list("Pod", "n1", selector("b1")))

    assert api.run(listed) == (1203, 201)


def test_errors_are_sorted_by_what_to_do(api: Any) -> None:
    """Try again, read again, or tell a person."""
    api.refuse = {"GET /a": (429, "slow down"), "POST /a": (422, "field x is wrong")}

    async def asked(client: Client) -> None:
        with pytest.raises(CryptoAIError, match="slow down") as busy:
            await client.get("Pod", "n", "p")
        assert type(busy.value).__name__ == "TransientError"
        with pytest.raises(RefusedError, match="field x is wrong"):
            await client.create({"kind": "Pod", "metadata": {"name": "p", "namespace": "n"}})
        api.refuse = {"GET /api": (403, "forbidden")}
        with pytest.raises(RefusedError):
            await client.get("Pod", "n", "p")
        await client.delete("Pod", "n", "gone", "u")
        api.refuse = {"DELETE": (403, "forbidden")}
        with pytest.raises(RefusedError):
            await client.delete("Pod", "n", "gone", "u")

    api.run(asked)


def test_pods_are_asked_once_in_a_while(api: Any) -> None:
    """A report is remembered until its time is over or the spec changed; silence is an answer too."""
    answers: list[str] = []

    async def asked(self: Pods, host: str, port: int, path: str) -> Obj | None:
        answers.append(f"{host}:{port}{path}")
        return None

    async def test() -> None:
        async with Pods(every_s=1000) as pods:
            pods._asked = asked.__get__(pods)  # type: ignore[method-assign]
            pod = {"metadata": {"uid": "u"}, "status": {"podIP": "fd00::1"}}
            for stamp in ("1", "1", "2"):
                assert await pods.report(pod, 8082, "/status", stamp) is None
            assert await pods.report({"metadata": {"uid": "u"}}, 8082, "/status", "1") is None

    asyncio.run(test())
    assert answers == ["http://[fd00::1]:8082/status"] * 2


def test_a_pod_is_read_over_http_and_may_say_nonsense(api: Any) -> None:
    """JSON objects count; a closed port and anything else are silence."""
    api.objects["/status"] = {"decisions": 1}

    async def asked(client: Client) -> list[Any]:
        port = int(client._access.server.rsplit(":", 1)[1])
        async with Pods(every_s=0) as pods:
            pod = {"metadata": {"uid": "u"}, "status": {"podIP": "127.0.0.1"}}
            return [await pods.report(pod, at, "/status", "1") for at in (port, 1)]

    assert api.run(asked) == [{"decisions": 1}, None]


def test_pods_are_asked_anew_when_a_halt_ends(ready: Any, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bot obeys a release within milliseconds of the edit; an answer from before must not be believed for long."""
    stamps: list[str] = []

    async def report(_self: Pods, pod: Obj, port: int, path: str, stamp: str) -> Any:
        stamps.append(stamp)
        return {"decisions": 7, "time": 1, "killed": len(stamps) > 3} if path == "/status" else None

    monkeypatch.setattr(Pods, "report", report)
    ready.run(lambda client: passes(client, platform))
    settled(ready)
    for _ in range(4):
        ready.run(lambda client: passes(client, platform))
    assert set(stamps) == {"3 NotEngaged", "3 BotHalted"}
