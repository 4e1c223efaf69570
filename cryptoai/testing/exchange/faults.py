"""What goes wrong on the local exchange, on command and by seeded chance.

A test, a soak or the admin port adds faults; the server asks at each request and each message of a client's stream.
The same seed and the same requests give the same faults. Nothing here waits or answers: it only says what happens.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, get_args, get_type_hints

import numpy as np

from cryptoai.core.errors import ConfigError

__all__ = ["KINDS", "Fault", "Faults"]

KINDS = {
    "latency": "the answer waits `seconds`",
    "drop_ack": "the request is carried out, the answer never comes",
    "error": "answered with `status` (503) and not carried out",
    "error_after": "carried out, yet answered with `status` (503)",
    "maintenance": "every request is refused with 503 and streams are closed",
    "duplicate": "a message of the client's stream comes twice",
    "reorder": "a message of the client's stream comes after the next one",
    "drop_message": "a message of the client's stream never comes",
    "disconnect": "the client's stream is closed after this message",
    "stale_book": "the public book and its stream stand still",
    "clock_skew": "the venue's clock is `seconds` ahead",
}
"""What can be asked for; an outage of one endpoint is `error` with its `path`."""


@dataclass(slots=True)
class Fault:
    """Strikes with `chance` where `path` is part of the request's path (and `method` is its method), `times` times."""

    kind: str
    path: str = ""
    method: str = ""
    chance: float = 1.0
    times: int = -1
    seconds: float = 0.0
    status: int = 503

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"fault kind {self.kind!r} is unknown; there is {', '.join(KINDS)}")
        if not 0 < self.chance <= 1:
            raise ConfigError(f"fault chance must be above 0 and at most 1, not {self.chance}")

    @classmethod
    def of(cls, body: dict[str, Any]) -> Fault:
        """From JSON; ConfigError names a key that is unknown or of the wrong type."""
        hints = get_type_hints(cls)
        for name, value in body.items():
            wanted = hints.get(name)
            if wanted is None or not isinstance(value, (int, float) if wanted is float else get_args(wanted) or wanted):
                raise ConfigError(
                    f"fault key {name!r} is unknown or not of the right type; there is {', '.join(hints)}"
                )
        return cls(**body)


@dataclass(slots=True)
class Faults:
    """The faults in force, drawn from `random`; `counts` is how often each kind struck."""

    random: np.random.Generator
    active: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, **how: Any) -> Fault:
        """Puts a fault in force."""
        fault = Fault.of({"kind": kind, **how})
        self.active.append(fault)
        return fault

    def heal(self) -> None:
        """Takes all faults away."""
        self.active.clear()

    def strikes(self, kind: str, path: str = "", method: str = "") -> Fault | None:
        """The fault of this kind that happens now, counted, or None."""
        for fault in self.active:
            if fault.kind == kind and fault.path in path and fault.method in ("", method) and fault.times:
                if fault.chance < 1 and self.random.random() >= fault.chance:
                    continue
                fault.times -= fault.times > 0
                self.counts[kind] += 1
                return fault
        return None

    def standing(self, kind: str) -> Fault | None:
        """A fault that is a state, such as maintenance, without counting it."""
        return next((fault for fault in self.active if fault.kind == kind and fault.times), None)
