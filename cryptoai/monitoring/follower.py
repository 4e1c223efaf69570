"""Follows a journal that somebody else writes: whole, verified records, each once, from the start of the file.

Used by the dashboard. The file may not exist yet, may end torn in the middle of a line, may grow while it is read, and
may be replaced by a new run's. It must never show a record that does not continue the chain: damage stops it until the
file is replaced.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptoai.core.errors import DataError
from cryptoai.core.journal import GENESIS, Record, decode
from cryptoai.monitoring.health import Source

__all__ = ["Follower", "News"]

_CHUNK = 1_000_000


@dataclass(frozen=True, slots=True)
class News:
    """What one poll found; `restarted`: the records start a new file, so what came before is to be forgotten."""

    records: tuple[Record, ...]
    restarted: bool
    more: bool


class Follower:
    """`poll` reads what is new, at most about 1 MB a call; `source` says how the file is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._offset, self._seq, self._prev = 0, 0, GENESIS
        self.source = Source(path.name)

    def poll(self) -> News:
        try:
            file = self._path.open("rb")
        except OSError as error:
            return self._absent(error)
        with file:
            about = os.fstat(file.fileno())
            identity = (about.st_dev, about.st_ino)
            restarted = self._identity is not None and (identity != self._identity or about.st_size < self._offset)
            if restarted:
                self._offset, self._seq, self._prev = 0, 0, GENESIS
            known = None if restarted else self.source.error
            self._identity = identity
            file.seek(self._offset)
            records, fault = ((), known) if known else self._decode(file.read(_CHUNK))
        self.source = Source(self._path.name, True, self._offset, about.st_size, about.st_mtime_ns, fault)
        return News(records, restarted, more=fault is None and bool(records) and self._offset < about.st_size)

    def _decode(self, chunk: bytes) -> tuple[tuple[Record, ...], str | None]:
        """(records, what is wrong after them); a line without its end waits for the next poll."""
        records: list[Record] = []
        for line in chunk.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                record = decode(line, self._seq, self._prev)
            except DataError as error:
                return tuple(records), str(error)
            self._offset += len(line)
            self._seq, self._prev = record.seq + 1, record.sum
            records.append(record)
        return tuple(records), None

    def _absent(self, error: OSError) -> News:
        gone = self._identity is not None
        missing = isinstance(error, FileNotFoundError)
        self._identity, self._offset, self._seq, self._prev = None, 0, 0, GENESIS
        self.source = Source(self._path.name, error=None if missing else f"{self._path.name}: {error.strerror}")
        return News((), gone, more=False)
