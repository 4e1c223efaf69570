"""plan() is a function: what it says to each thing that can be seen, in tables."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cryptoai.core.errors import ConfigError
from cryptoai.deployment import Platform
from operators.plans.children import desired, names, workload
from operators.plans.guard import examine
from operators.plans.model import BotReport, Create, Delete, Glimpse, Observed, Patch, Plan, ServerReport
from operators.plans.plan import REQUEUE_S, plan

Obj = dict[str, Any]
Make = Callable[..., Obj]

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z"
PIN = "0" * 32


def children(bot: Obj, platform: Platform) -> dict[tuple[str, str], Obj]:
    """Every child as it should be, with what a server adds."""
    spec = examine(bot["spec"]).spec
    assert spec is not None
    made = {}
    for number, obj in enumerate(desired(platform, workload(bot, spec))):
        live = copy.deepcopy(obj)
        live["metadata"] |= {"uid": f"c{number}", "generation": 2, "resourceVersion": "1"}
        if live["kind"] in ("Deployment", "StatefulSet"):
            live["status"] = {"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 1}
            live["spec"]["template"]["spec"]["restartPolicy"] = "Always"
        made[obj["kind"], obj["metadata"]["name"]] = live
    return made


def pod(component: str, *, ready: bool = True, container: Obj | None = None, **status: Any) -> Obj:
    labels = {"app.kubernetes.io/component": component}
    state = [{"name": "serve" if component == "inference" else "bot", "image": "x:1", **container}] if container else []
    conditions = [{"type": "Ready", "status": str(ready)}, *status.pop("conditions", ())]
    body = {"conditions": conditions, "containerStatuses": state, **status}
    return {"metadata": {"name": f"btc-{component}-0", "uid": component, "labels": labels}, "status": body}


PODS = (pod("inference"), pod("bot"))
CLAIM = {"status": {"phase": "Bound"}}
REPORT = BotReport(120, 1_700_000_000_000_000_000, PIN, killed=False, ended=False)


def healthy(bot: Obj, platform: Platform, **changes: Any) -> Observed:
    base = Observed(
        bot, children(bot, platform), pods=PODS, claim=CLAIM, report=REPORT, server=ServerReport(PIN), configs=()
    )
    return replace(base, **changes)


def condition(made: Plan, kind: str) -> Obj:
    assert made.status is not None
    found: Obj = next(c for c in made.status["conditions"] if c["type"] == kind)
    return found


def test_everything_is_created_in_an_order_that_works(bot: Make, platform: Platform) -> None:
    """What is mounted or named comes before what mounts or names it."""
    made = plan(Observed(bot()), platform, NOW)
    kinds = [action.obj["kind"] for action in made.actions if isinstance(action, Create)]
    assert kinds == [
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "ConfigMap",
        "Service",
        "Deployment",
        "PersistentVolumeClaim",
        "Service",
        "StatefulSet",
    ]
    assert made.requeue_s == REQUEUE_S


def test_a_healthy_bot_needs_nothing_and_its_status_is_not_rewritten(bot: Make, platform: Platform) -> None:
    """The second plan on the status of the first asks for nothing at all."""
    first = plan(healthy(bot(), platform), platform, NOW)
    assert first.actions == ()
    assert first.status is not None
    assert first.status["phase"] == "Running"
    assert first.status["lastDecision"] == {"number": 120, "time": "2023-11-14T22:13:20.000000000Z"}
    assert first.status["modelRevision"] == PIN
    assert plan(healthy(bot(first.status), platform), platform, LATER) == Plan()


def test_a_bot_on_its_way_out_is_left_alone(bot: Make, platform: Platform) -> None:
    """Its children follow it by their owner reference."""
    leaving = bot()
    leaving["metadata"]["deletionTimestamp"] = NOW
    assert plan(Observed(leaving), platform, NOW) == Plan()


DRIFT: list[tuple[str, str, str, Any, str]] = [
    ("StatefulSet", "btc-bot", "spec.replicas", 3, "spec.replicas differed"),
    ("Deployment", "btc-inference", "spec.template.spec.containers", [], "spec.template.spec.containers differed"),
    ("Service", "btc-inference", "spec.ports", [{"name": "x"}], "spec.ports[0].name differed"),
    ("Role", "btc-bot", "rules", [], "rules differed"),
    ("ServiceAccount", "btc-bot", "metadata.labels", {}, "metadata.labels.app.kubernetes.io/name differed"),
    ("PersistentVolumeClaim", "btc-journal", "metadata.annotations", {}, "metadata.annotations"),
]


@pytest.mark.parametrize(("kind", "name", "path", "value", "why"), DRIFT)
def test_drift_is_put_right(
    kind: str, name: str, path: str, value: Any, why: str, bot: Make, platform: Platform
) -> None:
    """A field of ours that somebody changed is patched back, and the Event says which."""
    seen = healthy(bot(), platform)
    target = seen.children[kind, name]
    *above, last = path.split(".")
    for key in above:
        target = target[key]
    target[last] = value
    made = plan(seen, platform, NOW)
    [action] = made.actions
    assert isinstance(action, Patch)
    assert (action.kind, action.name) == (kind, name)
    assert action.why.startswith(why)
    assert made.notices[0].reason == "Updated"


FROZEN: list[tuple[str, str, Callable[[Obj], None]]] = [
    ("ConfigMap", "", lambda o: o["data"].update({"settings.yaml": "evil"})),
    ("RoleBinding", "btc-bot", lambda o: o["roleRef"].update(name="admin")),
    ("Service", "btc-bot", lambda o: o["spec"].update(clusterIP="10.0.0.9")),
    ("Deployment", "btc-inference", lambda o: o["spec"]["selector"].update(matchLabels={"a": "b"})),
    ("StatefulSet", "btc-bot", lambda o: o["spec"].update(podManagementPolicy="OrderedReady")),
]


@pytest.mark.parametrize(("kind", "name", "spoil"), FROZEN)
def test_what_cannot_be_patched_is_made_anew(
    kind: str, name: str, spoil: Callable[[Obj], None], bot: Make, platform: Platform
) -> None:
    """Deleted by its uid now, created by the next pass."""
    seen = healthy(bot(), platform)
    key = next(k for k in seen.children if k[0] == kind and k[1].startswith(name or "btc-config"))
    spoil(seen.children[key])
    [action] = plan(seen, platform, NOW).actions
    assert isinstance(action, Delete)
    assert action.uid == seen.children[key]["metadata"]["uid"]


def test_a_journal_is_never_deleted_for_a_difference(bot: Make, platform: Platform) -> None:
    """A claim that somebody made larger stays as it is."""
    seen = healthy(bot(), platform)
    seen.children["PersistentVolumeClaim", "btc-journal"]["spec"]["resources"]["requests"]["storage"] = "5Gi"
    assert plan(seen, platform, NOW).actions == ()


def test_a_child_on_its_way_out_is_waited_for(bot: Make, platform: Platform) -> None:
    """Neither patched nor created while the server still has it."""
    seen = healthy(bot(), platform)
    service = seen.children["Service", "btc-inference"]
    service["metadata"]["deletionTimestamp"] = NOW
    service["spec"]["ports"] = []
    assert plan(seen, platform, NOW).actions == ()


OWNERS: list[tuple[list[Obj], str, str]] = [
    ([], "ChildConflict", "True"),
    ([{"kind": "Other", "name": "x", "uid": "u9"}], "ChildConflict", "True"),
    ([{"kind": "TradingBot", "name": "btc", "uid": "u0"}], "CleaningUp", "False"),
]


@pytest.mark.parametrize(("owners", "reason", "degraded"), OWNERS)
def test_what_is_not_ours_is_not_touched(
    owners: list[Obj], reason: str, degraded: str, bot: Make, platform: Platform
) -> None:
    """A stranger's object needs a person; a namesake's leftover goes by itself."""
    seen = healthy(bot(), platform)
    stranger = seen.children["Service", "btc-inference"]
    stranger["metadata"]["ownerReferences"] = owners
    stranger["spec"]["ports"] = []
    made = plan(seen, platform, NOW)
    assert made.actions == ()
    assert condition(made, "Ready")["reason"] == reason
    assert condition(made, "Degraded")["status"] == degraded
    assert made.requeue_s == REQUEUE_S


def config(name: str, at: str, uid: str = "u1") -> Obj:
    return {"metadata": {"name": name, "uid": name, "creationTimestamp": at, "ownerReferences": [{"uid": uid}]}}


def test_the_newest_three_configurations_are_kept(bot: Make, platform: Platform) -> None:
    """Older ones go, but not one that a pod may mount, nor one that is not ours."""
    seen = healthy(bot(), platform)
    current = next(name for kind, name in seen.children if kind == "ConfigMap")
    olds = [config(f"btc-config-{i}", f"2026-01-0{i}T00:00:00Z") for i in range(1, 6)]
    used = pod("bot")
    used["spec"] = {"volumes": [{"name": "config", "configMap": {"name": "btc-config-1"}}, {"name": "tmp"}]}
    gone = config("btc-config-9", "2026-01-01T00:00:00Z")
    gone["metadata"]["deletionTimestamp"] = NOW
    configs = (config(current, NOW), *olds, config("other", NOW, uid="u2"), gone)
    made = plan(replace(seen, configs=configs, pods=(*PODS, used)), platform, NOW)
    assert [action.name for action in made.actions if isinstance(action, Delete)] == [
        "btc-config-4",
        "btc-config-3",
        "btc-config-2",
    ]


def test_a_risk_limit_is_a_new_configuration(bot: Make, platform: Platform) -> None:
    """A new ConfigMap is made and the StatefulSet is pointed to it; the old one stays for now."""
    before, after = bot(), bot(risk={"maxLeverage": 2.0})
    old = children(before, platform)
    wanted = dict.fromkeys(names(workload(after, examine(after["spec"]).spec)))  # type: ignore[arg-type]
    seen = healthy(after, platform, children={key: obj for key, obj in old.items() if key in wanted})
    created, patched = plan(seen, platform, NOW).actions
    assert isinstance(created, Create)
    assert created.obj["data"]["settings.yaml"].endswith("risk:\n  max_leverage: 2.0\n")
    assert isinstance(patched, Patch)
    assert patched.kind == "StatefulSet"


def test_suspend_stops_the_pod_and_says_so(bot: Make, platform: Platform) -> None:
    """The StatefulSet goes to no replica; the bot is neither ready nor broken."""
    asleep = bot(suspend=True)
    awake = healthy(bot(), platform)
    made = plan(replace(awake, bot=asleep), platform, NOW)
    [action] = made.actions
    assert isinstance(action, Patch)
    assert action.body["spec"] == {"replicas": 0}
    assert made.status is not None
    assert made.status["phase"] == "Suspended"
    assert condition(made, "Ready")["reason"] == "Suspended"
    assert condition(made, "FeaturesReady") | {"message": ""} == {
        "type": "FeaturesReady",
        "status": "Unknown",
        "reason": "Suspended",
        "message": "",
        "observedGeneration": 3,
        "lastTransitionTime": NOW,
    }


def waiting(reason: str, message: str = "") -> Obj:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def ended(code: int, message: str = "") -> Obj:
    return {"state": {"running": {}}, "lastState": {"terminated": {"exitCode": code, "message": message}}}


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
BOT_TROUBLE: list[tuple[Obj, str, str, bool]] = [
    (pod("bot", ready=False, container=waiting("ImagePullBackOff", "Back-off")), "ImageNotPulled", "x:1", True),
    (pod("bot", ready=False, container=waiting("ErrImageNeverPull")), "ImageNotPulled", "x:1", True),
    (
        pod("bot", ready=False, container=waiting("CreateContainerConfigError", 'secret "redis" not found')),
        "SecretNotFound",
        "create it with the key",
        True,
    ),
    (
        pod(
            "bot",
            ready=False,
            container=waiting("CreateContainerConfigError", "couldn't find key password in Secret d/r"),
        ),
        "SecretNotFound",
        "key password",
        True,
    ),
    (
        pod("bot", ready=False, container=waiting("CreateContainerConfigError", 'configmap "x" not found')),
        "PodConfigError",
        "configmap",
        True,
    ),
    (pod("bot", ready=False, container=ended(78, "error: risk.x is wrong")), "CrashLoop", "risk.x is wrong", True),
    (pod("bot", ready=False, container=ended(137)), "CrashLoop", "exit code 137", True),
    (pod("bot", ready=False, container=ended(1, "x" * 900)), "CrashLoop", "…xxx", True),
    (pod("bot", ready=False, container=ended(0)), "Starting", "starting", False),
    (pod("bot", ready=False, container=waiting("ContainerCreating")), "Starting", "starting", False),
    (
        pod("bot", ready=False, conditions=[{**UNSCHEDULABLE, "message": "no cpu"}]),
        "Unschedulable",
        "no cpu",
        True,
    ),
    (
        pod("bot", ready=False, conditions=[{**UNSCHEDULABLE, "message": "pod has unbound immediate claims"}]),
        "VolumePending",
        "storage class",
        False,
    ),
]


@pytest.mark.parametrize(("sick", "reason", "words", "broken"), BOT_TROUBLE)
def test_trouble_of_the_bots_pod_is_named_and_clears(
    sick: Obj, reason: str, words: str, broken: bool, bot: Make, platform: Platform
) -> None:
    """The condition carries a constant word and what to do; when the pod is well again, so is the status."""
    made = plan(healthy(bot(), platform, pods=(PODS[0], sick), report=None), platform, NOW)
    ready = condition(made, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert words in ready["message"]
    assert condition(made, "Degraded")["status"] == str(broken)
    assert made.status is not None
    assert made.status["phase"] == ("Degraded" if broken else "Pending")
    assert condition(made, "FeaturesReady")["status"] == ("False" if reason == "SecretNotFound" else "Unknown")
    mended = plan(healthy(bot(made.status), platform), platform, LATER)
    assert mended.status is not None
    assert mended.status["phase"] == "Running"
    assert condition(mended, "Ready")["lastTransitionTime"] == LATER
    assert condition(mended, "ModelReady")["lastTransitionTime"] == NOW


MODEL_TROUBLE: list[tuple[Obj, str, str, str]] = [
    ({"claim": None}, "ClaimNotFound", "no PersistentVolumeClaim bundles in namespace desk; create it", "False"),
    ({"claim": {"status": {"phase": "Lost"}}}, "ClaimLost", "lost its volume", "False"),
    (
        {"pods": (pod("inference", ready=False, container=ended(65, "error: bundle best is broken")), PODS[1])},
        "BundleRefused",
        "bundle best is broken",
        "False",
    ),
    ({"server": ServerReport(None, "schema differs")}, "BundleRefused", "schema differs", "True"),
    ({"server": ServerReport("1" * 32)}, "RevisionMismatch", "spec.model.revision pins", "False"),
    (
        {"pods": (*PODS, pod("inference", ready=False, container=waiting("ErrImagePull")))},
        "ImageNotPulled",
        "cannot be pulled",
        "True",
    ),
]


@pytest.mark.parametrize(("seen", "reason", "words", "status"), MODEL_TROUBLE)
def test_trouble_of_the_model_is_named(
    seen: Obj, reason: str, words: str, status: str, bot: Make, platform: Platform
) -> None:
    """An old server that still answers counts as ready, but the bot is degraded."""
    pinned = bot(model={"claim": "bundles", "path": "best", "revision": PIN})
    made = plan(healthy(pinned, platform, **seen), platform, NOW)
    model = condition(made, "ModelReady")
    assert (model["reason"], model["status"]) == (reason, status)
    assert words in model["message"]
    assert condition(made, "Degraded")["reason"] == reason
    assert made.requeue_s == REQUEUE_S


def test_a_server_that_starts_is_no_trouble(bot: Make, platform: Platform) -> None:
    """Without pods yet, or with a rollout under way, the model is not ready and nothing is broken."""
    for pods in ((PODS[1],), PODS):
        seen = healthy(bot(), platform, pods=pods, server=None)
        seen.children["Deployment", "btc-inference"]["status"]["updatedReplicas"] = 0
        made = plan(seen, platform, NOW)
        assert condition(made, "ModelReady")["reason"] == "Starting"
        assert condition(made, "Degraded")["status"] == "False"


def test_a_pod_on_its_way_out_says_nothing(bot: Make, platform: Platform) -> None:
    """The broken pod of the revision before does not degrade the new one."""
    leaving = pod("bot", ready=False, container=ended(1))
    leaving["metadata"]["deletionTimestamp"] = NOW
    made = plan(healthy(bot(), platform, pods=(*PODS, leaving)), platform, NOW)
    assert condition(made, "Ready")["status"] == "True"


def test_an_ended_tape_is_good_news(bot: Make, platform: Platform) -> None:
    """A bot that has decided on the whole tape stays ready."""
    made = plan(healthy(bot(), platform, report=replace(REPORT, ended=True)), platform, NOW)
    assert condition(made, "Ready")["reason"] == "TapeEnded"


def test_a_refused_write_is_told(bot: Make, platform: Platform) -> None:
    """What the server said is in the condition."""
    made = plan(healthy(bot(), platform, failure="quota exceeded (HTTP 403)"), platform, NOW)
    assert condition(made, "Degraded")["reason"] == "ApplyFailed"
    assert condition(made, "Ready")["message"] == "quota exceeded (HTTP 403)"


RISK = {
    "maxPositionPct": 0.1,
    "maxLeverage": 2.0,
    "stopLossPct": 0.02,
    "maxDrawdownPct": 0.1,
    "maxDailyLossPct": 0.05,
    "maxOrdersPerMinute": 10,
}
BAD: list[tuple[Any, str, str]] = [
    ({"mode": "live"}, "InvalidSpec", "spec.risk.maxPositionPct"),
    ({"mode": "live", "risk": {**RISK, "stopLossPct": None}}, "InvalidSpec", "spec.risk.stopLossPct"),
    ({"mode": "live", "risk": RISK}, "LiveNotSupported", "spec.mode"),
    ({"mode": "wild"}, "InvalidSpec", "spec.mode"),
    ({"mode": None}, "InvalidSpec", "spec.mode"),
    ({"unknown": 1}, "InvalidSpec", "spec.unknown is not a field"),
    ({"risk": {"maxLeverige": 2}}, "InvalidSpec", "spec.risk.maxLeverige is not a field"),
    ({"risk": {"maxLeverage": 50}}, "InvalidSpec", "spec.risk.maxLeverage = 50"),
    ({"risk": {"maxLeverage": 0}}, "InvalidSpec", "spec.risk.maxLeverage"),
    ({"risk": {"maxLeverage": "3"}}, "InvalidSpec", "spec.risk.maxLeverage"),
    ({"risk": {"maxPositionPct": 0}}, "InvalidSpec", "spec.risk.maxPositionPct"),
    ({"risk": {"maxOrdersPerMinute": 1.5}}, "InvalidSpec", "spec.risk.maxOrdersPerMinute"),
    ({"risk": {"maxOrdersPerMinute": True}}, "InvalidSpec", "spec.risk.maxOrdersPerMinute"),
    ({"risk": []}, "InvalidSpec", "spec.risk = 'list'"),
    ({"assets": []}, "InvalidSpec", "spec.assets"),
    ({"assets": ["btc"]}, "InvalidSpec", "spec.assets.0"),
    ({"assets": ["BTCUSDT", "BTCUSDT"]}, "InvalidSpec", "spec.assets"),
    ({"assets": [f"A{i}" for i in range(9)]}, "InvalidSpec", "spec.assets"),
    ({"assets": "BTCUSDT"}, "InvalidSpec", "spec.assets"),
    ({"model": {"claim": "a"}}, "InvalidSpec", "spec.model.path is required"),
    ({"model": {"claim": "a", "path": "../b"}}, "InvalidSpec", "spec.model.path"),
    ({"model": {"claim": "a", "path": "/b"}}, "InvalidSpec", "spec.model.path"),
    ({"model": {"claim": "A_", "path": "b"}}, "InvalidSpec", "spec.model.claim"),
    ({"model": {"claim": "a", "path": "b", "revision": "x"}}, "InvalidSpec", "spec.model.revision"),
    ({"features": {"maxAgeSeconds": 0}}, "InvalidSpec", "spec.features.maxAgeSeconds"),
    ({"features": {"secret": ""}}, "InvalidSpec", "spec.features.secret"),
    ({"data": {"sample": False}}, "InvalidSpec", "spec.data.sample"),
    ({"execution": {"decisionIntervalMs": 1}}, "InvalidSpec", "spec.execution.decisionIntervalMs"),
    ({"execution": {"speed": 1001}}, "InvalidSpec", "spec.execution.speed"),
    ({"killSwitch": {"engaged": "yes"}}, "InvalidSpec", "spec.killSwitch.engaged"),
    ({"killSwitch": {"engaged": True}}, "InvalidSpec", "killSwitch.reason is required"),
    ({"suspend": 1}, "InvalidSpec", "spec.suspend"),
]


@pytest.mark.parametrize(("bad", "reason", "words"), BAD)
def test_a_bad_spec_is_named_and_changes_nothing(
    bad: Obj, reason: str, words: str, bot: Make, platform: Platform
) -> None:
    """The message names the field, no child is touched, and what was known of the model stays."""
    good = plan(healthy(bot(), platform), platform, NOW)
    assert good.status is not None
    seen = replace(healthy(bot(), platform), bot=bot(good.status, **bad))
    made = plan(seen, platform, LATER)
    assert made.actions == ()
    assert condition(made, "Degraded")["reason"] == reason
    assert words in condition(made, "Degraded")["message"]
    assert condition(made, "ModelReady")["reason"] == "Serving"
    assert made.status is not None
    assert made.status["mode"] == "shadow"
    assert made.status["observedGeneration"] == 3


def test_what_the_configuration_refuses_is_refused(
    bot: Make, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that only the bot's own configuration knows is applied before a pod would fail by it."""

    def refuse(_: object) -> None:
        raise ConfigError("risk.max_leverage: not with this mode")

    seen = healthy(bot(), platform)
    monkeypatch.setattr("operators.plans.guard.build", refuse)
    made = plan(seen, platform, NOW)
    assert made.actions == ()
    assert "not with this mode" in condition(made, "Degraded")["message"]


