"""The loop on a real cluster, told in order: installed, decided, changed, stopped, broken, mended, removed.

The tests of this file build on each other, as the walkthrough in docs/kubernetes.md does; its commands are run here as
they stand there.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from cryptoai.core.journal import Record, read_journal

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = "manifests/examples/tradingbot-minimal.yaml"
SPACE, BOT, POD, JOURNAL = "cryptoai", "btc", "btc-bot-0", "/var/lib/cryptoai/journal.jsonl"
OPERATOR = "app.kubernetes.io/component=operator"
OF_BOT = "app.kubernetes.io/instance=btc"
Obj = dict[str, Any]


class Desk(Protocol):
    """The fixture, as far as this file needs it."""

    work: Path
    took: dict[str, float]

    @property
    def bundle(self) -> Path: ...
    def run(self, *words: str, text: str | None = None, seconds: float = 300, **env: str) -> str: ...
    def attempt(self, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]: ...
    def env(self) -> dict[str, str]: ...
    def follow(self, heading: str, *, stop: str = "", start: str = "") -> None: ...
    def kubectl(self, *words: str, text: str | None = None, seconds: float = 300) -> str: ...
    def get(self, kind: str, name: str) -> Obj: ...
    def list(self, kind: str, selector: str = "") -> list[Obj]: ...
    def apply(self, thing: Obj) -> None: ...
    def patch(self, name: str, spec: Obj) -> None: ...
    def condition(self, name: str, kind: str) -> tuple[str, str, str]: ...
    def until(self, true: Callable[[], Any], what: str, seconds: float = 300) -> float: ...


def example(name: str = BOT, **spec: Any) -> Obj:
    found: Obj = yaml.safe_load((ROOT / EXAMPLE).read_text())
    found["metadata"]["name"] = name
    found["spec"] |= spec
    return found


def journal(desk: Desk) -> list[Record]:
    """The pod's journal as it is now, every checksum verified; a torn last line is of the moment."""
    copy_here = desk.work / "pod.jsonl"
    text = desk.kubectl("exec", POD, "--", "cat", JOURNAL)
    copy_here.write_text(text[: text.rfind("\n") + 1])
    return list(read_journal(copy_here))


def said(desk: Desk, path: str = "/status") -> Obj:
    """What the bot's pod says of itself; {} while it says nothing."""
    ask = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8082{path}', timeout=5).read().decode())"
    done = desk.attempt("kubectl", "--namespace", SPACE, "exec", POD, "--", "python", "-c", ask)
    found: Obj = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def decisions(records: list[Record]) -> list[tuple[str, int, Obj]]:
    return [(r.kind, r.time, r.body) for r in records if r.kind in ("decision", "verdict")]


def ready(desk: Desk, name: str = BOT) -> bool:
    return desk.condition(name, "Ready")[0] == "True"


def settled(desk: Desk, name: str = BOT) -> bool:
    """Ready, and the status speaks of the newest spec."""
    bot = desk.get("tradingbot", name)
    return ready(desk, name) and bot["status"]["observedGeneration"] == bot["metadata"]["generation"]


def mounted(desk: Desk) -> str:
    """The ConfigMap of the pod that runs, "" if none does."""
    pod = desk.get("pod", POD)
    if not pod or "deletionTimestamp" in pod["metadata"]:
        return ""
    return next(str(v["configMap"]["name"]) for v in pod["spec"]["volumes"] if "configMap" in v)


# ---------------------------------------------------------------------------------------------------- the loop


def test_ten_commands_bring_a_bot_into_shadow(desk: Desk, record_property: Any) -> None:
    """Its two pods become Running and Ready, and its status says so."""
    assert len(desk.took) == 10
    for command, seconds in desk.took.items():
        record_property(command, round(seconds, 1))
    record_property("ready_s", desk.until(lambda: settled(desk), "the example is ready"))
    pods = desk.list("pods", f"app.kubernetes.io/instance={BOT}")
    assert len(pods) == 2
    for pod in pods:
        assert pod["status"]["phase"] == "Running"
        assert {"type": "Ready", "status": "True"}.items() <= {c["type"]: c for c in pod["status"]["conditions"]}[
            "Ready"
        ].items()
    for kind, status in (("ModelReady", "True"), ("FeaturesReady", "True"), ("Halted", "False"), ("Degraded", "False")):
        assert desk.condition(BOT, kind)[0] == status, kind


