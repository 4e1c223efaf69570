"""The journal: the one log of decisions, verdicts, orders, fills and alerts, readable by anyone, changed by no one.

Format: one JSON object a line, UTF-8, keys sorted, no spaces. Each record carries the checksum of the one before
(`prev`) and of itself (`sum`, SHA-256 over prev, seq, time, kind, body; 32 hex digits), so that a changed, missing or
reordered line is found. A torn last line, what kill -9 or a full disk leaves, is cut off on the next open; damage
anywhere else is an error. The writer is used by execution; readers are monitoring, deployment gates and people.
This module must never write a record in the middle, and never the wall clock into one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash

__all__ = ["GENESIS", "Journal", "Record", "decode", "encode", "read_journal"]

GENESIS = "0" * 32


@dataclass(frozen=True, slots=True)
class Record:
    """One line. `time` is ns UTC of the kernel's clock; `body` is JSON-ready."""

    seq: int
    time: int
    kind: str
    body: dict[str, Any]
    prev: str
    sum: str


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _checksum(prev: str, seq: int, time: int, kind: str, body: dict[str, Any]) -> str:
    return content_hash(_canonical([prev, seq, time, kind, body]).encode(), 32)


def encode(seq: int, time: int, kind: str, body: dict[str, Any], prev: str) -> tuple[Record, bytes]:
    """The record and its line, newline included."""
    record = Record(seq, time, kind, body, prev, _checksum(prev, seq, time, kind, body))
    line = {"seq": seq, "t": time, "kind": kind, "body": body, "prev": prev, "sum": record.sum}
    return record, _canonical(line).encode() + b"\n"


def decode(line: bytes, expected_seq: int, prev: str) -> Record:
    """The record of a line that continues the chain; DataError says what does not fit."""
    try:
        raw = json.loads(line)
        record = Record(raw["seq"], raw["t"], raw["kind"], raw["body"], raw["prev"], raw["sum"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"journal record {expected_seq} is not readable: {error}") from None
    if record.seq != expected_seq or record.prev != prev:
        raise DataError(f"journal record {expected_seq} does not follow the one before it: a line is missing or moved")
    if record.sum != _checksum(prev, record.seq, record.time, record.kind, record.body):
        raise DataError(f"journal record {expected_seq} was changed: its checksum does not match")
    return record


def read_journal(path: Path, *, start: int = 0, follow_from: tuple[int, int, str] | None = None) -> Iterator[Record]:
    """Verified records with seq >= `start`; a torn last line is skipped, other damage raises DataError.

    `follow_from` = (byte offset, next seq, prev sum) goes on where an earlier reader stopped.
    """
    offset, seq, prev = follow_from or (0, 0, GENESIS)
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            record = decode(line, seq, prev)
            seq, prev = seq + 1, record.sum
            if record.seq >= start:
                yield record


class Journal:
    """Append-only writer. `append` returns only after the record is on its way to disk; with `durable` it is there.

    Opening an existing file verifies it, cuts a torn tail and goes on after the last whole record.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self._durable = durable
        path.parent.mkdir(parents=True, exist_ok=True)
        self._seq, self._prev, good = _tail(path)
        self._file = path.open("ab", buffering=0)
        if self._file.tell() != good:
            self._file.truncate(good)
        if durable:
            _sync_folder(path.parent)

    @property
    def next_seq(self) -> int:
        return self._seq

    def append(self, kind: str, time: int, body: dict[str, Any]) -> Record:
        """Writes one record; on a failed write the file is cut back, so that it never ends torn by us."""
        record, line = encode(self._seq, time, kind, body, self._prev)
        whole = self._file.tell()
        try:
            if self._file.write(line) != len(line):
                raise OSError(28, "No space left on device")
            if self._durable:
                os.fdatasync(self._file.fileno())
        except OSError as error:
            self._file.truncate(whole)
            raise DataError(
                f"journal {self.path}: {error.strerror}; free space there, nothing written is lost"
            ) from error
        self._seq, self._prev = record.seq + 1, record.sum
        return record

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _tail(path: Path) -> tuple[int, str, int]:
    """(next seq, last sum, length in bytes of the whole records)."""
    if not path.exists():
        return 0, GENESIS, 0
    seq, prev, good = 0, GENESIS, 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            record = decode(line, seq, prev)
            seq, prev, good = seq + 1, record.sum, good + len(line)
    return seq, prev, good


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
