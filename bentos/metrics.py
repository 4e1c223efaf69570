"""What the server counts, in base units, on BentoML's own GET /metrics.

Created once a worker by `bentos.service`, after BentoML has set up its multi-process registry.
Labels are bounded: an outcome is one of seven words, a revision changes only with the bundle.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

__all__ = ["InferenceMetrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class InferenceMetrics:
    """The metrics of one worker; `observe` fits `bentos.app.Serving.observe`."""

    def __init__(self) -> None:
        self._requests = Counter(
            "cryptoai_inference_requests_total", "Requests by outcome (ok, refused, unavailable, ...).", ["outcome"]
        )
        self._seconds = Histogram(
            "cryptoai_inference_duration_seconds", "Time from the first byte to the answer.", buckets=_SECONDS
        )
        self._states = Counter("cryptoai_inference_decisions_total", "Histories that were answered.")
        self._model = Gauge(
            "cryptoai_inference_model_info",
            "1 for the bundle that is served.",
            ["revision", "schema_hash"],
            multiprocess_mode="livemax",
        )
        self._ready = Gauge(
            "cryptoai_inference_ready", "1 if the bundle was verified and loaded.", multiprocess_mode="livemin"
        )
        self._ready.set(0)

    def ready(self, revision: str, schema_hash: str) -> None:
        self._model.labels(revision, schema_hash).set(1)
        self._ready.set(1)

    def observe(self, outcome: str, seconds: float, states: int) -> None:
        self._requests.labels(outcome).inc()
        self._seconds.observe(seconds)
        self._states.inc(states)
