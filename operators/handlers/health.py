"""Is the operator alive? Not "does the process answer" but "does an event of the cluster still reach it".

A leader writes its heartbeat ConfigMap every 20 seconds and must see the change come back through the same watches that
bring the events of bots. A standby must only go on asking for the Lease. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from operators.handlers.metrics import Metrics

__all__ = ["Health", "application"]

_LEASE_S, _BEAT_S, _SWEEP_S = 45.0, 90.0, 150.0


@dataclass
class Health:
    """What was last seen when. `now` is the event loop's clock."""

    now: Callable[[], float]
    leading_since: float | None = None
    lease_at: float = 0.0
    beat_at: float = 0.0
    swept_at: float = 0.0

    def lease(self) -> None:
        self.lease_at = self.now()

    def beat(self) -> None:
        self.beat_at = self.now()

    def swept(self) -> None:
        self.swept_at = self.now()

    def lead(self) -> None:
        self.leading_since = self.lease_at = self.beat_at = self.swept_at = self.now()

    @property
    def beat_age(self) -> float:
        return self.now() - self.beat_at if self.leading_since is not None else 0.0

    def trouble(self) -> str | None:
        """The first thing that stands still, in a sentence; None when all is well."""
        now = self.now()
        if now - self.lease_at > _LEASE_S:
            return f"the Lease was last reached {now - self.lease_at:.0f} s ago"
        if self.leading_since is None:
            return None
        if now - self.beat_at > _BEAT_S:
            return f"the watch last brought our heartbeat {now - self.beat_at:.0f} s ago"
        if now - self.swept_at > _SWEEP_S:
            return f"the last sweep over all bots was {now - self.swept_at:.0f} s ago"
        return None


def application(health: Health, metrics: Metrics) -> web.Application:
    """/healthz and /readyz (a standby is ready too, or a rolling update would wait for ever), and /metrics."""

    async def probe(_: web.Request) -> web.Response:
        trouble = health.trouble()
        return web.Response(text=trouble or "ok", status=500 if trouble else 200)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.add_routes([web.get("/healthz", probe), web.get("/readyz", probe), web.get("/metrics", scrape)])
    return app
