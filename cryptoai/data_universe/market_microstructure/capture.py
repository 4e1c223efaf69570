"""The file under a tape: lines of a capture, plain or gzip, read once and forward with bounded memory.

The importer reads through it. A file that ends early or is damaged gives every line that could be read, then says why
it stopped; it never raises for that and never invents the rest.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path

from cryptoai.core.errors import DataError

__all__ = ["CaptureFile", "Progress"]

Progress = Callable[[float], None]
"""Called now and then with the share of the file that has been read, 0 to 1."""

_GZIP = b"\x1f\x8b"
_LONGEST = 1 << 24
_BLOCK = 1 << 20
_REPORT_EVERY = 4096


class CaptureFile:
    """One capture; `damage` says after `lines` why the end could not be reached."""

    def __init__(self, path: Path) -> None:
        """`DataError` if there is no such file, it cannot be opened or it has no bytes."""
        self.path = path
        self.damage: str | None = None
        try:
            self._size = path.stat().st_size
            with path.open("rb") as raw:
                self._zipped = raw.read(2) == _GZIP
        except OSError as error:
            raise DataError(f"capture {path} cannot be read: {error.strerror or error}") from error
        if not self._size:
            raise DataError(f"capture {path} is empty; record or copy it again")

    def sha256(self) -> str:
        """Of the file's bytes as they lie on disk."""
        with self.path.open("rb") as raw:
            return hashlib.file_digest(raw, "sha256").hexdigest()

    def first_line(self) -> bytes:
        """Without its newline; empty if there is none that can be read."""
        return next(iter(CaptureFile(self.path).lines()), b"")

    def blocks(self, on_progress: Progress | None = None) -> Iterator[bytes]:
        """The same bytes in blocks of whole lines, about 1 MiB each; the last one may lack its newline."""
        with self.path.open("rb") as raw:
            carried = b""
            for piece in self._guarded(self._pieces(raw, on_progress)):
                cut = piece.rfind(b"\n") + 1
                if not cut and len(carried) < _LONGEST:
                    carried += piece
                    continue
                yield carried + piece[:cut]
                carried = piece[cut:]
            if carried:
                yield carried
        if on_progress:
            on_progress(1.0)

    def lines(self, on_progress: Progress | None = None) -> Iterator[bytes]:
        """Every line that can be read, without its newline; one longer than 16 MiB comes in pieces."""
        with self.path.open("rb") as raw:
            yield from self._guarded(self._split(raw, on_progress))
        if on_progress:
            on_progress(1.0)

    def _guarded(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from pieces
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self.damage = f"gzip stream breaks off ({error}); everything before was read"
        except OSError as error:
            self.damage = f"reading failed ({error.strerror or error}); everything before was read"

    def _pieces(self, raw: BufferedReader, on_progress: Progress | None) -> Iterator[bytes]:
        """About 1 MiB each; what was read before the stream breaks off comes before the error."""
        stream, failure = self._stream(raw), None
        parts: list[bytes] = []
        while True:
            try:
                part = stream.read1(_BLOCK)
            except (EOFError, OSError, zlib.error) as error:
                part, failure = b"", error
            parts.append(part)
            if parts and (not part or sum(map(len, parts)) >= _BLOCK):
                yield b"".join(parts)
                parts = []
                if on_progress:
                    on_progress(raw.tell() / self._size)
            if not part:
                break
        if failure:
            raise failure

    def _split(self, raw: BufferedReader, on_progress: Progress | None) -> Iterator[bytes]:
        stream = self._stream(raw)
        count = 0
        while line := stream.readline(_LONGEST):
            count += 1
            if on_progress and count % _REPORT_EVERY == 0:
                on_progress(raw.tell() / self._size)
            if not line.isspace():
                yield line.rstrip(b"\r\n")

    def _stream(self, raw: BufferedReader) -> BufferedReader | gzip.GzipFile:
        # no second buffer around GzipFile: where the stream breaks off, it would throw away what it had read
        return gzip.GzipFile(fileobj=raw) if self._zipped else raw