def test_a_hundred_decisions_are_those_of_one_machine(desk: Desk, record_property: Any) -> None:
    """Same tape, bundle, settings and name: the pod's decisions and verdicts are those of `cryptoai bot` here."""
    alone = desk.work / "alone"
    alone.mkdir()
    (alone / "settings.yaml").write_text(desk.get("configmap", mounted(desk))["data"]["settings.yaml"])
    desk.run("cryptoai", "data", "import", "--sample", "--lake", str(alone / "lake"))
    places = ["--set", f"data.lake={alone / 'lake'}", "--set", f"features.data={alone / 'features'}"]
    where = ["--model", str(desk.bundle), "--out", str(alone), "--speed", "0"]
    config = ["--config", str(alone / "settings.yaml")]
    desk.run("cryptoai", "bot", *config, *places, *where, seconds=600, CRYPTOAI_BOT=BOT)
    desk.until(lambda: said(desk).get("decisions", 0) >= 100, "100 decisions", 400)
    here, there = decisions(list(read_journal(alone / "journal.jsonl"))), decisions(journal(desk))
    record_property("decisions", len(there) // 2)
    assert len(there) >= 200
    assert there == here[: len(there)]
    assert all(body["safe"] is None for kind, _, body in there if kind == "decision")


def test_a_risk_limit_is_a_new_revision(desk: Desk, record_property: Any) -> None:
    """Edited, it is a new immutable ConfigMap, and the pod is replaced by one that mounts it; the old one is kept."""
    before, old = mounted(desk), desk.get("pod", POD)["metadata"]["uid"]
    desk.patch(BOT, {"risk": {"maxPositionPct": 0.05}})
    took = desk.until(lambda: mounted(desk) not in ("", before), "the pod mounts the new revision")
    record_property("followed_s", took)
    record_property("ready_s", desk.until(lambda: settled(desk), "the new pod is ready"))
    now = desk.get("configmap", mounted(desk))
    assert now["immutable"] is True
    assert yaml.safe_load(now["data"]["settings.yaml"])["risk"] == {"max_position_pct": 0.05}
    assert desk.get("pod", POD)["metadata"]["uid"] != old
    assert desk.get("tradingbot", BOT)["status"]["configRevision"] == now["metadata"]["name"].rpartition("-")[2]
    assert desk.get("configmap", before)


# ---------------------------------------------------------------------------------------------------- the kill switch

FOLLOW = """
import json, sys, time
with open(sys.argv[1]) as file:
    part = ""
    while True:
        part += file.readline()
        if part.endswith("\\n"):
            print(json.dumps({"at": time.time(), **json.loads(part)}), flush=True)
            part = ""
        else:
            time.sleep(0.01)
"""


def operators(desk: Desk, count: int) -> None:
    desk.kubectl("scale", "deployment", "cryptoai-operator", "--replicas", str(count))
    gone = "the operator is " + ("there" if count else "gone")

    def there() -> bool:
        pods = desk.list("pods", OPERATOR)
        up = [p for p in pods if all(s["ready"] for s in p["status"].get("containerStatuses", [{"ready": False}]))]
        return len(pods) == len(up) == count

    desk.until(there, gone)


def bots(desk: Desk, count: int) -> None:
    """The bot's pod goes or comes, without a word to its TradingBot."""
    desk.kubectl("scale", "statefulset", "btc-bot", "--replicas", str(count))
    desk.until(lambda: len(desk.list("pods", f"{OF_BOT},app.kubernetes.io/component=bot")) == count, f"{count} bots")


def agree(desk: Desk, *, halted: bool) -> None:
    """Bot and operator say the same of the kill switch."""
    desk.until(lambda: said(desk).get("killed") is halted, f"the bot says killed {halted}")
    desk.until(lambda: desk.condition(BOT, "Halted")[0] == str(halted), f"the operator says Halted {halted}")


def release(desk: Desk, why: str) -> None:
    desk.patch(BOT, {"killSwitch": {"engaged": False, "releasedBy": "ann", "reason": why}})


def test_the_page_stops_a_bot_and_lets_it_go_on(desk: Desk) -> None:
    """Its commands, in its order: killed, released by name, suspended."""
    desk.follow("Stop it, let it go on", stop='"engaged":false')
    agree(desk, halted=True)
    desk.follow("Stop it, let it go on", start='"engaged":false', stop="suspend")
    agree(desk, halted=False)
    desk.follow("Stop it, let it go on", start="suspend")
    desk.until(lambda: desk.condition(BOT, "Ready")[1] == "Suspended" and not desk.get("pod", POD), "it is suspended")


def test_a_kill_while_the_bot_is_away_is_latched(desk: Desk) -> None:
    """Engaged and taken back without a name while no pod runs: the operator keeps it, the bot obeys it at its start."""
    desk.patch(BOT, {"killSwitch": {"engaged": True, "reason": "while it is away", "releasedBy": None}})
    desk.patch(BOT, {"killSwitch": {"engaged": False}})
    desk.until(lambda: desk.condition(BOT, "Halted")[:2] == ("True", "ReleaseNotNamed"), "the operator keeps it")
    desk.patch(BOT, {"suspend": False})
    agree(desk, halted=True)
    assert "while it is away" in said(desk)["kill_reason"]
    release(desk, "it was away")
    agree(desk, halted=False)


def test_a_kill_while_nobody_looks_is_latched(desk: Desk) -> None:
    """Neither bot nor operator saw it: that it changed unseen is enough. A stopped operator gives its Lease back."""
    operators(desk, 0)
    assert not desk.get("lease", "cryptoai-operator")["spec"].get("holderIdentity")
    bots(desk, 0)
    desk.patch(BOT, {"killSwitch": {"engaged": True, "reason": "unseen", "releasedBy": None}})
    desk.patch(BOT, {"killSwitch": {"engaged": False}})
    bots(desk, 1)
    desk.until(lambda: said(desk).get("killed") is True, "the bot is latched")
    assert "nobody looked" in said(desk)["kill_reason"]
    release(desk, "looked at it")
    desk.until(lambda: said(desk).get("killed") is False, "the bot is released", 30)


def latched_at(desk: Desk) -> float:
    """When the pod's watch set the latch, in seconds of the machine's clock; the journal has it a step later."""
    said_so = [line for line in desk.kubectl("logs", POD).splitlines() if '"kill_switch_engaged"' in line]
    return datetime.fromisoformat(json.loads(said_so[-1])["timestamp"]).timestamp()


def test_the_kill_switch_needs_no_operator(desk: Desk, record_property: Any) -> None:
    """With the operator gone: latched within a second, and no order that adds risk later than that.

    The tape begins anew, because it is at its start that this model trades.
    """
    desk.kubectl("delete", "pod", POD, "--wait=true")
    desk.until(lambda: said(desk).get("decisions", 0) >= 1, "the bot is at the start of the tape")
    command = ["kubectl", "--namespace", SPACE, "exec", POD, "--", "python", "-u", "-c", FOLLOW, JOURNAL]
    log = desk.work / "followed.jsonl"
    with log.open("w") as file:
        follower = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL, env=desk.env())
        desk.until(lambda: '"kind": "order"' in log.read_text(), "the bot sends orders")
        asked = time.time()
        desk.patch(BOT, {"killSwitch": {"engaged": True, "reason": "drill", "releasedBy": None}})
        engaged = time.time()
        desk.until(lambda: log.read_text().count("kill switch engaged") >= 10, "ten decisions later", 60)
        follower.terminate()
        follower.wait(10)
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    kill = next(line for line in lines if line.get("kind") == "kill")
    record_property("engage_to_latch_s", latched_at(desk) - asked)
    record_property("engage_to_kill_record_s", kill["at"] - asked)
    orders = [line for line in lines if line.get("kind") == "order" and not line["body"]["reduce_only"]]
    late = [line["at"] - engaged for line in orders if line["at"] > engaged]
    record_property("last_adding_order_s", max(late, default=0.0))
    assert latched_at(desk) - engaged <= 1.0
    assert all(delay <= 1.0 for delay in late)
    after = lines[lines.index(kill) :]
    assert len(orders) >= 1
    assert [o for o in orders if o in after] == []
    assert {line["body"]["safe"] for line in after if line.get("kind") == "decision"} == {"kill switch engaged"}
    for body in (line["body"] for line in after if line.get("kind") == "verdict"):
        assert abs(Decimal(body["approved"])) <= abs(Decimal(body["current"])), body
    assert said(desk)["killed"] is True


