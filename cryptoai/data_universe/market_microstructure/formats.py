"""The forms that recordings come in, and how a file tells which it is. Each gives envelopes: one line each, in order.

The importer reads every recording through a `Source`; `open_source` finds the form. Known forms:

- raw lines: `<local ns> <json>`, as capture scripts of Binance write them and as our recorder does (`recording`);
- captures of several connections to a venue: NAME.0 (instruments), NAME.http.N.0 (REST replies), NAME.ws.N.0
  (messages), lines `<local s>: <json>`, `<url> -> <local s>: <json>` and, sent by the client, `<url> <- ...`;
- Tardis-style CSV (`tardis`).

Nothing here judges content. A form that is not known is refused in one sentence.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, Protocol

from cryptoai.core.errors import DataError
from cryptoai.data_universe.market_microstructure.capture import CaptureFile, Progress
from cryptoai.data_universe.market_microstructure.messages import Break, Ignored, Item
from cryptoai.data_universe.market_microstructure.tardis import TardisFile, is_tardis
from cryptoai.data_universe.market_microstructure.venues.catalog import CAPTURE_NAMES

__all__ = ["CONNECTION_LINE", "ConnectionCapture", "Envelope", "RawCapture", "Source", "TardisCapture", "open_source"]

_MEMBER = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_.\-]*?)(?P<part>\.(?:ws|http)\.\d+)?\.(?P<run>\d+)(?:\.gz)?")
_OWN = re.compile(rb"(?P<time>\d+(?:\.\d+)?): ?(?P<body>.*)", re.DOTALL)
_URL = re.compile(rb"(?P<url>\w+://\S+) (?P<way><->|<-|->) (?P<time>\d+(?:\.\d+)?)(?:: ?(?P<body>.*))?", re.DOTALL)

CONNECTION_LINE = re.compile(rb"(?:%b)|(?:%b)" % (rb"\d+\.\d+: .*", rb"\w+://\S+ (?:<->|<-|->) \d.*"), re.DOTALL)
"""Looks like a line of a capture of several connections."""


class Envelope(NamedTuple):
    """One line: local time in ns (-1 if it has none), the JSON text or items already decoded, and the address of a
    REST reply. `line` is what is kept if it is refused."""

    local: int
    body: bytes | list[Item]
    hint: str
    line: bytes


class Source(Protocol):
    """A recording; `damage` says after `envelopes` why the end could not be reached."""

    path: Path
    form: str

    @property
    def damage(self) -> str | None: ...

    def sha256(self) -> str:
        """Of every byte that makes up the recording."""
        ...

    def envelopes(self, on_progress: Progress | None = None) -> Iterator[Envelope]:
        """Every line in order of arrival."""
        ...


class RawCapture:
    """`<local ns> <json>` lines."""

    form = "raw capture, '<local ns> <json>' lines"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = CaptureFile(path)

    @property
    def damage(self) -> str | None:
        return self.file.damage

    def sha256(self) -> str:
        return self.file.sha256()

    def envelopes(self, on_progress: Progress | None = None) -> Iterator[Envelope]:
        return map(raw_envelope, self.file.lines(on_progress))


def raw_envelope(line: bytes) -> Envelope:
    """One raw line."""
    local, _, body = line.partition(b" ")
    return Envelope(int(local) if local.isdigit() and len(local) < 20 else -1, body, "", line)


class ConnectionCapture:
    """The files of one run: NAME.ws.N.RUN and NAME.http.N.RUN beside the given file, merged by time of arrival."""

    form = "raw capture of several connections"

    def __init__(self, path: Path) -> None:
        found = _MEMBER.fullmatch(path.name)
        if found is None:
            raise DataError(f"{path} is no file of a capture; its name must be like BYBIT.ws.1.0")
        self.path, self.name, self._run = path, found["name"], found["run"]
        siblings = [(_MEMBER.fullmatch(file.name), file) for file in sorted(path.parent.iterdir())]
        run = [(m, file) for m, file in siblings if m and (m["name"], m["run"]) == (self.name, self._run)]
        self.info = next((file for m, file in run if not m["part"]), None)
        self._files = [CaptureFile(file) for m, file in run if m["part"]]
        if not self._files:
            raise DataError(f"there is no {self.name}.ws file beside {path}; a capture needs its messages")

    @property
    def damage(self) -> str | None:
        return next((file.damage for file in self._files if file.damage), None)

    def sha256(self) -> str:
        return hashlib.sha256("".join(file.sha256() for file in self._files).encode()).hexdigest()

    def envelopes(self, on_progress: Progress | None = None) -> Iterator[Envelope]:
        share = 1 / len(self._files)
        done = [0.0] * len(self._files)

        def advance(place: int) -> Callable[[float], None] | None:
            def report(part: float) -> None:
                done[place] = part
                if on_progress:
                    on_progress(min(1.0, share * sum(done)))

            return report if on_progress else None

        streams = [self._stream(file, advance(i)) for i, file in enumerate(self._files)]
        return heapq.merge(*streams, key=attrgetter("local"))

    def _stream(self, file: CaptureFile, on_progress: Progress | None) -> Iterator[Envelope]:
        """Lines without a time take the time of the line before, so that the merge keeps them in place."""
        opened, last = False, 0
        for line in file.lines(on_progress):
            envelope = _connection_line(line, opened=opened)
            opened = opened or b" <-> " in line[:4096]
            last = envelope.local if envelope.local > 0 else last
            yield envelope if envelope.local > 0 else envelope._replace(local=last)


class TardisCapture:
    """A CSV file of one Tardis data type."""

    form = "Tardis-style CSV"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.table = TardisFile(path)

    @property
    def damage(self) -> str | None:
        return self.table.file.damage

    def sha256(self) -> str:
        return self.table.file.sha256()

    def envelopes(self, on_progress: Progress | None = None) -> Iterator[Envelope]:
        for local, items, line in self.table.messages(on_progress):
            yield Envelope(local, items, "", line)


def open_source(path: Path) -> Source:
    """The recording that `path` (a file, or a folder with the files of one) is; `DataError` if it is none."""
    if path.is_dir():
        path = _only_member(path)
    member = _MEMBER.fullmatch(path.name)
    if member and (member["part"] or _has_parts(path, member["name"])):
        _refuse_unknown(member["name"])
        return ConnectionCapture(path)
    first = CaptureFile(path).first_line()
    if is_tardis(first):
        return TardisCapture(path)
    if _OWN.fullmatch(first) or _URL.fullmatch(first):
        raise DataError(f"{path} holds messages of a connection, but its name does not tell the venue (BYBIT.ws.1.0)")
    return RawCapture(path)


def _connection_line(line: bytes, *, opened: bool) -> Envelope:
    own = _OWN.fullmatch(line)
    if own:
        return Envelope(_ns(own["time"]), own["body"], "", line)
    about = _URL.fullmatch(line)
    if about is None:
        return Envelope(-1, line, "", line)
    if about["way"] == b"->":
        return Envelope(_ns(about["time"]), about["body"] or b"", about["url"].decode(errors="replace"), line)
    reconnected = about["way"] == b"<->" and opened
    item: Item = Break("connection opened anew") if reconnected else Ignored("sent by the client")
    return Envelope(_ns(about["time"]), [item], "", line)


def _ns(seconds: bytes) -> int:
    whole, _, rest = seconds.decode().partition(".")
    return int(whole) * 10**9 + int(rest[:9].ljust(9, "0"))


def _has_parts(path: Path, name: str) -> bool:
    return any(path.parent.glob(f"{name}.ws.*"))


def _only_member(folder: Path) -> Path:
    members = [(m["name"], f) for f in sorted(folder.iterdir()) if (m := _MEMBER.fullmatch(f.name)) and m["part"]]
    names = sorted({name for name, _ in members})
    if len(names) != 1:
        listed = ", ".join(names) or "none"
        raise DataError(f"folder {folder} holds captures of {listed}; name one file, for example NAME.ws.1.0")
    return members[0][1]


def _refuse_unknown(name: str) -> None:
    if name.upper() not in CAPTURE_NAMES:
        known = ", ".join(CAPTURE_NAMES)
        raise DataError(f"captures of {name} are not understood; the venues that are: {known}")