@pytest.mark.parametrize("spec", [None, [], "x"])
def test_a_spec_that_is_none_is_refused(spec: Any, bot: Make, platform: Platform) -> None:
    """Anything that a person can write gets a sentence, even nothing."""
    odd = bot({"conditions": [{"type": "ModelReady", "status": "True", "reason": "OfAnotherVersion", "message": ""}]})
    made = plan(Observed({**odd, "spec": spec}), platform, NOW)
    assert condition(made, "Degraded")["reason"] == "InvalidSpec"
    assert condition(made, "ModelReady")["status"] == "Unknown"


ENGAGED, FREE = {"engaged": True, "reason": "drill"}, {"engaged": False}
NAMED = {"engaged": False, "reason": "over", "releasedBy": "ann"}
KILLED = replace(REPORT, killed=True)
LATCH: list[tuple[Obj, str | None, BotReport | None, str, str]] = [
    (ENGAGED, None, REPORT, "True", "KillSwitchEngaged"),
    (ENGAGED, None, KILLED, "True", "KillSwitchEngaged"),
    (FREE, "KillSwitchEngaged", KILLED, "True", "ReleaseNotNamed"),
    (FREE, "ReleaseNotNamed", None, "True", "ReleaseNotNamed"),
    ({"engaged": False, "releasedBy": "ann"}, "KillSwitchEngaged", None, "True", "ReleaseNotNamed"),
    ({"engaged": False, "reason": "x"}, "KillSwitchEngaged", None, "True", "ReleaseNotNamed"),
    (NAMED, "KillSwitchEngaged", KILLED, "True", "BotHalted"),
    (NAMED, "KillSwitchEngaged", REPORT, "False", "Released"),
    (FREE, None, KILLED, "True", "BotHalted"),
    (FREE, "BotHalted", None, "True", "BotHalted"),
    (FREE, "BotHalted", REPORT, "False", "NotEngaged"),
    (FREE, None, None, "False", "NotEngaged"),
    (NAMED, None, KILLED, "True", "BotHalted"),
    ({**NAMED, "reason": "  "}, "KillSwitchEngaged", None, "True", "ReleaseNotNamed"),
]


