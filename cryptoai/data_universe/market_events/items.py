"""News items from JSON lines, RSS 2.0 and Atom: untrusted text in, plain checked items out.

Made by `cryptoai data news`. Nothing of a text is ever executed, rendered or fetched: markup is taken off, entities of
the feed's own making are refused (they can grow without bound), control characters go. Pure: bytes in, items out; an
item that cannot be trusted is refused with its reason and the rest goes on.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from xml.parsers import expat

import orjson

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash

__all__ = ["MOST_BYTES", "Batch", "Item", "parse", "plain_text"]

MOST_BYTES = 16 * 1024 * 1024
_MOST_ITEMS = 50_000
_MOST_KEPT_OUT = 1000
_TITLE, _TEXT = 500, 4000
_MOST_DEPTH = 64
_AHEAD = 300 * SECOND
_GENESIS = 1_230_940_800 * SECOND  # 2009-01-03: there was nothing to report before
_TAG = re.compile(r"<(!--|/?[a-z]+|[!?])")
_ENDS = MappingProxyType({"!--": "-->", "script": "</script>", "style": "</style>"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Item:
    """One text. Times in ns, known_at >= published; `scheduled` is a moment that it announces, 0 if none."""

    id: str
    source: str
    title: str
    text: str
    url: str
    published: int
    known_at: int
    scheduled: int = 0

    @property
    def whole(self) -> str:
        return f"{self.title} {self.text}".strip()


@dataclass(frozen=True, slots=True)
class Batch:
    """Items in the order of `known_at`; counts of refusals by reason; (reason, excerpt) of the first thousand."""

    items: tuple[Item, ...]
    refused: Mapping[str, int]
    quarantine: tuple[tuple[str, str], ...] = ()


def parse(data: bytes, source: str, seen: int, *, archive_delay_s: float | None = None) -> Batch:
    """The items of a feed or of JSON lines, told by the first character.

    `seen` (ns) is when the bytes were received: nothing in them is known earlier. Only an archive (`archive_delay_s`)
    or a JSON record with its own `seen` may be known before, and never before it was published. Raises `DataError` if
    the whole cannot be read or is larger than 16 MiB.
    """
    if len(data) > MOST_BYTES:
        raise DataError(f"{source} sent more than {MOST_BYTES >> 20} MiB; split the file or ask for a shorter feed")
    start = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    wide = start.startswith((b"\xff\xfe<", b"\xfe\xff\x00<"))  # UTF-16, as only XML comes
    records = _feed(data, source) if wide or start.startswith(b"<") else _lines(data)
    refused: Counter[str] = Counter()
    items: dict[str, Item] = {}
    quarantine: list[tuple[str, str]] = []
    for place, record in enumerate(records):
        if place >= _MOST_ITEMS:
            refused["beyond the first 50,000 items"] += 1
            continue
        try:
            item = _item(record, source, seen, archive_delay_s)
        except DataError as error:
            refused[str(error)] += 1
            quarantine.append((str(error), plain_text(dict(record), _TITLE)))
        else:
            refused["said twice"] += item.id in items
            items.setdefault(item.id, item)
    ordered = sorted(items.values(), key=lambda item: (item.known_at, item.id))
    return Batch(tuple(ordered), MappingProxyType(+refused), tuple(quarantine[:_MOST_KEPT_OUT]))


def plain_text(value: object, most: int) -> str:
    """Text without markup, scripts, control and direction characters, with single spaces, at most `most` letters."""
    raw = str(value or "")[: most * 4]
    if "<" in raw or "&" in raw:
        raw = html.unescape(" ".join(_between_tags(raw)))
    kept = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in raw)
    return " ".join(kept.split())[:most]


def _between_tags(raw: str) -> Iterator[str]:
    """The text outside of tags, comments, scripts and styles, in one pass whatever the input."""
    low, at = raw.lower(), 0
    while (start := raw.find("<", at)) >= 0:
        yield raw[at:start]
        found = _TAG.match(low, start)
        if found is None:  # a sign in the text, as in 1 < 2
            yield "<"
            at = start + 1
            continue
        end = _ENDS.get(found.group(1), ">")
        stop = low.find(end, start)
        if stop < 0:
            return
        at = stop + len(end)
    yield raw[at:]


class _Unreadable(dict[str, object]):
    """In place of a record that could not be read; no input can look like it."""

    def __init__(self, reason: str, excerpt: bytes = b"") -> None:
        super().__init__(excerpt=excerpt)
        self.reason = reason


def _item(record: Record, source: str, seen: int, archive_delay_s: float | None) -> Item:
    if isinstance(record, _Unreadable):
        raise DataError(record.reason)
    title = plain_text(record.get("title") or record.get("headline"), _TITLE)
    text = plain_text(next((record[k] for k in ("text", "body", "summary", "description") if record.get(k)), ""), _TEXT)
    if not title and not text:
        raise DataError("an item without text")
    said = next((record[name] for name in ("published", "published_at", "date", "time") if record.get(name)), None)
    published = _moment(said, seen)
    known = _moment(record.get("seen"), seen)
    if archive_delay_s is not None:
        known = published + int(archive_delay_s * SECOND)
    for when, name in ((published, "published"), (known, "seen")):
        if when > seen + _AHEAD:
            raise DataError(f"{name} in the future")
    if published < _GENESIS:
        raise DataError("published before there was a coin")
    origin = plain_text(record.get("source"), 60) or source
    url = plain_text(record.get("url") or record.get("link"), 500)
    key = str(record.get("id") or record.get("guid") or url or "") or f"{title}|{published}"
    return Item(
        id=content_hash(f"{origin}|{key}".encode(), 32),
        source=origin,
        title=title or text[:_TITLE],
        text=text,
        url=url if url.startswith(("http://", "https://")) else "",
        published=published,
        known_at=max(published, known),
        scheduled=_moment(record.get("scheduled"), 0),
    )


def _moment(value: object, default: int) -> int:
    """ISO 8601 or RFC 2822 text, or unix s or ms, as ns from 1970 to 2116; `DataError` if it is none of them."""
    if value is None:
        return default
    try:
        moment = _nanoseconds(str(value).strip())
    except (ValueError, OverflowError):
        raise DataError("a time that cannot be read") from None
    if not 0 <= moment < 2**62:
        raise DataError("a time that cannot be read")
    return moment


def _nanoseconds(text: str) -> int:
    digits = re.fullmatch(r"(\d{9,13})(?:\.\d+)?", text)
    if digits:
        number = int(digits.group(1))
        return number * (SECOND if number < 10**11 else SECOND // 1000)
    found = parsedate_to_datetime(text) if text[:1].isalpha() or "," in text else datetime.fromisoformat(text)
    span = (found if found.tzinfo else found.replace(tzinfo=UTC)) - _EPOCH
    return (span.days * 86_400 + span.seconds) * SECOND


def _lines(data: bytes) -> Iterator[Record]:
    for line in data.splitlines():
        if not line.strip():
            continue
        try:
            found = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
        except orjson.JSONDecodeError:
            found = None
        yield found if isinstance(found, dict) else _Unreadable("a line that is no JSON object", line[:200])


_FIELDS = MappingProxyType(
    {
        "title": "title",
        "description": "description",
        "encoded": "description",
        "content": "text",
        "summary": "summary",
        "guid": "id",
        "id": "id",
        "link": "link",
        "pubdate": "published",
        "published": "published",
        "updated": "updated",
        "date": "date",
        "startdate": "scheduled",
    }
)
"""Local names of RSS 2.0, Atom, Dublin Core and content modules -> ours."""


class _Feed:
    """Handlers for expat that collect the fields of `item` (RSS) and `entry` (Atom) elements."""

    def __init__(self) -> None:
        self.records: list[dict[str, object]] = []
        self._path: list[str] = []
        self._current: dict[str, object] | None = None
        self._text: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rsplit(" ", 1)[-1].lower()
        self._path.append(local)
        if len(self._path) > _MOST_DEPTH:
            raise DataError("elements nested too deep")
        if local in ("item", "entry"):
            self._current = {}
        elif self._current is not None and self._path[-2] in ("item", "entry"):
            self._text = []
            if local == "link" and attributes.get("href") and attributes.get("rel", "alternate") == "alternate":
                self._current.setdefault("link", attributes["href"])

    def text(self, data: str) -> None:
        self._text.append(data)

    def end(self, _name: str) -> None:
        local = self._path.pop()
        if local in ("item", "entry") and self._current is not None:
            self._current.setdefault("published", self._current.pop("updated", None))
            self.records.append(self._current)
            self._current = None
        elif self._current is not None and self._path[-1:] in (["item"], ["entry"]) and local in _FIELDS:
            content = "".join(self._text).strip()
            if content:
                self._current.setdefault(_FIELDS[local], content)


def _feed(data: bytes, source: str) -> Iterable[Record]:
    """Items of an RSS or Atom document. A document type, and with it every entity of its own, is refused."""
    feed = _Feed()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = feed.start
    parser.CharacterDataHandler = feed.text
    parser.EndElementHandler = feed.end
    parser.StartDoctypeDeclHandler = _no_doctype
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        if not feed.records:
            raise DataError(f"{source} is no feed that can be read: {expat.errors.messages[error.code]}") from error
        return [*feed.records, _Unreadable("the feed is damaged from here on")]
    except DataError:
        raise
    except (LookupError, ValueError) as error:
        raise DataError(f"{source} names an encoding that is not known; save it as UTF-8") from error
    return feed.records


def _no_doctype(*_: object) -> None:
    raise DataError("the feed declares a document type; entities of its own are not read, take it out")