def test_a_person_releases_it(desk: Desk) -> None:
    """Not by taking `engaged` back, nor by a restart; by a name and a reason. The operator agrees when it is back."""
    desk.patch(BOT, {"killSwitch": {"engaged": False}})
    desk.kubectl("delete", "pod", POD, "--wait=true")
    desk.until(lambda: said(desk).get("decisions", 0) >= 2, "the bot is back")
    operators(desk, 1)
    agree(desk, halted=True)
    release(desk, "the drill is over")
    agree(desk, halted=False)
    assert "release" in {record.kind for record in journal(desk)}


# ---------------------------------------------------------------------------------------------------- the operator


def process_of(pod: str) -> int:
    """The operator of that pod among this machine's processes: on the native cluster and on kind they are visible."""
    for folder in Path("/proc").iterdir():
        try:
            here = folder.name.isdigit() and f"POD_NAME={pod}".encode() in (folder / "environ").read_bytes().split(
                b"\0"
            )
            if here and b"operators.main" in (folder / "cmdline").read_bytes():
                return int(folder.name)
        except OSError:
            continue
    pytest.skip(f"the process of pod {pod} is not one of this machine's")


def test_an_operator_that_dies_in_a_change_finishes_it(desk: Desk, record_property: Any) -> None:
    """kill -9 right after the edit: the next operator brings bot, status and ConfigMaps to where they belong."""
    [pod] = desk.list("pods", OPERATOR)
    victim, before = process_of(pod["metadata"]["name"]), mounted(desk)
    desk.patch(BOT, {"risk": {"maxPositionPct": 0.04, "maxLeverage": 2}})
    os.kill(victim, signal.SIGKILL)
    desk.until(lambda: mounted(desk) not in ("", before), "the pod follows")
    record_property("converged_s", desk.until(lambda: settled(desk), "all is settled"))
    limits = yaml.safe_load(desk.get("configmap", mounted(desk))["data"]["settings.yaml"])["risk"]
    assert limits == {"max_position_pct": 0.04, "max_leverage": 2.0}
    assert len(desk.list("pods", f"app.kubernetes.io/instance={BOT}")) == 2
    assert len(desk.list("configmaps", f"app.kubernetes.io/instance={BOT}")) <= 3


