"""What our own recorder writes between a venue's raw messages: lines that make a recording explain itself.

A recording is raw lines, `<local ns> <json>`; JSON objects with the key `cryptoai` are ours. The recorder makes them,
the importer understands them:

    {"cryptoai": "start", "venue": ..., "instruments": [...], "clock_error_ns": n}   first line of each file
    {"cryptoai": "book", "symbol": ..., "last": id or null, "bids": [...], "asks": [...]}    the book carried over
    {"cryptoai": "rest", "url": ..., "body": ...}                                    a REST reply, as it came
    {"cryptoai": "hole", "reason": ..., "symbol": ... or null}                       what follows may lack messages
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash
from cryptoai.core.instruments import Instrument
from cryptoai.data_universe.market_microstructure.messages import Break, Decoder, Depth, Ignored, Item

__all__ = [
    "MARK",
    "Start",
    "book_line",
    "hole_line",
    "items",
    "recording_fingerprint",
    "rest_line",
    "start_line",
    "started",
]

MARK = "cryptoai"
"""Key of the lines that are ours."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Start:
    """What the first line of a recording says."""

    venue: str
    instruments: tuple[Instrument, ...]
    clock_error_ns: int


def start_line(start: Start) -> bytes:
    """First line of a file."""
    listed = [made.model_dump(mode="json") for made in start.instruments]
    head = {MARK: "start", "version": _VERSION, "venue": start.venue, "clock_error_ns": start.clock_error_ns}
    return orjson.dumps({**head, "instruments": listed})


def book_line(symbol: str, last: int | None, bids: Sequence[Sequence[str]], asks: Sequence[Sequence[str]]) -> bytes:
    """The book at the moment a file begins, so that each file stands alone."""
    return orjson.dumps({MARK: "book", "symbol": symbol, "last": last, "bids": bids, "asks": asks})


def rest_line(url: str, body: bytes) -> bytes:
    """A REST reply around its own bytes."""
    return b'{"%b":"rest","url":%b,"body":%b}' % (MARK.encode(), orjson.dumps(url), body.strip() or b"null")


def hole_line(reason: str, symbol: str | None = None) -> bytes:
    """From here on messages may be missing."""
    return orjson.dumps({MARK: "hole", "reason": reason, "symbol": symbol})


def started(line: bytes) -> Start | None:
    """The start that a raw line declares, None if it is another line; `DataError` if it is one of another version."""
    body = line.partition(b" ")[2]
    if not body.startswith(b'{"%b":"start"' % MARK.encode()):
        return None
    found = orjson.loads(body)
    if found["version"] != _VERSION:
        raise DataError(f"the recording has version {found['version']}, not {_VERSION}")
    instruments = tuple(Instrument.model_validate(each) for each in found["instruments"])
    return Start(found["venue"], instruments, found["clock_error_ns"])


def recording_fingerprint(first_line: bytes, instrument: Instrument) -> str:
    """32 hex digits that name one file of a recording and an instrument, before the file is complete."""
    return content_hash(first_line + instrument.model_dump_json().encode(), 32)


def items(message: dict[str, Any], decoder: Decoder) -> list[Item]:
    """What one of our lines means to the importer."""
    kind = message[MARK]
    if kind == "book":
        bids, asks = message["bids"], message["asks"]
        return [Depth(message["symbol"], 0, bids, asks, snapshot=True, last=message["last"], name="book carried over")]
    if kind == "rest":
        return list(decoder.decode(message["body"], message["url"]))
    if kind == "hole":
        return [Break(message["reason"], message["symbol"])]
    return [Ignored("head of the recording")]
