"""The live state behind the page: one task follows the journal, every browser gets what changed.

Run by the dashboard's lifespan. The file is read in a worker thread, a megabyte at a time, so that a long journal never
holds the page up. A browser that cannot keep up is dropped, not buffered: it reconnects and gets a fresh snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from cryptoai.core.clock import Clock
from cryptoai.core.journal import Record
from cryptoai.monitoring.drift_watch import DriftWatch
from cryptoai.monitoring.follower import Follower
from cryptoai.monitoring.health import Source, assess
from cryptoai.monitoring.journal_view import JournalView

__all__ = ["Live"]

_POLL_S = 0.25
_DRIFT_EVERY = 8
_QUEUE = 16


@dataclass
class Live:
    """What the page shows now. `run` keeps it current; `subscribe` is one browser's stream of messages."""

    follower: Follower
    drift_watch: DriftWatch
    clock: Clock
    title: str
    state_log: Path | None = None
    view: JournalView = field(default_factory=JournalView)
    drift: dict[str, Any] = field(default_factory=lambda: {"groups": [], "reference": "", "note": None})
    _clients: set[asyncio.Queue[bytes | None]] = field(default_factory=set)
    _polls: int = 0
    _health: dict[str, str] = field(default_factory=dict)
    _unreadable: str | None = None
    _behind: bool = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            more = await self.refresh()
            await asyncio.sleep(0 if more else _POLL_S)

    async def refresh(self) -> bool:
        """One poll; True if there is more to read at once."""
        news = await asyncio.to_thread(self.follower.poll)
        if news.restarted:
            self.view, self._polls, self._unreadable = JournalView(), 0, None
        self._fold(news.records)
        self._polls += 1
        if news.more:
            self._behind = True
            return True
        moved = self._polls % _DRIFT_EVERY == 1 and await self._measure_drift()
        health = self.health()
        if news.restarted or self._behind:
            self.view.delta()
            self._tell(self.snapshot())
        elif news.records or moved or health != self._health:
            self._tell(self._delta(with_drift=moved))
        self._health, self._behind = health, False
        return False

    async def _measure_drift(self) -> bool:
        """Whether it changed."""
        before = self.drift
        self.drift = await asyncio.to_thread(self.drift_watch.report, list(self.view.outputs))
        return self.drift != before

    @property
    def source(self) -> Source:
        """The file as the follower knows it, or as this version cannot read it."""
        source = self.follower.source
        if self._unreadable is None:
            return source
        return Source(source.name, True, source.offset, source.size, source.changed_ns, self._unreadable)

    def health(self) -> dict[str, str]:
        return assess(self.view.head(), self.source, self.clock.now_ns()).body()

    def snapshot(self) -> bytes:
        """The whole page as one message."""
        return self._message("snapshot", {**self.view.snapshot(), "drift": self.drift})

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[asyncio.Queue[bytes | None]]:
        """A queue that starts with a snapshot; None in it means that the browser was too slow and has to go."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUE)
        queue.put_nowait(self.snapshot())
        self._clients.add(queue)
        try:
            yield queue
        finally:
            self._clients.discard(queue)

    def _fold(self, records: tuple[Record, ...]) -> None:
        for record in records:
            try:
                self.view.apply(record)
            except (KeyError, TypeError, ValueError) as error:
                self._unreadable = f"record {record.seq} ({record.kind}) is not as this version writes it: {error!r}"
                return

    def _delta(self, *, with_drift: bool) -> bytes:
        return self._message("delta", {**self.view.delta(), **({"drift": self.drift} if with_drift else {})})

    def _message(self, kind: str, content: dict[str, Any]) -> bytes:
        source = self.source
        about = {
            "journal": source.name,
            "changed": source.changed_ns / 1e9,
            "now": self.clock.now_ns() / 1e9,
            "health": self.health(),
            "title": self.title,
        }
        return orjson.dumps({"type": kind, **about, **content})

    def _tell(self, message: bytes) -> None:
        """To everyone; who has not taken the last messages is told to go."""
        for queue in list(self._clients):
            try:
                queue.put_nowait(message)
            except asyncio.QueueFull:
                self._clients.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
