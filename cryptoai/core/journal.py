"""The journal: the one log of decisions, verdicts, orders, fills and alerts, readable by anyone, changed by no one.

Format: one JSON object a line, UTF-8, keys sorted, no spaces. Each record carries the checksum of the one before
(`prev`) and of itself (`sum`, SHA-256 over prev, seq, time, kind, body; 32 hex digits), so that a changed, missing or
reordered line is found. A last line without its newline is torn, what kill -9 or a full disk leaves: it is cut off on
the next open; damage anywhere else is an error. One process writes a journal (the file is locked), any number reads it.
The writer is used by execution; readers are monitoring, deployment gates and people.
This module must never write a record in the middle, and never the wall clock into one.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from cryptoai.core.closing import Closing
from cryptoai.core.errors import DataError, InvariantError
from cryptoai.core.ids import content_hash

__all__ = ["GENESIS", "Journal", "Record", "decode", "encode", "read_journal"]

GENESIS = "0" * 32
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, slots=True)
class Record:
    """One line. `time` is ns UTC of the kernel's clock; `body` is JSON-ready."""

    seq: int
    time: int
    kind: str
    body: dict[str, Any]
    prev: str
    sum: str


def _checksum(prev: str, seq: int, time: int, kind: str, body: dict[str, Any]) -> str:
    return content_hash(_ENCODER.encode([prev, seq, time, kind, body]).encode(), 32)


def _line(record: Record) -> bytes:
    fields = {"seq": record.seq, "t": record.time, "kind": record.kind, "body": record.body}
    return _ENCODER.encode(fields | {"prev": record.prev, "sum": record.sum}).encode() + b"\n"


def encode(seq: int, time: int, kind: str, body: dict[str, Any], prev: str) -> tuple[Record, bytes]:
    """The record and its line, newline included; InvariantError if the body would not read back as it is."""
    try:
        record = Record(seq, time, kind, body, prev, _checksum(prev, seq, time, kind, body))
        line = _line(record)
        return decode(line, seq, prev), line
    except (DataError, TypeError, ValueError) as error:
        raise InvariantError(f"journal record {seq} ({kind}) has a body that JSON cannot carry: {error}") from None


def decode(line: bytes, expected_seq: int, prev: str) -> Record:
    """The record of a line that continues the chain; DataError says what does not fit."""
    try:
        raw = json.loads(line)
        record = Record(raw["seq"], raw["t"], raw["kind"], raw["body"], raw["prev"], raw["sum"])
        intact = record.sum == _checksum(record.prev, record.seq, record.time, record.kind, record.body)
        as_written = _line(record) == line
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"journal record {expected_seq} is not readable: {error}") from None
    if not (intact and as_written):
        raise DataError(f"journal record {expected_seq} was changed: its checksum does not match")
    if record.seq != expected_seq or record.prev != prev:
        raise DataError(f"journal record {expected_seq} does not follow the one before it: a line is missing or moved")
    return record


def read_journal(path: Path, *, start: int = 0, follow_from: tuple[int, int, str] | None = None) -> Iterator[Record]:
    """Verified records with seq >= `start`; a torn last line is skipped, other damage raises DataError.

    `follow_from` = (byte offset, next seq, prev sum) goes on where an earlier reader stopped.
    """
    for record, _ in _records(path, *(follow_from or (0, 0, GENESIS))):
        if record.seq >= start:
            yield record


def _records(path: Path, offset: int, seq: int, prev: str) -> Iterator[tuple[Record, int]]:
    """Verified whole records from `offset`, each with the offset behind it."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"journal {path} cannot be read: {error.strerror}; give the journal of a run") from None
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            record = decode(line, seq, prev)
            seq, prev, offset = seq + 1, record.sum, offset + len(line)
            yield record, offset


class Journal(Closing):
    """Append-only writer. `append` returns only after the record is on its way to disk; with `durable` it is there.

    Opening an existing file verifies it, cuts a torn tail and goes on after the last whole record.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self._durable = durable
        self._file = _open(path)
        try:
            _lock(self._file.fileno(), path)
            self._seq, self._prev, self._size = 0, GENESIS, 0
            for record, self._size in _records(path, 0, 0, GENESIS):
                self._seq, self._prev = record.seq + 1, record.sum
            self._file.truncate(self._size)
        except DataError:
            self._file.close()
            raise
        if durable:
            _sync_folder(path.parent)

    @property
    def next_seq(self) -> int:
        return self._seq

    def append(self, kind: str, time: int, body: dict[str, Any]) -> Record:
        """Writes one record; on a failed write the file is cut back, so that it never ends torn by us."""
        record, line = encode(self._seq, time, kind, body, self._prev)
        try:
            if self._file.write(line) != len(line):
                raise OSError(28, "No space left on device")
            if self._durable:
                os.fdatasync(self._file.fileno())
        except OSError as error:
            self._file.truncate(self._size)
            raise DataError(
                f"journal {self.path}: {error.strerror}; free space there, nothing written is lost"
            ) from error
        self._seq, self._prev, self._size = record.seq + 1, record.sum, self._size + len(line)
        return record

    def close(self) -> None:
        self._file.close()


def _open(path: Path) -> FileIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab", buffering=0)
    except OSError as error:
        raise DataError(f"journal {path} cannot be written: {error.strerror}; choose another file") from None


def _lock(handle: int, path: Path) -> None:
    """Held until the file is closed or the process ends, however it ends."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(f"journal {path} is being written by another bot; stop it or choose another file") from None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
