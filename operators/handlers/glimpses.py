"""What the watch saw of each bot's spec, generation by generation, until a status tells of it.

A reconcile reads the newest spec only. A kill switch that was engaged and taken back in between would leave no trace
there, so the watch's handler notes every generation here, and the plan is told what passed since the last status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptoai.core.errors import TransientError
from operators.handlers.queue import Key
from operators.plans.latch import engaged, words
from operators.plans.model import Glimpse

__all__ = ["Glimpses"]

_MOST = 200


@dataclass
class _Seen:
    uid: str
    generations: dict[int, Mapping[str, str] | None] = field(default_factory=dict)


@dataclass
class Glimpses:
    """Lives as long as the leader does: a new one has seen nothing but what its first list brings."""

    _bots: dict[Key, _Seen] = field(default_factory=dict)

    def note(self, bot: Mapping[str, Any]) -> None:
        """One event of the watch, in the order of the server."""
        metadata = bot["metadata"]
        key, uid = (metadata["namespace"], metadata["name"]), metadata["uid"]
        seen = self._bots.get(key)
        if seen is None or seen.uid != uid:
            seen = self._bots[key] = _Seen(uid)
        spec = bot.get("spec")
        seen.generations[metadata["generation"]] = words(spec) if engaged(spec) else None
        while len(seen.generations) > _MOST:
            seen.generations.pop(min(seen.generations))

    def forget(self, key: Key) -> None:
        self._bots.pop(key, None)

    def since(self, bot: Mapping[str, Any]) -> Glimpse:
        """What passed between the generation of the status and that of the spec.

        TransientError while the watch lags behind: it brings every generation in order, so when the newest is there,
        those that are missing will never come.
        """
        metadata = bot["metadata"]
        newest, told = metadata["generation"], (bot.get("status") or {}).get("observedGeneration")
        seen = self._bots.get((metadata["namespace"], metadata["name"]))
        known = seen.generations if seen and seen.uid == metadata["uid"] else {}
        passed = range((told or 0) + 1, newest)
        if passed and newest not in known:
            raise TransientError("the watch has not brought the newest spec yet")
        kills = [said for generation in passed if (said := known.get(generation))]
        unseen = told is not None and any(generation not in known for generation in passed)
        return Glimpse(kills[-1] if kills else None, unseen)
