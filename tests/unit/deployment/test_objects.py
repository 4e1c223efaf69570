"""A bot's objects: what they may do, how they are named, and that equal input is equal output."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import yaml

from cryptoai.deployment import (
    Platform,
    Workload,
    access_objects,
    bot_objects,
    config_map,
    inference_objects,
    settings_yaml,
)

Obj = dict[str, Any]

PLATFORM = Platform("bot:1", "serve:1", "redis:6379", "Never")
OWNER = {"kind": "TradingBot", "name": "btc", "uid": "u"}
BOT = Workload("btc", "desk", OWNER, ("BTCUSDT", "ETHUSDT"), "bundles", "best/one", "risk: {}\n")


def every(bot: Workload) -> list[Obj]:
    return [*access_objects(bot), config_map(bot), *inference_objects(PLATFORM, bot), *bot_objects(PLATFORM, bot)]


def pods(bot: Workload = BOT) -> dict[str, Obj]:
    found = {
        obj["metadata"]["name"]: obj["spec"]["template"]["spec"]
        for obj in every(bot)
        if "template" in obj.get("spec", {})
    }
    assert found.keys() == {"btc-bot", "btc-inference"}
    return found


def test_every_object_is_labelled_and_owned() -> None:
    """So that a selector finds it and its bot takes it along."""
    for obj in every(BOT):
        metadata = obj["metadata"]
        assert metadata["ownerReferences"] == [OWNER]
        assert metadata["namespace"] == "desk"
        assert metadata["labels"]["app.kubernetes.io/instance"] == "btc"
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "cryptoai-operator"
    assert every(BOT) == every(BOT)


def test_pods_may_do_nothing_on_the_node() -> None:
    """The restricted profile, a read-only root, /tmp of their own."""
    for spec in pods().values():
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        [container] = spec["containers"]
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["imagePullPolicy"] == "Never"
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]  # noqa: S108 - inside the pod
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}


def test_pods_pull_with_the_secrets_of_the_installation() -> None:
    """Both kinds of pod; without any the list is there and empty, so that one that was taken away goes."""
    for names in ((), ("registry", "mirror")):
        platform = replace(PLATFORM, pull_secrets=names)
        made = [*bot_objects(platform, BOT), *inference_objects(platform, BOT)]
        specs = [o["spec"]["template"]["spec"] for o in made if "template" in o.get("spec", {})]
        assert len(specs) == 2
        assert [spec["imagePullSecrets"] for spec in specs] == [[{"name": name} for name in names]] * 2


def test_the_server_has_no_account_and_the_bundle_is_read_only() -> None:
    """It can neither ask the API server nor change what it serves."""
    spec = pods()["btc-inference"]
    assert spec["automountServiceAccountToken"] is False
    bundles = next(volume for volume in spec["volumes"] if volume["name"] == "bundles")
    assert bundles["persistentVolumeClaim"] == {"claimName": "bundles", "readOnly": True}
    assert "/bundles/best/one" in spec["containers"][0]["command"]


def test_the_bot_may_read_its_own_tradingbot_only() -> None:
    """One resource, one name, no write, no Secret."""
    _, role, binding = access_objects(BOT)
    assert role["rules"] == [
        {
            "apiGroups": ["cryptoai.dev"],
            "resources": ["tradingbots"],
            "resourceNames": ["btc"],
            "verbs": ["get", "list", "watch"],
        }
    ]
    assert binding["subjects"][0]["name"] == pods()["btc-bot"]["serviceAccountName"]


def test_the_bot_is_told_where_everything_is() -> None:
    """Flags, and an environment in which an option that was not given is absent."""
    [container] = pods()["btc-bot"]["containers"]
    assert container["args"] == [
        *("bot", "--cluster", "--config", "/etc/cryptoai/settings.yaml", "--model", "http://btc-inference:8080"),
        *("--out", "/var/lib/cryptoai", "--speed", "1", "--assets", "BTCUSDT", "--assets", "ETHUSDT"),
    ]
    names = [entry["name"] for entry in container["env"]]
    assert "CRYPTOAI_MODEL_REVISION" not in names
    assert "CRYPTOAI_REDIS_PASSWORD" not in names
    more = Workload("btc", "desk", OWNER, ("B1",), "c", "p", "", pin="f" * 32, secret="redis")
    env = {entry["name"]: entry for entry in pods(more)["btc-bot"]["containers"][0]["env"]}
    assert env["CRYPTOAI_MODEL_REVISION"]["value"] == "f" * 32
    assert env["CRYPTOAI_REDIS_PASSWORD"]["valueFrom"] == {"secretKeyRef": {"name": "redis", "key": "password"}}


def test_one_bot_and_its_repair_is_never_blocked() -> None:
    """A StatefulSet of one, managed in parallel: the ordered way waits for a broken pod before it replaces it."""
    [_, _, stateful] = bot_objects(PLATFORM, BOT)
    assert stateful["spec"]["replicas"] == 1
    assert stateful["spec"]["podManagementPolicy"] == "Parallel"
    assert "volumeClaimTemplates" not in stateful["spec"]


def test_settings_are_named_after_their_content() -> None:
    """Equal settings are equal bytes in any order; others have another name; the object never changes."""
    text = settings_yaml({"b": {"y": 1, "x": 2.5}, "a": True})
    assert text == settings_yaml({"a": True, "b": {"x": 2.5, "y": 1}})
    assert yaml.safe_load(text) == {"a": True, "b": {"x": 2.5, "y": 1}}
    made = config_map(BOT)
    assert made["immutable"] is True
    assert made["data"] == {"settings.yaml": "risk: {}\n"}
    other = config_map(Workload("btc", "desk", OWNER, ("B1",), "c", "p", "risk: {a: 1}\n"))
    assert other["metadata"]["name"] != made["metadata"]["name"]
    mounted = next(v for v in pods()["btc-bot"]["volumes"] if v["name"] == "config")
    assert mounted["configMap"]["name"] == made["metadata"]["name"]


def test_a_pod_is_ready_when_nothing_is_missing_and_lives_while_it_moves() -> None:
    """Two questions, two answers: a bot that waits for Redis must not be killed for it."""
    probes = pods()["btc-bot"]["containers"][0]
    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert probes["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_a_bot_follows_its_model() -> None:
    """Another claim, folder or pin is another pod of the bot, or it would go on with what it asked at its start."""
    changes: tuple[dict[str, Any], ...] = ({}, {"claim": "other"}, {"path": "best/two"}, {"pin": "a" * 32})
    found = [replace(BOT, **change).asked["cryptoai.dev/model"] for change in changes]
    assert found == ["bundles:best/one", "other:best/one", "bundles:best/two", f"bundles:best/one@{'a' * 32}"]
    template = bot_objects(PLATFORM, BOT)[-1]["spec"]["template"]
    assert template["metadata"]["annotations"] == BOT.asked
