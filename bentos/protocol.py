"""The wire of POST /infer: bytes in, state histories out, and a refusal that names the field.

Called by `bentos.app` for each request. It must never repair an input: a number that is missing is `null`, and anything
else that is not a finite float32 is refused, because a model answers confidently to whatever it is given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from cryptoai.core.errors import DataError, PermanentError
from cryptoai.core.ids import parse_instrument
from cryptoai.core.messages import Inference
from cryptoai.core.state import StateVector

__all__ = ["Limits", "RefusedError", "Request", "encode", "parse"]

_NUMBERS = frozenset((float, int, type(None)))
_FIELDS = frozenset(("instrument", "known_at", "schema_hash", "history"))
_LARGEST = float(np.finfo(np.float32).max)


class RefusedError(PermanentError):
    """A request that is not answered: the HTTP status, the path of the offending field, one sentence."""

    def __init__(self, status: int, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.status = status
        self.path = path


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may be: `width` numbers a state, of schema `schema_hash`; the rest are upper bounds."""

    schema_hash: str
    width: int = 200
    max_body_bytes: int = 1_000_000
    max_batch: int = 256
    max_history: int = 512


@dataclass(frozen=True, slots=True)
class Request:
    """One history (oldest first) an instrument; `batched` says in which form to answer."""

    histories: tuple[tuple[StateVector, ...], ...]
    batched: bool


def parse(body: bytes, limits: Limits) -> Request:
    """The histories of a request body. RefusedError: 413 too large, 400 not JSON, 422 anything else."""
    if len(body) > limits.max_body_bytes:
        raise RefusedError(413, "", f"the body is larger than {limits.max_body_bytes} bytes; send fewer states")
    raw = _load(body)
    if not isinstance(raw, dict):
        raise RefusedError(422, "", f"the body must be an object, not {_kind(raw)}")
    if "batch" not in raw:
        return Request((_history(raw, "", limits),), batched=False)
    return Request(_batch(raw, limits), batched=True)


def encode(answers: Sequence[Inference], *, batched: bool) -> bytes:
    """The response body; equal answers give equal bytes."""
    if not batched:
        return answers[0].model_dump_json().encode()
    return b'{"batch":[' + b",".join(answer.model_dump_json().encode() for answer in answers) + b"]}"


def _load(body: bytes) -> Any:
    """Strict JSON; what only Python writes (NaN, Infinity, 1e999) is read too, so that its path can be named."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as strict:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise RefusedError(400, "", f"the body is not JSON: {strict}") from None


def _batch(raw: Mapping[str, Any], limits: Limits) -> tuple[tuple[StateVector, ...], ...]:
    items = raw["batch"]
    if extra := set(raw) - {"batch"}:
        raise RefusedError(422, min(extra), "unknown field beside batch; the fields belong into its items")
    if not isinstance(items, list) or not items:
        raise RefusedError(422, "batch", "must be a list with at least one item")
    if len(items) > limits.max_batch:
        raise RefusedError(413, "batch", f"{len(items)} items are more than {limits.max_batch}; split the request")
    return tuple(_history(item, f"batch[{i}].", limits) for i, item in enumerate(items))


def _history(raw: Any, prefix: str, limits: Limits) -> tuple[StateVector, ...]:
    """The states of one item; `prefix` is its path."""
    if not isinstance(raw, dict):
        raise RefusedError(422, prefix.rstrip("."), f"must be an object, not {_kind(raw)}")
    for name in sorted(_FIELDS ^ set(raw)):
        fault = "is missing" if name in _FIELDS else f"unknown field; the fields are {', '.join(sorted(_FIELDS))}"
        raise RefusedError(422, f"{prefix}{name}", fault)
    instrument, known_at = _head(raw, prefix, limits)
    rows = raw["history"]
    if not isinstance(rows, list) or not 0 < len(rows) <= limits.max_history:
        raise RefusedError(422, f"{prefix}history", f"must be a list of 1 to {limits.max_history} states")
    packed = [_pack(row, f"{prefix}history[{i}]", limits.width) for i, row in enumerate(rows)]
    return tuple(StateVector(instrument, known_at, known_at, limits.schema_hash, *pair) for pair in packed)


def _head(raw: Mapping[str, Any], prefix: str, limits: Limits) -> tuple[str, int]:
    instrument, known_at, schema_hash = raw["instrument"], raw["known_at"], raw["schema_hash"]
    try:
        parse_instrument(instrument)
    except (DataError, TypeError):
        raise RefusedError(
            422, f"{prefix}instrument", "must be venue:SYMBOL, for example binance_usdm:BTCUSDT"
        ) from None
    if type(known_at) is not int or not 0 <= known_at < 2**63:
        raise RefusedError(422, f"{prefix}known_at", "must be a time in ns UTC, a whole number")
    if schema_hash != limits.schema_hash:
        said = schema_hash[:64] if isinstance(schema_hash, str) else _kind(schema_hash)
        fault = f"the state is of schema {said}, the model of {limits.schema_hash}; use a bundle of that schema"
        raise RefusedError(422, f"{prefix}schema_hash", fault)
    return instrument, known_at


def _pack(row: Any, path: str, width: int) -> tuple[bytes, bytes]:
    """(values, mask) of one state as `StateVector` stores them; null becomes a masked 0."""
    if not isinstance(row, list) or len(row) != width:
        said = f"{len(row)} values" if isinstance(row, list) else _kind(row)
        raise RefusedError(422, path, f"must be a list of {width} numbers or null, not {said}")
    if not _NUMBERS.issuperset(map(type, row)):
        _refuse_first(row, path)
    try:
        wide: NDArray[np.float64] = np.array(row, dtype=np.float64)
    except OverflowError:
        _refuse_first(row, path)
        raise
    bad = ~(np.abs(wide) <= _LARGEST)
    mask = ~bad
    if np.count_nonzero(bad) != row.count(None):
        _refuse_first(row, path)
    return np.where(mask, wide, 0.0).astype("<f4").tobytes(), mask.tobytes()


def _refuse_first(row: list[Any], path: str) -> None:
    """Raises for the first value that is neither null nor a finite float32."""
    for i, value in enumerate(row):
        if type(value) not in _NUMBERS:
            raise RefusedError(422, f"{path}[{i}]", f"must be a number or null, not {_kind(value)}")
        if value is not None and not abs(value) <= _LARGEST:
            raise RefusedError(422, f"{path}[{i}]", "must be finite and fit 32 bits; send null where it is missing")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
