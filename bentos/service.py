"""The BentoML service: a thin shell that loads one bundle and mounts `bentos.app` at the root.

BentoML adds /metrics, /livez, /readyz and the process model. Its supervisor imports this module too, so torch is
imported where the engine is loaded, in the worker. A bundle that is refused does not crash-loop the worker: it stays
up, not ready, and says why on /health.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable

import bentoml

from bentos.app import Serving, create_app
from bentos.protocol import Limits
from bentos.settings import read_settings
from cryptoai.core.config import ServingConfig
from cryptoai.core.errors import CryptoAIError
from cryptoai.data_universe.schema import FEATURES, SCHEMA_HASH

__all__ = ["CryptoAIInference"]

_SETTINGS = read_settings()
_DRAIN_S = 10
_PR_SET_PDEATHSIG = 1


def _limits(config: ServingConfig) -> Limits:
    return Limits(SCHEMA_HASH, len(FEATURES), config.max_body_bytes, config.max_batch)


_SERVING = Serving(_limits(_SETTINGS.config.serving), deadline_s=_SETTINGS.config.execution.model_timeout_ms / 1000)


def _end_with_the_supervisor() -> None:
    """A worker lives in a process group of its own; without this it would outlive a supervisor that is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@bentoml.service(
    name="cryptoai",
    workers=_SETTINGS.config.serving.workers,
    traffic={"timeout": _DRAIN_S},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(create_app(_SERVING), path="/")
class CryptoAIInference:
    """Serves one bundle for its whole life; another bundle is another process."""

    def __init__(self) -> None:
        from bentos.metrics import InferenceMetrics

        _end_with_the_supervisor()
        metrics = InferenceMetrics()
        _SERVING.observe = metrics.observe
        try:
            self._load(metrics.ready)
        except CryptoAIError as error:
            _SERVING.refusal = str(error)

    def _load(self, announce: Callable[[str, str], None]) -> None:
        from cryptoai.decision_engine.inference import InferenceEngine

        engine = InferenceEngine.load(_SETTINGS.bundle)
        engine.warm_up()
        _SERVING.engine = engine
        announce(engine.revision, engine.schema_hash)

    def __is_ready__(self) -> bool:
        return _SERVING.engine is not None

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        _SERVING.close()
