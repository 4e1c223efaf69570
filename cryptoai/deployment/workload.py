"""What a bot's objects are made of, and what they have in common: names, labels, owner, a pod that may do nothing.

Used by the other builders of this package. Quantities are written in Kubernetes' canonical form, and nothing is set to
its zero value, so that an object read back from a server compares equal to what was built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MANAGED_BY", "Obj", "Platform", "Workload", "child", "container", "labels", "pod_spec"]

Obj = dict[str, Any]

MANAGED_BY = "cryptoai-operator"
_UID = 10001


@dataclass(frozen=True)
class Platform:
    """What the installation provides to every bot."""

    image_bot: str
    image_serve: str
    redis: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workload:
    """What one bot asks for. `owner` is the reference that makes its children go with it."""

    name: str
    namespace: str
    owner: Mapping[str, Any]
    assets: tuple[str, ...]
    claim: str
    path: str
    settings: str
    speed: float = 1.0
    replicas: int = 1
    pin: str | None = None
    secret: str | None = None

    @property
    def asked(self) -> dict[str, str]:
        """The model in words, on the bot's pods: one that decided with another model is replaced."""
        return {"cryptoai.dev/model": f"{self.claim}:{self.path}" + (f"@{self.pin}" if self.pin else "")}

    @property
    def inference(self) -> str:
        return f"{self.name}-inference"

    @property
    def bot(self) -> str:
        return f"{self.name}-bot"

    @property
    def journal(self) -> str:
        return f"{self.name}-journal"


def labels(name: str, component: str) -> dict[str, str]:
    """The recommended labels of a bot's objects."""
    prefix = "app.kubernetes.io"
    return {
        f"{prefix}/name": "cryptoai",
        f"{prefix}/component": component,
        f"{prefix}/instance": name,
        f"{prefix}/managed-by": MANAGED_BY,
    }


def child(bot: Workload, kind: str, name: str, component: str, **body: Any) -> Obj:
    """An object owned by the bot."""
    metadata = {
        "name": name,
        "namespace": bot.namespace,
        "labels": labels(bot.name, component),
        "ownerReferences": [dict(bot.owner)],
    }
    return {"apiVersion": _VERSIONS.get(kind, "v1"), "kind": kind, "metadata": metadata, **body}


_VERSIONS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
}


def container(name: str, image: str, platform: Platform, **body: Any) -> Obj:
    """A container that may write to its volumes only; its last words on stderr become its termination message."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": platform.pull_policy,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **body,
    }


def pod_spec(main: Obj, volumes: list[Obj], platform: Platform, **body: Any) -> Obj:
    """A pod of one container, without rights on the node; /tmp is its own, its environment ours alone."""
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, *main.get("volumeMounts", [])]  # noqa: S108 - inside the pod
    return {
        "enableServiceLinks": False,
        "imagePullSecrets": [{"name": name} for name in platform.pull_secrets],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _UID,
            "runAsGroup": _UID,
            "fsGroup": _UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{**main, "volumeMounts": mounts}],
        "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes],
        **body,
    }
