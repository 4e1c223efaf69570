"""The states that a bot decided on, kept beside its journal for drift: a flat file of float32 rows.

Written by the bot's runner after each decision (`StateLog.append`), read by the dashboard (`read_states`). The journal
holds only the hash of a state; this file is for statistics, may be lost without harm, and must never be read for a
decision.

Layout, little-endian: a header of 80 bytes (magic `CAISTAT1`, uint32 width, uint32 reserved, 64 bytes schema hash
padded with zeros), then rows of 16 + 5*width bytes: int64 known_at (ns), 8 bytes instrument tag (the start of SHA-256
of its id), float32 values, one mask byte each. A torn last row is ignored by readers and cut by the next writer. When
the file holds `max_rows`, the newer half is kept.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryptoai.core.closing import Closing
from cryptoai.core.errors import DataError
from cryptoai.core.state import StateVector

__all__ = ["StateLog", "States", "read_states"]

_MAGIC = b"CAISTAT1"
_HEADER = struct.Struct("<8sII64s")
_ROW_HEAD = struct.Struct("<q8s")


@dataclass(frozen=True, slots=True)
class States:
    """Rows of one file: times int64[N] (ns), values float32[N, width], mask bool[N, width] (True = present)."""

    schema_hash: str
    times: NDArray[np.int64]
    values: NDArray[np.float32]
    mask: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.times)


class StateLog(Closing):
    """Append-only writer of one bot's states."""

    def __init__(self, path: Path, schema_hash: str, width: int, *, max_rows: int = 65_536) -> None:
        """Opens or makes the file; one of another schema or width is started anew."""
        self._path, self._max_rows = path, max_rows
        self._header = _HEADER.pack(_MAGIC, width, 0, schema_hash.encode()[:64])
        self._row = _row_bytes(width)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._rows = self._resume()

    def append(self, state: StateVector) -> None:
        """Adds one state. OSError if the disk is full: the caller goes on without drift."""
        if self._rows >= self._max_rows:
            self._compact()
        row = _ROW_HEAD.pack(state.known_at, _tag(state.instrument)) + state.values + state.mask
        if len(row) != self._row:
            raise DataError(f"state log {self._path.name} takes {self._row} bytes a state, not {len(row)}")
        whole = self._file.tell()
        try:
            if self._file.write(row) != len(row):
                raise OSError(28, "No space left on device", str(self._path))
        except OSError:
            self._file.truncate(whole)
            raise
        self._rows += 1

    def close(self) -> None:
        self._file.close()

    def _resume(self) -> int:
        """Rows of a file that fits; what is torn or foreign goes."""
        size = self._file.tell()
        with self._path.open("rb") as file:
            same = file.read(_HEADER.size) == self._header
        if not same:
            self._file.truncate(0)
            self._file.write(self._header)
            return 0
        rows = (size - _HEADER.size) // self._row
        self._file.truncate(_HEADER.size + rows * self._row)
        self._file.seek(0, os.SEEK_END)
        return rows

    def _compact(self) -> None:
        """Keeps the newer half, through a rename: a reader sees the old file or the new one."""
        keep = self._max_rows // 2
        with self._path.open("rb") as file:
            file.seek(_HEADER.size + (self._rows - keep) * self._row)
            rest = file.read(keep * self._row)
        fresh = self._path.with_suffix(".tmp")
        fresh.write_bytes(self._header + rest)
        fresh.replace(self._path)
        self._file.close()
        self._file = self._path.open("ab", buffering=0)
        self._rows = keep


def read_states(path: Path, *, first: int = 0, newest: int = 0) -> States | None:
    """The `first` oldest rows or the `newest` ones; None where there is no file. DataError if it is not a state log."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        width, schema_hash = _read_header(file.read(_HEADER.size), path)
        size = _row_bytes(width)
        rows = (os.fstat(file.fileno()).st_size - _HEADER.size) // size
        count = min(rows, first or newest or rows)
        if not first:
            file.seek(_HEADER.size + (rows - count) * size)
        raw = file.read(count * size)
    return _unpack(raw[: len(raw) // size * size], width, schema_hash)


def _unpack(raw: bytes, width: int, schema_hash: str) -> States:
    kind: Any = np.dtype([("t", "<i8"), ("tag", "S8"), ("values", "<f4", (width,)), ("mask", "u1", (width,))])
    rows = np.frombuffer(raw, kind)
    return States(schema_hash, rows["t"].astype(np.int64), rows["values"].astype(np.float32), rows["mask"] != 0)


def _read_header(raw: bytes, path: Path) -> tuple[int, str]:
    if len(raw) < _HEADER.size or not raw.startswith(_MAGIC):
        raise DataError(f"{path.name} is not a state log; delete it and the bot writes a new one")
    _, width, _, schema_hash = _HEADER.unpack(raw)
    return width, schema_hash.rstrip(b"\0").decode()


def _row_bytes(width: int) -> int:
    return _ROW_HEAD.size + 5 * width


def _tag(instrument: str) -> bytes:
    return hashlib.sha256(instrument.encode()).digest()[:8]
