"""The model behind HTTP: `execution.ports.Model` over POST /infer of the inference server.

Made by the composition root of a bot. Whatever is not a prompt, well-formed answer of the expected bundle becomes
ModelUnavailableError, so that the kernel takes the safe action. It must never ask twice for one decision: a late answer
is about a market that is gone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import httpx
import numpy as np
import orjson
from pydantic import ValidationError

from cryptoai.core.closing import Closing
from cryptoai.core.errors import ConfigError, ModelUnavailableError
from cryptoai.core.messages import Inference
from cryptoai.core.state import StateVector

__all__ = ["HttpModel", "request_body"]

_MOST_BYTES = 1_000_000
_HEADERS = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}


def request_body(history: Sequence[StateVector]) -> bytes:
    """The JSON of POST /infer; each float32 travels as the double it equals, so the server sees the same bits."""
    newest = history[-1]
    head = {"instrument": newest.instrument, "known_at": newest.known_at, "schema_hash": newest.schema_hash}
    rows = np.frombuffer(b"".join(state.values for state in history), "<f4").astype(np.float64)
    if not np.isfinite(rows).all():
        raise ModelUnavailableError("the state holds a number that is not finite; nothing was asked")
    rows[np.frombuffer(b"".join(state.mask for state in history), np.uint8) == 0] = np.nan  # orjson writes null
    table = rows.reshape(len(history), newest.width)
    return orjson.dumps({**head, "history": table}, option=orjson.OPT_SERIALIZE_NUMPY)


class HttpModel(Closing):
    """A `Model` at `base_url`. One connection is kept alive; `revision` pins the bundle that may answer.

    `timeout_s` bounds one decision, from the request to the last byte of the answer.
    """

    def __init__(self, base_url: str, timeout_s: float, revision: str | None = None) -> None:
        url = httpx.URL(base_url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError(f"model URL {base_url!r} is not like http://127.0.0.1:8080; correct it")
        self._revision = revision
        self._timeout_s = timeout_s
        self._where = f"{url.host}:{url.port or (443 if url.scheme == 'https' else 80)}"
        self._client = httpx.Client(base_url=url, timeout=timeout_s, headers=_HEADERS, trust_env=False)

    def decide(self, history: Sequence[StateVector]) -> Inference:
        """The server's answer for the newest state; ModelUnavailableError says why there is none to trust."""
        if not history:
            raise ModelUnavailableError("the model was asked without a state")
        status, body = self._post(request_body(history))
        if status != 200:
            raise ModelUnavailableError(f"the model at {self._where} answered {status}: {_reason(body)}")
        return self._trusted(body, history[-1].schema_hash)

    def ready(self) -> bool:
        """Whether the server has loaded and verified the bundle that is wanted; never raises."""
        try:
            response = self._client.get("/health")
            return response.status_code == 200 and self._revision in (None, response.json().get("revision"))
        except (httpx.HTTPError, ValueError, AttributeError):
            return False

    def close(self) -> None:
        self._client.close()

    def _post(self, content: bytes) -> tuple[int, bytes]:
        """(status, body) within the deadline; a drip of bytes is late too."""
        end = time.monotonic() + self._timeout_s
        parts, size = [], 0
        try:
            with self._client.stream("POST", "/infer", content=content) as response:
                for part in response.iter_raw():
                    parts.append(part)
                    size += len(part)
                    if size > _MOST_BYTES or time.monotonic() > end:
                        raise ModelUnavailableError(f"the model at {self._where} answered too slowly or too much")
                return response.status_code, b"".join(parts)
        except httpx.TimeoutException:
            late = f"the model at {self._where} gave no answer within {self._timeout_s:g} s"
            raise ModelUnavailableError(late) from None
        except httpx.HTTPError as error:
            raise ModelUnavailableError(f"the model at {self._where} cannot be reached: {error}") from error

    def _trusted(self, body: bytes, schema_hash: str) -> Inference:
        try:
            answer = Inference.model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            raise ModelUnavailableError(f"the model's answer is not usable: {where}: {first['msg']}") from None
        if self._revision is not None and answer.revision != self._revision:
            raise ModelUnavailableError(
                f"the model at {self._where} is revision {answer.revision}, not {self._revision}; serve that bundle"
            )
        if answer.schema_hash != schema_hash:
            raise ModelUnavailableError(
                f"the model's schema is {answer.schema_hash}, the state's is {schema_hash}; serve a bundle of it"
            )
        return answer


def _reason(body: bytes) -> str:
    """The server's own sentence if it gave one, at most 300 characters."""
    try:
        said = str(orjson.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        said = body.decode(errors="replace").strip() or "no reason given"
    return said[:300]
