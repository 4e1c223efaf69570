"""The HTTP face of a model: POST /infer and GET /health as a Starlette application without any BentoML in it.

Mounted by `bentos.service`. One thread computes, so that two requests never share the model and an answer depends on
its request alone; a request that would have to wait longer than its deadline is refused instead of answered late.
It must never invent an answer: without one it says 503 and the caller takes the safe action.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from bentos.protocol import Limits, RefusedError, encode, parse
from cryptoai.core.errors import ModelUnavailableError
from cryptoai.core.messages import Inference
from cryptoai.core.state import StateVector

__all__ = ["Engine", "Serving", "create_app"]

_JSON = "application/json"
_STATUS = {400: "bad_request", 413: "too_large", 422: "refused"}


class Engine(Protocol):
    """What is served: `decision_engine.inference.InferenceEngine`."""

    @property
    def revision(self) -> str: ...
    @property
    def schema_hash(self) -> str: ...
    def decide_batch(self, histories: Sequence[Sequence[StateVector]], /) -> Sequence[Inference]:
        """One answer a history; ModelUnavailableError if there is none to trust."""
        ...


Observe = Callable[[str, float, int], None]
"""`observe(outcome, seconds, states)`, called once a request."""


@dataclass
class Serving:
    """What one server process holds. Without an engine every request is answered 503 with `refusal`."""

    limits: Limits
    engine: Engine | None = None
    refusal: str = "the model is still loading"
    deadline_s: float = 0.5
    max_waiting: int = 64
    observe: Observe = lambda _outcome, _seconds, _states: None
    facts: dict[str, Any] = field(default_factory=dict)
    _waiting: int = 0
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="inference"))

    async def infer(self, body: bytes) -> tuple[bytes, int]:
        """(response body, histories answered); RefusedError or ModelUnavailableError otherwise."""
        if self.engine is None:
            raise ModelUnavailableError(self.refusal)
        request = parse(body, self.limits)
        if self._waiting >= self.max_waiting:
            raise ModelUnavailableError(f"{self._waiting} requests are waiting already", retry_after_s=self.deadline_s)
        self._waiting += 1
        try:
            job = asyncio.get_running_loop().run_in_executor(self._pool, self.engine.decide_batch, request.histories)
            answers = await asyncio.wait_for(job, self.deadline_s)
        except TimeoutError:
            raise ModelUnavailableError(f"no answer within the deadline of {self.deadline_s:g} s") from None
        finally:
            self._waiting -= 1
        return encode(answers, batched=request.batched), len(answers)

    def health(self) -> tuple[int, dict[str, Any]]:
        """(HTTP status, JSON) of GET /health."""
        if self.engine is None:
            return 503, {"status": "refused", "reason": self.refusal}
        about = {"revision": self.engine.revision, "schema_hash": self.engine.schema_hash, **self.facts}
        return 200, {"status": "ok", "waiting": self._waiting, **about}

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def create_app(serving: Serving) -> Starlette:
    """The application; `serving` may get its engine later."""

    async def infer(request: HttpRequest) -> Response:
        started = time.perf_counter()
        response, outcome, states = await _answer(serving, request)
        serving.observe(outcome, time.perf_counter() - started, states)
        return response

    async def health(_: HttpRequest) -> Response:
        status, body = serving.health()
        return Response(orjson.dumps(body), status, media_type=_JSON)

    return Starlette(routes=[Route("/infer", infer, methods=["POST"]), Route("/health", health, methods=["GET"])])


async def _answer(serving: Serving, request: HttpRequest) -> tuple[Response, str, int]:
    """(response, outcome label, states answered)."""
    try:
        body, states = await serving.infer(await _body(request, serving.limits.max_body_bytes))
    except RefusedError as error:
        return _error(error.status, error, error.path), _STATUS[error.status], 0
    except ModelUnavailableError as error:
        response = _error(503, error, "")
        response.headers["retry-after"] = str(max(1, round(error.retry_after_s)))
        return response, "unavailable", 0
    except ClientDisconnect:
        return Response(status_code=499), "disconnected", 0
    return Response(body, media_type=_JSON), "ok", states


async def _body(request: HttpRequest, most: int) -> bytes:
    """The body, read no further than `most` bytes."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise RefusedError(413, "", f"the body is larger than {most} bytes; send fewer states")
        parts.append(part)
    return b"".join(parts)


def _error(status: int, error: Exception, path: str) -> Response:
    return Response(orjson.dumps({"error": str(error), "path": path or None}), status, media_type=_JSON)
