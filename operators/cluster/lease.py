"""One leader at a time, by a Lease. Taken over only after it was seen unchanged for its whole duration.

No clock of another machine is compared with ours: what counts is how long *we* have watched the record stand still, on
a monotonic clock. A leader that cannot renew within its deadline must stop at once, which is before anybody may take
over; the process then ends, and its pod starts anew as a candidate.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cryptoai.core.clock import Clock, iso
from cryptoai.core.errors import TransientError
from operators.cluster.client import Client, ConflictError, RefusedError

__all__ = ["Election", "Standing", "Timing", "standing"]

Obj = dict[str, Any]


@dataclass(frozen=True)
class Timing:
    """Seconds. Stopping (`deadline`) lies well before being replaced (`duration`)."""

    duration: float = 10.0
    deadline: float = 6.0
    retry: float = 1.0


class Standing(Enum):
    """What a candidate may do about the record that it sees."""

    ABSENT = "there is no Lease: make it"
    OURS = "it names us: renew it"
    FREE = "it was given back: take it"
    STALE = "it stood still for its whole duration: take it"
    HELD = "somebody else holds it: wait"


def standing(lease: Obj | None, me: str, unchanged_s: float) -> Standing:
    """`unchanged_s`: how long this very record has been seen by us, on our monotonic clock."""
    if lease is None:
        return Standing.ABSENT
    spec = lease.get("spec") or {}
    holder = spec.get("holderIdentity")
    if holder == me:
        return Standing.OURS
    if not holder:
        return Standing.FREE
    return Standing.STALE if unchanged_s >= spec.get("leaseDurationSeconds", 15) else Standing.HELD


class Election:
    """`await acquire()`, then `await hold()` until it returns: from then on nothing may be written."""

    def __init__(
        self, client: Client, where: tuple[str, str], me: str, clock: Clock, timing: Timing | None = None
    ) -> None:
        self._client, self._clock, self.me = client, clock, me
        self._namespace, self._name = where
        self._timing = timing or Timing()
        self._seen: tuple[str, float] | None = None
        self._lease: Obj | None = None
        self.beat: Callable[[], None] = lambda: None

    async def acquire(self) -> None:
        """Returns when we hold it. An unreachable server is waited for."""
        while not await self._tried(self._campaign):  # noqa: ASYNC110 - what it waits for is on another machine
            await asyncio.sleep(self._timing.retry)

    async def hold(self) -> None:
        """Renews until a renewal has failed for the whole deadline or somebody else holds it, then returns."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while loop.time() - renewed < self._timing.deadline:
            await asyncio.sleep(self._timing.retry)
            left = self._timing.deadline - (loop.time() - renewed)
            started = loop.time()
            try:
                async with asyncio.timeout(max(left, 0)):
                    if await self._tried(self._renew):
                        renewed = started
            except TimeoutError:
                return

    async def release(self) -> None:
        """Gives it back, for the next one at once. Twice: a renewal that was cut short may have changed it."""
        with contextlib.suppress(RefusedError):  # the release of the chart, and our rights with it, may be gone
            if not await self._tried(self._give_back):
                await self._tried(self._give_back)

    async def _give_back(self) -> bool:
        return not await self._ours() or await self._write({"holderIdentity": ""})

    async def _ours(self) -> bool:
        """Reads it again where it is not known any more."""
        if self._lease is None:
            self._lease = await self._client.get("Lease", self._namespace, self._name)
            if standing(self._lease, self.me, 0.0) is not Standing.OURS:
                self._lease = None
        return self._lease is not None

    async def _tried(self, step: Callable[[], Any]) -> bool:
        try:
            done: bool = await step()
        except ConflictError:
            self._lease = None
            return False
        except TransientError:
            return False
        self.beat()
        return done

    async def _campaign(self) -> bool:
        lease = await self._client.get("Lease", self._namespace, self._name)
        match standing(lease, self.me, self._unchanged(lease)):
            case Standing.HELD:
                return False
            case Standing.ABSENT:
                self._lease = await self._client.create(self._fresh())
                return True
        self._lease = lease
        taken = ((lease or {}).get("spec") or {}).get("leaseTransitions", 0) + 1
        return await self._write(self._record() | {"acquireTime": self._now(), "leaseTransitions": taken})

    def _unchanged(self, lease: Obj | None) -> float:
        now = asyncio.get_running_loop().time()
        version = lease["metadata"]["resourceVersion"] if lease else ""
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
        return now - self._seen[1]

    async def _renew(self) -> bool:
        return await self._ours() and await self._write({"renewTime": self._now()})

    async def _write(self, spec: Obj) -> bool:
        assert self._lease is not None  # noqa: S101 - callers have read it
        version = {"resourceVersion": self._lease["metadata"]["resourceVersion"]}
        body = {"metadata": version, "spec": spec}
        self._lease = await self._client.patch("Lease", self._namespace, self._name, body)
        return True

    def _record(self) -> Obj:
        return {
            "holderIdentity": self.me,
            "leaseDurationSeconds": int(self._timing.duration),
            "renewTime": self._now(),
        }

    def _fresh(self) -> Obj:
        metadata = {"name": self._name, "namespace": self._namespace}
        spec = self._record() | {"acquireTime": self._now(), "leaseTransitions": 0}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    def _now(self) -> str:
        """MicroTime: exactly six digits."""
        text = iso(self._clock.now_ns())
        return f"{text[:-4]}Z"