@pytest.mark.parametrize(("switch", "before", "report", "status", "reason"), LATCH)
def test_the_kill_switch_is_latched(
    switch: Obj, before: str | None, report: BotReport | None, status: str, reason: str, bot: Make, platform: Platform
) -> None:
    """Released only by name and reason; and while halted, no child is touched."""
    old = [{"type": "Halted", "status": "True", "reason": before, "message": "", "lastTransitionTime": NOW}]
    halted = bot({"conditions": old} if before else {}, killSwitch=switch)
    made = plan(healthy(halted, platform, report=report), platform, LATER)
    found = condition(made, "Halted")
    assert (found["status"], found["reason"]) == (status, reason)
    assert made.actions == ()
    assert made.status is not None
    assert made.status["phase"] == ("Halted" if status == "True" else "Running")


def stored(status: Obj) -> Obj:
    """What is left of a merge patch on the server."""
    return {k: stored(v) if isinstance(v, dict) else v for k, v in status.items() if v is not None}


STANDING = {"engaged": False, "reason": "drill", "releasedBy": "ann"}
DRILL = {"reason": "drill", "releasedBy": "ann"}
KEPT: list[tuple[Obj, Obj, BotReport | None, Glimpse, str, Obj | None]] = [
    ({**STANDING, "engaged": True}, {}, REPORT, Glimpse(), "KillSwitchEngaged", DRILL),
    (STANDING, {"latch": DRILL}, KILLED, Glimpse(), "ReleaseNotNamed", DRILL),
    ({**STANDING, "reason": "over"}, {"latch": DRILL}, REPORT, Glimpse(), "Released", None),
    ({**STANDING, "releasedBy": "bob"}, {"latch": DRILL}, None, Glimpse(), "Released", None),
    (FREE, {"latch": DRILL}, REPORT, Glimpse(), "ReleaseNotNamed", DRILL),
    (FREE, {}, None, Glimpse(engaged=DRILL), "ReleaseNotNamed", DRILL),
    (NAMED, {}, None, Glimpse(engaged=DRILL), "Released", None),
    (NAMED, {}, None, Glimpse(unseen=True), "SpecUnseen", {"reason": "over", "releasedBy": "ann"}),
    (FREE, {}, None, Glimpse(unseen=True), "SpecUnseen", {}),
    ({**ENGAGED}, {"latch": DRILL}, KILLED, Glimpse(), "KillSwitchEngaged", {"reason": "drill", "releasedBy": None}),
    (NAMED, {}, REPORT, Glimpse(unseen=True), "Released", None),
    (NAMED, {}, KILLED, Glimpse(unseen=True), "BotHalted", None),
]


