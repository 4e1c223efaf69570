"""One pass over one bot: read everything, plan, do, write the status. May die between any two lines and be repeated.

The only place that turns a plan into writes. It takes no decision of its own but this: a write that the server refuses
for good ends the pass, and the status says what was refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cryptoai.core.clock import Clock, iso
from cryptoai.core.ids import content_hash
from cryptoai.deployment import MANAGED_BY, Platform
from cryptoai.deployment.bot import HEALTH_PORT
from cryptoai.deployment.inference import PORT
from operators.api.reasons import ConditionType
from operators.api.tradingbot import GROUP, KIND, VERSION
from operators.cluster.client import Client, ConflictError, RefusedError
from operators.cluster.pods import Pods
from operators.handlers.queue import Key
from operators.plans.children import names, workload
from operators.plans.diagnose import component
from operators.plans.guard import examine
from operators.plans.model import Action, BotReport, Create, Glimpse, Notice, Observed, Patch, Plan, ServerReport
from operators.plans.plan import plan
from operators.plans.status import condition_of

__all__ = ["Reconciler", "selector"]

Obj = dict[str, Any]


def selector(name: str) -> str:
    return f"app.kubernetes.io/managed-by={MANAGED_BY},app.kubernetes.io/instance={name}"


@dataclass(frozen=True)
class Reconciler:
    """Call it with a key; the answer is the number of seconds after which to look again, or None."""

    client: Client
    pods: Pods
    platform: Platform
    clock: Clock
    seen: Callable[[Key, Obj | None], None] = lambda _key, _status: None
    since: Callable[[Obj], Glimpse] = lambda _bot: Glimpse()

    async def __call__(self, key: Key) -> float | None:
        bot = await self.client.get(KIND, *key)
        if bot is None:
            self.seen(key, None)
            return None
        observed = await self._observe(bot)
        made = plan(observed, self.platform, self._now())
        try:
            for action in made.actions:
                await self._do(key[0], action)
        except RefusedError as error:
            failed = plan(replace(observed, failure=str(error)), self.platform, self._now())
            await self._tell(bot, replace(failed, notices=failed.notices[len(made.actions) :]))
            raise
        await self._tell(bot, made)
        self.seen(key, made.status or bot.get("status"))
        return made.requeue_s

    async def _observe(self, bot: Obj) -> Observed:
        namespace, name = bot["metadata"]["namespace"], bot["metadata"]["name"]
        spec = examine(bot.get("spec")).spec
        wanted = names(workload(bot, spec)) if spec else []
        found, pods, configs, claim = await asyncio.gather(
            asyncio.gather(*(self.client.get(kind, namespace, child) for kind, child in wanted)),
            self.client.list("Pod", namespace, selector(name)),
            self.client.list("ConfigMap", namespace, selector(name)),
            self._claim(namespace, spec.model.claim if spec else None),
        )
        stamp = _moment(bot)
        report, server = await asyncio.gather(self._report(pods, stamp), self._server(pods, stamp))
        children = {key: obj for key, obj in zip(wanted, found, strict=True) if obj is not None}
        glimpse = self.since(bot)
        return Observed(bot, children, tuple(configs), tuple(pods), claim, report, server, glimpse=glimpse)

    async def _claim(self, namespace: str, name: str | None) -> Obj | None:
        return await self.client.get("PersistentVolumeClaim", namespace, name) if name else None

    async def _report(self, pods: list[Obj], stamp: str) -> BotReport | None:
        for pod in component(pods, "bot"):
            said = await self.pods.report(pod, HEALTH_PORT, "/status", stamp)
            if said and isinstance(said.get("decisions"), int) and isinstance(said.get("time"), int):
                flags = (bool(said.get("killed")), bool(said.get("ended")))
                return BotReport(said["decisions"], said["time"], str(said.get("revision", "")), *flags)
        return None

    async def _server(self, pods: list[Obj], stamp: str) -> ServerReport | None:
        newest = sorted(component(pods, "inference"), key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
        for pod in reversed(newest):
            said = await self.pods.report(pod, PORT, "/health", stamp)
            if said and said.get("status") in ("ok", "refused"):
                return ServerReport(said.get("revision"), said.get("reason") if said["status"] == "refused" else None)
        return None

    async def _do(self, namespace: str, action: Action) -> None:
        if isinstance(action, Create):
            await self.client.create(action.obj)
        elif isinstance(action, Patch):
            await self.client.patch(action.kind, namespace, action.name, action.body)
        else:
            await self.client.delete(action.kind, namespace, action.name, action.uid)

    async def _tell(self, bot: Obj, made: Plan) -> None:
        """The status under the version that was read, so that a stale operator's write is refused; then the Events."""
        metadata = bot["metadata"]
        if made.status is not None:
            body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": made.status}
            await self.client.patch(KIND, metadata["namespace"], metadata["name"], body, part="/status")
        for notice in made.notices:
            try:
                await self.client.create(self._event(bot, notice))
            except (ConflictError, RefusedError):  # said already, or Events are forbidden here: the status has it all
                continue

    def _event(self, bot: Obj, notice: Notice) -> Obj:
        metadata, now = bot["metadata"], self._now()
        about = f"{metadata['uid']}|{metadata['resourceVersion']}|{notice.reason}|{notice.message}"
        reference = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            **{key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")},
        }
        named = {"name": f"{metadata['name']}.{content_hash(about.encode(), 16)}", "namespace": metadata["namespace"]}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": named,
            "involvedObject": reference,
            "type": "Warning" if notice.warning else "Normal",
            "reason": notice.reason,
            "message": notice.message[:1000],
            "source": {"component": MANAGED_BY},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    def _now(self) -> str:
        return iso(self.clock.now_ns())[:19] + "Z"


def _moment(bot: Obj) -> str:
    """Pods are asked anew when the spec changed and when a halt began or ended: their answer changes then."""
    halted = condition_of(bot.get("status") or {}, ConditionType.HALTED) or {}
    return f"{bot['metadata']['generation']} {halted.get('reason')}"
