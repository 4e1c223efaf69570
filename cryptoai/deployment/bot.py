"""The pod that decides: a StatefulSet of one, so that two never run at once, with its journal on a volume of its own.

The claim is a child like any other instead of a volumeClaimTemplate, whose claims outlive the StatefulSet; so deleting
the bot leaves nothing behind on any version of Kubernetes. Pods are managed in parallel because the ordered way waits
for a broken pod to become ready before it replaces it, which it never does.
"""

from __future__ import annotations

from cryptoai.deployment.settings import FILE, revision
from cryptoai.deployment.workload import Obj, Platform, Workload, child, container, labels, pod_spec

__all__ = ["HEALTH_PORT", "bot_objects"]

HEALTH_PORT = 8082
_JOURNAL = "/var/lib/cryptoai"
_CONFIG = "/etc/cryptoai"


def bot_objects(platform: Platform, bot: Workload) -> list[Obj]:
    """PersistentVolumeClaim, headless Service and StatefulSet."""
    selector = labels(bot.name, "bot")
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    port = {"name": "health", "port": HEALTH_PORT, "protocol": "TCP", "targetPort": "health"}
    service = {"clusterIP": "None", "selector": selector, "ports": [port]}
    spec = {
        "replicas": bot.replicas,
        "revisionHistoryLimit": 3,
        "serviceName": bot.bot,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": selector},
        "template": {"metadata": {"labels": selector, "annotations": bot.asked}, "spec": _pod(platform, bot)},
    }
    return [
        child(bot, "PersistentVolumeClaim", bot.journal, "bot", spec=claim),
        child(bot, "Service", bot.bot, "bot", spec=service),
        child(bot, "StatefulSet", bot.bot, "bot", spec=spec),
    ]


def _pod(platform: Platform, bot: Workload) -> Obj:
    main = container(
        "bot",
        platform.image_bot,
        platform,
        command=["cryptoai"],
        args=_arguments(bot),
        env=_environment(platform, bot),
        ports=[{"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"}],
        resources={"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "4Gi"}},
        readinessProbe=_probe("/readyz", period=2, failures=3),
        livenessProbe=_probe("/healthz", period=10, failures=30),
        volumeMounts=[
            {"name": "journal", "mountPath": _JOURNAL},
            {"name": "config", "mountPath": _CONFIG, "readOnly": True},
        ],
    )
    config = {"name": f"{bot.name}-config-{revision(bot.settings)}", "defaultMode": 0o444}
    volumes = [
        {"name": "journal", "persistentVolumeClaim": {"claimName": bot.journal}},
        {"name": "config", "configMap": config},
    ]
    return pod_spec(main, volumes, platform, serviceAccountName=bot.bot, terminationGracePeriodSeconds=30)


def _arguments(bot: Workload) -> list[str]:
    server = f"http://{bot.inference}:8080"
    flags = {"--config": f"{_CONFIG}/{FILE}", "--model": server, "--out": _JOURNAL, "--speed": f"{bot.speed:g}"}
    assets = [word for asset in bot.assets for word in ("--assets", asset)]
    return ["bot", "--cluster", *(word for pair in flags.items() for word in pair), *assets]


def _environment(platform: Platform, bot: Workload) -> list[Obj]:
    """Where it is and what it may take. Absent options are absent, not empty."""
    plain = {
        "CRYPTOAI_BOT": bot.name,
        "CRYPTOAI_REDIS": platform.redis,
        "HOME": "/tmp",  # noqa: S108 - inside the pod
        "NUMBA_CACHE_DIR": "/tmp/numba",  # noqa: S108
        **({"CRYPTOAI_MODEL_REVISION": bot.pin} if bot.pin else {}),
    }
    found = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}
    downward = [
        {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
        for name, path in found.items()
    ]
    return [*downward, *({"name": name, "value": value} for name, value in plain.items()), *_password(bot)]


def _password(bot: Workload) -> list[Obj]:
    if bot.secret is None:
        return []
    reference = {"name": bot.secret, "key": "password"}
    return [{"name": "CRYPTOAI_REDIS_PASSWORD", "valueFrom": {"secretKeyRef": reference}}]


def _probe(path: str, *, period: int, failures: int) -> Obj:
    get = {"path": path, "port": "health", "scheme": "HTTP"}
    return {"httpGet": get, "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures}
