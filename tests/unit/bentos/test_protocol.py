"""POST /infer: what is accepted arrives bit for bit, what is not is refused by its path."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bentos.protocol import Limits, RefusedError, encode, parse
from cryptoai.core.state import StateVector
from cryptoai.execution.adapters.http_model import request_body
from cryptoai.testing.fakes import make_inference

LIMITS = Limits("schema", width=4, max_body_bytes=2_000, max_batch=2, max_history=3)


def body(**changes: Any) -> dict[str, Any]:
    return {"instrument": "a:B", "known_at": 5, "schema_hash": "schema", "history": [[1.5, None, -2, 0.1]]} | changes


def refused(raw: object) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        parse(raw if isinstance(raw, bytes) else json.dumps(raw).encode(), LIMITS)
    return caught.value


def test_a_history_survives_the_wire_bit_for_bit() -> None:
    """What the client sends is what the model sees: float32 bits and mask."""
    values = [0.1, 3.4e38, -1e-45, 0.0]
    sent = [StateVector.of("a:B", (3, 5), "schema", values, [True, True, True, False]) for _ in range(2)]
    (got,) = parse(request_body(sent), LIMITS).histories
    assert [(s.values, s.mask, s.known_at, s.instrument) for s in got] == [
        (s.values, s.mask, s.known_at, s.instrument) for s in sent
    ]


def test_null_is_missing_and_zero_is_not() -> None:
    """A missing value is masked, a zero is present."""
    (history,) = parse(json.dumps(body(history=[[0, None, 1, 2]])).encode(), LIMITS).histories
    assert history[0].present() == [True, False, True, True]
    assert history[0].floats() == [0.0, 0.0, 1.0, 2.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e39, "1.0", True, [1], {}, 10**400])
def test_a_bad_number_is_refused_by_its_path(value: object) -> None:
    """NaN, infinity, what float32 cannot hold, and what only looks like a number."""
    error = refused(body(history=[[1, 2, 3, 4], [1, 2, value, 4]]))
    assert (error.status, error.path) == (422, "history[1][2]")


def test_a_bad_item_of_a_batch_is_named() -> None:
    """The path starts with the item."""
    error = refused({"batch": [body(), body(history=[[1, "x", 3, 4]])]})
    assert error.path == "batch[1].history[0][1]"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda b: b.pop("known_at"), "known_at"),
        (lambda b: b.update(known_at=1.5), "known_at"),
        (lambda b: b.update(known_at=-1), "known_at"),
        (lambda b: b.update(known_at=True), "known_at"),
        (lambda b: b.update(instrument="BTCUSDT"), "instrument"),
        (lambda b: b.update(instrument=7), "instrument"),
        (lambda b: b.update(extra=1), "extra"),
        (lambda b: b.update(history=[]), "history"),
        (lambda b: b.update(history=[[1, 2, 3, 4]] * 4), "history"),
        (lambda b: b.update(history=[[1, 2, 3]]), "history[0]"),
        (lambda b: b.update(history=["1234"]), "history[0]"),
    ],
)
def test_a_bad_field_is_refused_by_its_name(change: Callable[[dict[str, Any]], Any], path: str) -> None:
    """Missing, unknown, of another type or size."""
    raw = body()
    change(raw)
    error = refused(raw)
    assert (error.status, error.path) == (422, path)
    assert path in str(error)


def test_another_schema_is_refused_with_both_hashes() -> None:
    """The sentence lets one see which side is old."""
    said = str(refused(body(schema_hash="older")))
    assert "older" in said
    assert "schema" in said


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 900])
def test_what_is_not_json_is_400(raw: bytes) -> None:
    """Broken text, other encodings, depth."""
    assert refused(raw).status == 400


@pytest.mark.parametrize("raw", [[], 3, "x", None])
def test_a_body_that_is_no_object_is_422(raw: object) -> None:
    """JSON, but not a request."""
    assert refused(raw).status == 422


def test_sizes_are_limited() -> None:
    """Bytes and items."""
    assert refused(b" " * 2_001).status == 413
    assert refused({"batch": [body()] * 3}).status == 413
    assert refused({"batch": []}).status == 422
    assert refused({"batch": [body()], "instrument": "a:B"}).path == "instrument"


def test_answers_have_the_form_of_the_question() -> None:
    """One object for one, a batch for a batch, the same bytes each time."""
    answer = make_inference(0.5)
    single = json.loads(encode([answer], batched=False))
    assert json.loads(encode([answer, answer], batched=True)) == {"batch": [single, single]}
    assert encode([answer], batched=False) == encode([answer], batched=False)