# ---------------------------------------------------------------------------------------------------- bad specs

KILL: Obj = {"engaged": True}
LIMITS: Obj = {"maxPositionPct": 0.05, "maxLeverage": 2, "stopLossPct": 0.01, "maxDrawdownPct": 0.05}
LIMITS |= {"maxDailyLossPct": 0.02, "maxOrdersPerMinute": 30}


def without(limit: str) -> Obj:
    return {key: value for key, value in LIMITS.items() if key != limit}


BAD: list[tuple[str, Obj, str]] = [
    ("an unknown key", {"spec.leverage": 3}, "leverage"),
    ("an unknown key of the model", {"spec.model.name": "x"}, "name"),
    ("an unknown limit", {"spec.risk": {"maxEverything": 1}}, "maxEverything"),
    ("an unknown key of the switch", {"spec.killSwitch": {"engage": True}}, "engage"),
    ("no assets", {"spec.assets": None}, "assets"),
    ("empty assets", {"spec.assets": []}, "assets"),
    ("a lower-case asset", {"spec.assets": ["btcusdt"]}, "assets"),
    ("a number as asset", {"spec.assets": [7]}, "assets"),
    ("assets that are no list", {"spec.assets": "BTCUSDT"}, "assets"),
    ("nine assets", {"spec.assets": [f"A{i}USDT" for i in range(9)]}, "assets"),
    ("the same asset twice", {"spec.assets": ["BTCUSDT", "BTCUSDT"]}, "assets"),
    ("an unknown mode", {"spec.mode": "wild"}, "mode"),
    ("live without limits", {"spec.mode": "live"}, "risk"),
    ("live with one limit", {"spec.mode": "live", "spec.risk": {"maxLeverage": 2}}, "risk"),
    *((f"live without {limit}", {"spec.mode": "live", "spec.risk": without(limit)}, limit) for limit in LIMITS),
    ("no model", {"spec.model": None}, "model"),
    ("no claim", {"spec.model": {"path": "first"}}, "claim"),
    ("no path", {"spec.model": {"claim": "cryptoai-bundles"}}, "path"),
    ("a path to the root", {"spec.model.path": "/etc"}, "path"),
    ("a path upwards", {"spec.model.path": "../other"}, "path"),
    ("a claim in capitals", {"spec.model.claim": "Bundles"}, "claim"),
    ("a pin that is none", {"spec.model.revision": "latest"}, "revision"),
    ("leverage 50", {"spec.risk": {"maxLeverage": 50}}, "maxLeverage"),
    ("leverage in words", {"spec.risk": {"maxLeverage": "two"}}, "maxLeverage"),
    ("a negative position", {"spec.risk": {"maxPositionPct": -0.1}}, "maxPositionPct"),
    ("half an order", {"spec.risk": {"maxOrdersPerMinute": 1.5}}, "maxOrdersPerMinute"),
    ("no pause at all", {"spec.execution": {"decisionIntervalMs": 0}}, "decisionIntervalMs"),
    ("too fast", {"spec.execution": {"speed": 5000}}, "speed"),
    ("features of no age", {"spec.features": {"maxAgeSeconds": 0}}, "maxAgeSeconds"),
    ("another source", {"spec.data": {"sample": False}}, "sample"),
    ("a kill without a reason", {"spec.killSwitch": KILL}, "reason"),
    ("a kill with an empty reason", {"spec.killSwitch": {**KILL, "reason": ""}}, "reason"),
    ("a release by nobody", {"spec.killSwitch": {"engaged": False, "releasedBy": "", "reason": "x"}}, "releasedBy"),
    ("a reason that is too long", {"spec.killSwitch": {**KILL, "reason": "x" * 257}}, "reason"),
    ("a secret in capitals", {"spec.features": {"secret": "Key"}}, "secret"),
    ("a suspend in words", {"spec.suspend": "yes"}, "suspend"),
    ("a name with a capital", {"metadata.name": "Btc"}, "name"),
    ("a name that is too long", {"metadata.name": "b" * 41}, "name"),
]


