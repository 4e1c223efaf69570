"""The server that holds the bot's model: a Deployment that mounts the bundle read-only, and its Service."""

from __future__ import annotations

from cryptoai.deployment.workload import Obj, Platform, Workload, child, container, labels, pod_spec

__all__ = ["ANSWER_MS", "PORT", "inference_objects"]

PORT = 8080
ANSWER_MS = 2000
"""The longest wait for an answer: a server in another pod shares its node, so longer than one machine's default."""


def inference_objects(platform: Platform, bot: Workload) -> list[Obj]:
    """Service and Deployment. A new server must answer before the old one goes."""
    selector = labels(bot.name, "inference")
    port = {"name": "http", "port": PORT, "protocol": "TCP", "targetPort": "http"}
    service = child(bot, "Service", bot.inference, "inference", spec={"selector": selector, "ports": [port]})
    template = {"metadata": {"labels": selector}, "spec": _pod(platform, bot)}
    spec = {
        "replicas": 1,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": template,
    }
    return [service, child(bot, "Deployment", bot.inference, "inference", spec=spec)]


def _pod(platform: Platform, bot: Workload) -> Obj:
    flags = {"--bundle": f"/bundles/{bot.path}", "--home": "/tmp/bentoml", "--host": "0.0.0.0", "--port": str(PORT)}  # noqa: S104, S108 - inside the pod
    flags["--deadline-ms"] = str(ANSWER_MS)
    main = container(
        "serve",
        platform.image_serve,
        platform,
        command=["python", "-m", "bentos.serve", *(word for pair in flags.items() for word in pair)],
        env=[{"name": "HOME", "value": "/tmp"}, {"name": "BENTOML_HOME", "value": "/tmp/bentoml"}],  # noqa: S108
        ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        resources={"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"memory": "4Gi"}},
        readinessProbe=_probe("/readyz", period=2, failures=3),
        livenessProbe=_probe("/livez", period=10, failures=30),
        volumeMounts=[{"name": "bundles", "mountPath": "/bundles", "readOnly": True}],
    )
    volume = {"name": "bundles", "persistentVolumeClaim": {"claimName": bot.claim, "readOnly": True}}
    return pod_spec(main, [volume], platform, automountServiceAccountToken=False, terminationGracePeriodSeconds=30)


def _probe(path: str, *, period: int, failures: int) -> Obj:
    get = {"path": path, "port": "http", "scheme": "HTTP"}
    return {"httpGet": get, "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures}
