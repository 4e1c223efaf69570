"""Opens what decides: a bundle in this process, or an inference server by its URL.

The only place where a command line's `--model` gets its meaning.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryptoai.core.config import Config
from cryptoai.core.errors import BundleError, TransientError

if TYPE_CHECKING:
    from cryptoai.execution.ports import Model

__all__ = ["bundle_path", "open_model"]


def open_model(spec: str | None, config: Config) -> tuple[Model, str]:
    """(the model, the revision that answers); BundleError or TransientError says why there is none."""
    if spec is not None and spec.startswith(("http://", "https://")):
        return _remote(spec, config)
    from cryptoai.decision_engine.inference import InferenceEngine

    engine = InferenceEngine.load(bundle_path(spec, config))
    engine.warm_up()
    return engine, engine.revision


def bundle_path(spec: str | None, config: Config) -> Path:
    """The real folder behind --model, or behind the link that training left."""
    path = Path(spec) if spec is not None else Path(config.training.checkpoints) / "best_model.pt"
    if not path.exists():
        hint = "give an existing bundle folder" if spec else "train one with `cryptoai train`, or give --model"
        raise BundleError(f"there is no bundle at {path}; {hint}")
    return path.resolve()


def _remote(url: str, config: Config) -> tuple[Model, str]:
    """The server behind `url`, pinned to the bundle that it answers with now."""
    import httpx

    from cryptoai.execution.adapters.http_model import HttpModel

    try:
        revision = (
            httpx.get(f"{url.rstrip('/')}/health", timeout=5, trust_env=False).raise_for_status().json()["revision"]
        )
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise TransientError(
            f"no inference server answers at {url} ({error}); start one with `cryptoai serve`"
        ) from error
    return HttpModel(url, config.execution.model_timeout_ms / 1000, revision), str(revision)