@pytest.mark.parametrize("case", KEPT)
def test_the_latch_is_kept_where_the_bot_reads_it(
    case: tuple[Obj, Obj, BotReport | None, Glimpse, str, Obj | None], bot: Make, platform: Platform
) -> None:
    """From the kill to a release in other words; also of a kill that nobody but the watch saw, and when in doubt."""
    switch, before, report, glimpse, reason, latch = case
    seen = replace(healthy(bot(before, killSwitch=switch), platform, report=report), glimpse=glimpse)
    made = plan(seen, platform, LATER)
    assert condition(made, "Halted")["reason"] == reason
    assert made.status is not None
    assert made.status.get("latch") == latch
    known = stored(made.status)
    assert plan(replace(seen, bot=bot(known, killSwitch=switch), glimpse=Glimpse()), platform, LATER).status is None


@pytest.mark.parametrize("switch", [ENGAGED, {"engaged": True}, {"engaged": None}, "engaged"])
def test_a_kill_counts_in_a_bad_spec_too(switch: Obj, bot: Make, platform: Platform) -> None:
    """What is wrong beside it does not hide it."""
    made = plan(replace(healthy(bot(), platform), bot=bot(killSwitch=switch, mode="wild")), platform, NOW)
    assert made.status is not None
    assert made.status["phase"] == "Halted"


def test_an_event_a_change_and_none_without(bot: Make, platform: Platform) -> None:
    """Each condition that got another word is told once; a first sight of nothing remarkable is silent."""
    first = plan(healthy(bot(), platform), platform, NOW)
    assert {(n.reason, n.warning) for n in first.notices} == {
        ("Deciding", False),
        ("Serving", False),
        ("StoreRead", False),
    }
    killed = plan(healthy(bot(first.status, killSwitch=ENGAGED), platform), platform, LATER)
    assert [(n.reason, n.warning) for n in killed.notices] == [("KillSwitchEngaged", True)]
