"""kopf brings events; each handler adds one key to the queue and returns: no state, no finalizer, no annotation.

kopf forgets deletions that happen while a watch is broken, and drops what a handler raises: so nothing is decided here,
and `Sweep` adds every bot again from a fresh list, whatever the watches saw.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import kopf
import structlog

from cryptoai.core.errors import CryptoAIError
from cryptoai.deployment import MANAGED_BY
from operators.api.tradingbot import GROUP, KIND, PLURAL, VERSION
from operators.cluster.access import Access
from operators.cluster.client import Client
from operators.handlers.glimpses import Glimpses
from operators.handlers.health import Health
from operators.handlers.queue import Key, WorkQueue

__all__ = ["HEARTBEAT", "Heartbeat", "Sweep", "registry_for", "settings"]

HEARTBEAT = "cryptoai-operator-heartbeat"
_INSTANCE = "app.kubernetes.io/instance"
_CHILDREN = (
    ("apps", "v1", "deployments"),
    ("apps", "v1", "statefulsets"),
    ("", "v1", "pods"),
    ("", "v1", "services"),
    ("", "v1", "configmaps"),
)
log = structlog.get_logger()


def registry_for(access: Access, queue: WorkQueue, health: Health, glimpses: Glimpses) -> kopf.OperatorRegistry:
    """Every handler of the operator."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(
            server=access.server,
            ca_data=access.ca,
            scheme="Bearer" if access.bearer() else None,
            token=access.bearer(),
            certificate_data=access.certificate,
            private_key_data=access.key,
        )

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def bot_changed(namespace: str | None, name: str, body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002 - kopf's name
        key = (namespace or "", name)
        if type == "DELETED":
            glimpses.forget(key)
        else:
            glimpses.note(body)
        queue.add(key)

    async def child_changed(namespace: str | None, name: str, labels: Mapping[str, str], **_: Any) -> None:
        if name == HEARTBEAT:
            health.beat()
        elif bot := labels.get(_INSTANCE):
            queue.add((namespace or "", bot))

    for group, version, plural in _CHILDREN:
        kopf.on.event(group, version, plural, registry=registry)(child_changed)
    return registry


def settings() -> kopf.OperatorSettings:
    """Time limits on everything that could hang, our own Events, no peering: the Lease elects."""
    made = kopf.OperatorSettings()
    made.peering.standalone = True
    made.scanning.disabled = True
    made.posting.enabled = False
    made.watching.server_timeout, made.watching.client_timeout, made.watching.connect_timeout = 290, 300, 10
    made.watching.inactivity_timeout, made.watching.chunk_size, made.watching.reconnect_backoff = 70, 500, 1
    made.networking.request_timeout, made.networking.connect_timeout = 20, 5
    made.networking.error_backoffs = (1, 2, 4, 8)
    made.process.ultimate_exiting_timeout = 25
    made.queueing.idle_timeout = made.queueing.exit_timeout = 1  # how long a stop waits for kopf's own workers
    for group, _, plural in _CHILDREN:
        made.watching.label_selectors[group, plural] = f"app.kubernetes.io/managed-by={MANAGED_BY}"
    made.watching.label_selectors["", "configmaps"] = "app.kubernetes.io/name=cryptoai"  # the heartbeat is the chart's
    return made


@dataclass
class Sweep:
    """Adds every bot that there is, and every one that there was: level-triggered, whatever was missed."""

    client: Client
    queue: WorkQueue
    health: Health
    namespace: str | None = None
    every_s: float = 30.0
    _known: set[Key] = field(default_factory=set)

    async def once(self) -> None:
        bots = await self.client.list(KIND, self.namespace)
        found = {(bot["metadata"]["namespace"], bot["metadata"]["name"]) for bot in bots}
        for key in sorted(found | self._known):
            self.queue.add(key)
        self._known = found
        self.health.swept()

    async def run(self) -> None:
        while True:
            try:
                await self.once()
            except CryptoAIError as error:
                log.warning("sweep failed", error=str(error))
            await asyncio.sleep(self.every_s)


@dataclass
class Heartbeat:
    """Changes the ConfigMap whose change must come back through the watch. The chart makes it, and takes it away."""

    client: Client
    namespace: str
    me: str = ""
    every_s: float = 20.0
    _count: int = 0

    async def once(self) -> None:
        self._count += 1
        beat = f"{self._count} of {self.me}"  # another leader's last beat must not look like ours
        await self.client.patch("ConfigMap", self.namespace, HEARTBEAT, {"data": {"beat": beat}})

    async def run(self) -> None:
        while True:
            try:
                await self.once()
            except CryptoAIError as error:
                log.warning("heartbeat failed", error=str(error))
            await asyncio.sleep(self.every_s)
