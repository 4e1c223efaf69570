"""What an operator's owner watches: reconciles, the queue, the watch's heartbeat, leadership, each bot's conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from operators.api.reasons import ConditionType

__all__ = ["Metrics"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Owns its registry, so that two operators in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prefix = "cryptoai_operator"
        self._total = Counter(f"{prefix}_reconcile", "Reconciles by result.", ["result"], registry=self.registry)
        self._seconds = Histogram(
            f"{prefix}_reconcile_seconds", "Duration of a reconcile.", registry=self.registry, buckets=_BUCKETS
        )
        self._depth = Gauge(f"{prefix}_workqueue_depth", "Keys that wait for a worker.", registry=self.registry)
        self._writes = Gauge(f"{prefix}_api_writes", "Writes to the API server.", registry=self.registry)
        self._age = Gauge(f"{prefix}_watch_heartbeat_age_seconds", "Age of the last heartbeat.", registry=self.registry)
        self.leader = Gauge(f"{prefix}_leader", "1 while this process leads.", registry=self.registry)
        self._bots: frozenset[tuple[str, str]] = frozenset()
        self._condition = Gauge(
            "cryptoai_tradingbot_condition",
            "1 where the condition is True.",
            ["namespace", "bot", "type"],
            registry=self.registry,
        )

    def watch(self, depth: Callable[[], float], writes: Callable[[], float], age: Callable[[], float]) -> None:
        """Values that are asked for when they are scraped."""
        self._depth.set_function(depth)
        self._writes.set_function(writes)
        self._age.set_function(age)

    def reconciled(self, result: str, seconds: float) -> None:
        self._total.labels(result).inc()
        self._seconds.observe(seconds)

    def bot(self, key: tuple[str, str], status: dict[str, Any] | None) -> None:
        """The conditions of a bot as they are now; None when it is gone."""
        true = {c["type"] for c in (status or {}).get("conditions") or () if c["status"] == "True"}
        for kind in ConditionType:
            if status is not None:
                self._condition.labels(*key, kind).set(kind in true)
            elif key in self._bots:
                self._condition.remove(*key, kind)
        self._bots = self._bots - {key} if status is None else self._bots | {key}

    def text(self) -> bytes:
        return generate_latest(self.registry)
