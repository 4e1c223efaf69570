"""The texts of the news in the lake, beside the numbers that were made of them.

    ROOT/kind=news/venue=SOURCE/symbol=ALL/date=2024-08-01/HASH.parquet
    ROOT/quarantine/kind=news/venue=SOURCE/symbol=ALL/HASH.jsonl

Written by `cryptoai data news`, read by people who want to know what a score was made of. A text is stored once, by its
id; of what was refused an excerpt is kept with its reason, which nothing reads. `date` is the day of `known_at`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import IO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from cryptoai.core.clock import iso
from cryptoai.core.ids import content_hash
from cryptoai.data_universe.lake_files import META, partition, refusals, trusted, write_whole
from cryptoai.data_universe.market_events.items import Item
from cryptoai.data_universe.market_events.scoring import Score

__all__ = ["SCHEMA_VERSION", "read_news", "write_news", "write_refused"]

SCHEMA_VERSION = 1
_TEXTS = ("id", "source", "title", "text", "url")
_TIMES = ("published", "known_at", "scheduled")
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _TEXTS),
        *((name, pa.int64()) for name in _TIMES),
        ("category", pa.string()),
        ("confidence", pa.float64()),
        ("assets", pa.list_(pa.string())),
    ],
    metadata={META: json.dumps({"schema_version": SCHEMA_VERSION})},
)


def write_news(root: Path, scores: Sequence[Score]) -> int:
    """Store the texts that are not there yet and say how many those were; the same again changes nothing."""
    known = {item.id for item in read_news(root)}
    new = {made.item.id: made for made in scores if made.item.id not in known}
    rows = sorted(
        new.values(), key=lambda made: (_folder(root, made.item).as_posix(), made.item.known_at, made.item.id)
    )
    with refusals(root):
        for folder, group in groupby(rows, key=lambda made: _folder(root, made.item)):
            _write(folder, list(group))
    return len(rows)


def write_refused(root: Path, source: str, quarantine: Sequence[tuple[str, str]]) -> None:
    """Keep (reason, excerpt) of what was refused, as JSON lines; the same again changes nothing."""
    if not quarantine:
        return
    data = b"".join(orjson.dumps({"reason": why, "excerpt": text}) + b"\n" for why, text in quarantine)
    path = partition(root / "quarantine", "news", f"{_venue(source)}:ALL") / f"{content_hash(data, 32)}.jsonl"
    with refusals(root):
        if not path.exists():

            def write(raw: IO[bytes]) -> None:
                raw.write(data)

            write_whole(path, write)


def read_news(root: Path, source: str | None = None) -> list[Item]:
    """The stored texts, of one source or of all, in the order in which they became known."""
    found: list[Item] = []
    for path in sorted(root.glob(f"kind=news/venue={_venue(source) if source else '*'}/symbol=ALL/date=*/*.parquet")):
        with trusted(path), pq.ParquetFile(path) as file:
            rows = file.read(columns=[*_TEXTS, *_TIMES]).to_pylist()
            found += [Item(**row) for row in rows]
    return sorted(found, key=lambda item: (item.known_at, item.id))


def _write(folder: Path, scores: Sequence[Score]) -> None:
    rows = [
        {name: getattr(made.item, name) for name in (*_TEXTS, *_TIMES)}
        | {"category": made.name, "confidence": made.confidence, "assets": list(made.assets)}
        for made in scores
    ]

    def write(raw: IO[bytes]) -> None:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), raw, compression="zstd", write_page_checksum=True)

    name = content_hash("".join(made.item.id for made in scores).encode(), 32)
    write_whole(folder / f"{name}.parquet", write)


def _folder(root: Path, item: Item) -> Path:
    return partition(root, "news", f"{_venue(item.source)}:ALL") / f"date={iso(item.known_at)[:10]}"


def _venue(source: str) -> str:
    """A source's name as a part of a path: `CoinDesk RSS` is `coindesk_rss`."""
    return re.sub(r"[^a-z0-9]+", "_", source.lower()).strip("_") or "unnamed"