def with_changes(changes: Obj) -> Obj:
    made = copy.deepcopy(example("bad"))
    for path, value in changes.items():
        *folders, key = path.split(".")
        place = made
        for folder in folders:
            place = place[folder]
        if value is None:
            del place[key]
        else:
            place[key] = value
    return made


@pytest.mark.parametrize(("what", "changes", "field"), BAD, ids=[row[0] for row in BAD])
def test_a_bad_spec_is_refused_by_name(what: str, changes: Obj, field: str, desk: Desk) -> None:
    """At the door, or where an old API server cannot see it, by kubectl; the sentence names the field."""
    words = ["kubectl", "--namespace", SPACE, "apply", "--dry-run=server", "--validate=true", "--filename"]
    done = desk.attempt(*words, "-", text=json.dumps(with_changes(changes)))
    assert done.returncode != 0, f"{what} was taken: {done.stdout}"
    assert field in done.stderr, done.stderr


def test_what_no_schema_sees_is_refused_by_the_operator(desk: Desk) -> None:
    """Live with every limit: the condition names the field, no pod is made, and the mended spec is acted on."""
    desk.apply(example("alive", mode="live", risk=LIMITS, suspend=True))
    degraded(desk, "alive", "LiveNotSupported", "spec.mode")
    assert desk.list("statefulsets", "app.kubernetes.io/instance=alive") == []
    desk.patch("alive", {"mode": "shadow"})
    desk.until(lambda: desk.condition("alive", "Degraded")[0] == "False", "the mended spec")
    desk.kubectl("delete", "tradingbot", "alive")


# ---------------------------------------------------------------------------------------------------- broken, mended


def degraded(desk: Desk, name: str, reason: str, word: str) -> None:
    """The condition says so, and in a sentence that names the thing."""

    def told() -> bool:
        status, found, message = desk.condition(name, "Degraded")
        return (status, found) == ("True", reason) and word in message

    desk.until(told, f"{name} says {reason} and {word}")


def test_a_missing_bundle_is_said_and_mended(desk: Desk) -> None:
    """A folder that is not in the claim, then the bundle put there."""
    desk.apply(example("nosecret", features={"secret": "redis-key"}))  # of the next test: its pods start meanwhile
    desk.apply(example("nobundle", model={"claim": "cryptoai-bundles", "path": "second"}))
    degraded(desk, "nobundle", "BundleRefused", "second")
    desk.run("scripts/load_bundle.sh", str(desk.bundle.resolve()), SPACE, "second")
    desk.until(lambda: desk.condition("nobundle", "ModelReady")[0] == "True", "the bundle is served", 400)
    desk.kubectl("delete", "tradingbot", "nobundle")


