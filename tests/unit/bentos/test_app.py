"""The server's application around a model: answers, refusals, deadlines, health; no BentoML needed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from bentos.app import Serving, create_app
from bentos.protocol import Limits
from cryptoai.core.errors import ModelUnavailableError
from cryptoai.core.messages import Inference
from cryptoai.core.state import StateVector
from cryptoai.testing.fakes import make_inference


class Client:
    """Talks to the application without a socket."""

    def __init__(self, serving: Serving) -> None:
        self._app = create_app(serving)

    def post(self, **what: Any) -> httpx.Response:
        return asyncio.run(self._send("POST", "/infer", **what))

    def health(self) -> httpx.Response:
        return asyncio.run(self._send("GET", "/health"))

    async def _send(self, method: str, path: str, **what: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://here") as client:
            return await client.request(method, path, **what)


BODY: dict[str, Any] = {"instrument": "a:B", "known_at": 5, "schema_hash": "schema", "history": [[1.0, None]]}


class Engine:
    """Answers, refuses, or waits for `gate`."""

    revision, schema_hash = "rev", "schema"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.refusal: str | None = None
        self.asked = 0

    def decide_batch(self, histories: Sequence[Sequence[StateVector]]) -> list[Inference]:
        self.asked += 1
        self.gate.wait(5)
        if self.refusal:
            raise ModelUnavailableError(self.refusal)
        return [make_inference(0.5) for _ in histories]


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.gate.set()


@pytest.fixture
def serving(engine: Engine) -> Iterator[Serving]:
    made = Serving(Limits("schema", width=2, max_body_bytes=500), engine, deadline_s=0.1)
    yield made
    engine.gate.set()
    made.close()


def test_a_request_is_answered(serving: Serving) -> None:
    """The body is an Inference, and the same for the same question."""
    client = Client(serving)
    first, second = client.post(json=BODY), client.post(json=BODY)
    assert first.status_code == 200
    assert first.content == second.content
    assert Inference.model_validate_json(first.content) == make_inference(0.5)
    assert len(client.post(json={"batch": [BODY, BODY]}).json()["batch"]) == 2


def test_a_refusal_names_the_field(serving: Serving, engine: Engine) -> None:
    """The model is not asked."""
    client = Client(serving)
    answer = client.post(json=BODY | {"history": [[1.0, "x"]]})
    assert (answer.status_code, answer.json()["path"], engine.asked) == (422, "history[0][1]", 0)


def test_a_large_body_is_not_read(serving: Serving) -> None:
    """413 as soon as the limit is passed."""
    client = Client(serving)
    assert client.post(content=b"x" * 501).status_code == 413


def test_a_late_answer_is_a_503(serving: Serving, engine: Engine) -> None:
    """The deadline holds for the one that computes and for those that wait behind it."""
    engine.gate.clear()
    client = Client(serving)
    answer = client.post(json=BODY)
    assert answer.status_code == 503
    assert "deadline" in answer.json()["error"]
    assert int(answer.headers["retry-after"]) >= 1
    assert client.post(json=BODY).status_code == 503
    assert client.health().status_code == 200
    engine.gate.set()
    assert engine.asked <= 2


def test_a_model_that_refuses_is_a_503(serving: Serving, engine: Engine) -> None:
    """With the model's own sentence."""
    engine.refusal = "the answer is not finite"
    client = Client(serving)
    answer = client.post(json=BODY)
    assert (answer.status_code, answer.json()["error"]) == (503, "the answer is not finite")


def test_without_an_engine_nothing_is_answered() -> None:
    """Health says why, and so does every answer."""
    serving = Serving(Limits("schema"), refusal="bundle x: policy.safetensors was changed after training")
    client = Client(serving)
    assert client.health().status_code == 503
    assert client.health().json()["reason"] == serving.refusal
    assert client.post(json=BODY).json()["error"] == serving.refusal
    serving.close()


def test_every_request_is_observed_once(serving: Serving) -> None:
    """By its outcome, with the states that were answered."""
    seen: list[tuple[str, int]] = []
    serving.observe = lambda outcome, seconds, states: seen.append((outcome, states)) if seconds >= 0 else None
    client = Client(serving)
    client.post(json={"batch": [BODY, BODY]})
    client.post(content=b"{")
    assert seen == [("ok", 2), ("bad_request", 0)]
