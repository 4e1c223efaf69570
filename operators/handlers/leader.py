"""What a leader runs, from the moment it holds the Lease until it holds it no more or is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import kopf
import structlog

from cryptoai.core.clock import Clock
from cryptoai.deployment import Platform
from operators.api.tradingbot import KIND
from operators.cluster.access import Access
from operators.cluster.client import Client, RefusedError
from operators.cluster.lease import Election
from operators.cluster.pods import Pods
from operators.handlers.glimpses import Glimpses
from operators.handlers.health import Health
from operators.handlers.metrics import Metrics
from operators.handlers.queue import Key, WorkQueue
from operators.handlers.reconcile import Reconciler
from operators.handlers.watch import Heartbeat, Sweep, registry_for, settings

__all__ = ["Leader", "measured"]

log = structlog.get_logger()


def measured(
    handle: Callable[[Key], Awaitable[float | None]], metrics: Metrics
) -> Callable[[Key], Awaitable[float | None]]:
    """The reconciler, timed and counted."""

    async def timed(key: Key) -> float | None:
        loop = asyncio.get_running_loop()
        started, result = loop.time(), "error"
        try:
            after = await handle(key)
            result = "success"
            return after
        finally:
            metrics.reconciled(result, loop.time() - started)

    return timed


@dataclass
class Leader:
    """Everything that only one process may do."""

    access: Access
    client: Client
    pods: Pods
    election: Election
    platform: Platform
    clock: Clock
    health: Health
    metrics: Metrics
    home: str
    namespace: str | None = None
    workers: int = 4
    arm: Callable[[], None] = lambda: None

    async def run(self, stop: asyncio.Event) -> bool:
        """True after a clean stop, False when leadership or a part was lost: then the process must end."""
        queue = WorkQueue()
        self.health.lead()
        self.metrics.leader.set(1)
        self.metrics.watch(lambda: queue.depth, lambda: self.client.writes, lambda: self.health.beat_age)
        sweep = Sweep(self.client, queue, self.health, self.namespace)
        glimpses = Glimpses()
        reconcile = Reconciler(self.client, self.pods, self.platform, self.clock, self.metrics.bot, glimpses.since)
        handle = measured(reconcile, self.metrics)
        parts = {
            "lease": self.election.hold(),
            "sweep": sweep.run(),
            "heartbeat": Heartbeat(self.client, self.namespace or self.home, self.election.me).run(),
            **{f"worker-{i}": queue.work(handle) for i in range(self.workers)},
        }
        writers = [asyncio.create_task(part, name=name) for name, part in parts.items()]
        watch = asyncio.create_task(self._watch(queue, glimpses), name="watch")
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([*writers, watch, stopped], return_when="FIRST_COMPLETED")
        for task in done - {stopped}:
            reason = "cancelled" if task.cancelled() else str(task.exception() or "ended")
            log.info("part ended", part=task.get_name(), reason=reason)
        await self._end([*writers, stopped], watch)
        return stop.is_set()

    async def _end(self, writers: list[asyncio.Task[Any]], watch: asyncio.Task[None]) -> None:
        """Who writes ends first; then the Lease is free for the next one, while the watch takes its time to end."""
        for task in writers:
            task.cancel()
        _, late = await asyncio.wait(writers, timeout=5)
        if not late:
            await self.election.release()
        watch.cancel()
        await asyncio.wait([watch], timeout=5)

    async def _watch(self, queue: WorkQueue, glimpses: Glimpses) -> None:
        """kopf takes the process's signals when it starts; `arm` takes them back: one place stops everything."""
        await self._installed()
        where: dict[str, object] = {"namespaces": [self.namespace]} if self.namespace else {"clusterwide": True}
        registry = registry_for(self.access, queue, self.health, glimpses)
        ready = asyncio.Event()
        running = asyncio.create_task(
            kopf.operator(registry=registry, settings=settings(), ready_flag=ready, standalone=True, **where)  # type: ignore[arg-type]
        )
        started = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait([running, started], return_when=asyncio.FIRST_COMPLETED)
            self.arm()
            await running
        finally:
            started.cancel()
            running.cancel()

    async def _installed(self) -> None:
        """kopf looks for the CRD once; so it is not started before the CRD is there."""
        while True:
            try:
                await self.client.list(KIND, self.namespace)
            except RefusedError as error:
                log.warning("TradingBots cannot be listed; install the CRD and the operator's rights", error=str(error))
                await asyncio.sleep(5)
            else:
                return