def test_a_missing_secret_is_said_and_mended(desk: Desk) -> None:
    """Not there, there without its key, there whole: each time the condition says what is so, and then it clears.

    This Redis asks for no password, so the spec drops the Secret in the end and the bot runs.
    """
    degraded(desk, "nosecret", "SecretNotFound", 'secret "redis-key" not found')
    assert "create it with the key `password`" in desk.condition("nosecret", "Degraded")[2]
    assert desk.condition("nosecret", "FeaturesReady")[:2] == ("False", "SecretNotFound")
    desk.kubectl("create", "secret", "generic", "redis-key", "--from-literal=word=x")
    degraded(desk, "nosecret", "SecretNotFound", "find key password")
    desk.kubectl("patch", "secret", "redis-key", "--type", "merge", "--patch", '{"stringData":{"password":"x"}}')
    desk.until(lambda: desk.condition("nosecret", "Degraded")[:2] == ("False", "AsExpected"), "the secret is found")
    assert desk.condition("nosecret", "FeaturesReady")[1] != "SecretNotFound"
    desk.patch("nosecret", {"features": {"secret": None}})
    desk.until(lambda: settled(desk, "nosecret"), "the bot runs without it", 400)
    desk.kubectl("delete", "tradingbot", "nosecret")
    desk.kubectl("delete", "secret", "redis-key")


def test_an_image_that_is_not_there_is_said_and_mended(desk: Desk) -> None:
    """The operator is told of an image that does not exist, then of the right one again."""
    image = "CRYPTOAI_IMAGE_BOT"
    env = desk.get("deployment", "cryptoai-operator")["spec"]["template"]["spec"]["containers"][0]["env"]
    right = next(item["value"] for item in env if item["name"] == image)
    desk.kubectl("set", "env", "deployment/cryptoai-operator", f"{image}=localhost/cryptoai/nothing:0")
    degraded(desk, BOT, "ImageNotPulled", "nothing")
    desk.kubectl("set", "env", "deployment/cryptoai-operator", f"{image}={right}")
    desk.until(lambda: settled(desk), "the right image runs")


# ---------------------------------------------------------------------------------------------------- the end


def test_the_page_looks_inside(desk: Desk) -> None:
    """Its commands for a person who wants to know, the chart's own test among them, and ours that draws it all."""
    desk.follow("Look inside")
    drawn = desk.run("kubectl", "cryptoai", "status", "--namespace", SPACE)
    for word in (BOT, "shadow", "Running", "BTCUSDT", "decisions"):
        assert word in drawn, drawn


def everything(desk: Desk) -> set[str]:
    """Every object of the namespace but Events, as kind/name."""
    kinds = desk.run("kubectl", "api-resources", "--namespaced", "--verbs=list", "--output", "name").split()
    kept = ",".join(kind for kind in kinds if not kind.startswith("events"))
    return set(desk.kubectl("get", kept, "--ignore-not-found", "--output", "name").split())


def of_the_cluster(desk: Desk) -> set[str]:
    kinds = "clusterroles,clusterrolebindings,persistentvolumes,customresourcedefinitions"
    found = desk.run("kubectl", "get", kinds, "--output", "name").split()
    return {name for name in found if "cryptoai" in name}


NAMESPACES_OWN = ("serviceaccount/default", "secret/default-token", "configmap/kube-root-ca.crt")


def test_nothing_is_left_behind(desk: Desk) -> None:
    """The bot's children and journal go with it, then the release but for the claim of models, then all of it."""
    bot = desk.get("tradingbot", BOT)
    assert not bot["metadata"].get("finalizers")
    before = everything(desk)
    assert any(name.endswith("/btc-journal") for name in before)
    left: set[str] = set()

    def only(*ours: str) -> bool:
        left.clear()
        left.update(name for name in everything(desk) if not name.startswith(NAMESPACES_OWN) and name not in ours)
        return not left

    desk.follow("Remove it", stop="helm uninstall")
    gone = {name for name in before if "/btc" in name}
    desk.until(lambda: not (everything(desk) & gone), "the bot's children are gone")
    desk.follow("Remove it", start="helm uninstall", stop="delete namespace")
    desk.until(lambda: only("persistentvolumeclaim/cryptoai-bundles"), "the release is gone")
    assert everything(desk) & {"persistentvolumeclaim/cryptoai-bundles"}
    assert of_the_cluster(desk) == {"customresourcedefinition.apiextensions.k8s.io/tradingbots.cryptoai.dev"}
    desk.follow("Remove it", start="delete namespace")
    assert of_the_cluster(desk) == set()
