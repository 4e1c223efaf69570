"""What every `OnChainSource` promises: files, an HTTP API, and a plain list in memory keep the same rules."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cryptoai.core.clock import SECOND, ReplayClock
from cryptoai.core.errors import DataError
from cryptoai.data_universe.adapters.http_onchain import HttpOnChain, Patience
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.onchain.files import FileSource
from cryptoai.data_universe.onchain.metrics import DAY, METRICS, metric
from cryptoai.data_universe.onchain.records import Wanted, assemble
from cryptoai.data_universe.onchain.source import OnChainSource
from cryptoai.testing.loopback import Answer, Asked, loopback

FIRST = 19_723 * DAY  # 2024-01-01
NOW = FIRST + 4 * DAY + 3 * 3600 * SECOND
HOUR = 3600 * SECOND
NAMES = ("transactions", "sopr", "fee_rate")

ROWS: list[dict[str, Any]] = [
    {"time": "2024-01-01", "asset": "BTC", "transactions": "500000", "sopr": "1.01"},
    {"time": "2024-01-02", "asset": "BTC", "transactions": "510000", "sopr": ""},
    {"time": "2024-01-03", "asset": "BTC", "transactions": "many", "sopr": "-7"},
    {"time": "2024-01-04", "asset": "BTC", "transactions": "530000", "sopr": "1.04"},
    {"time": "2024-01-05", "asset": "BTC", "transactions": "100", "sopr": "1.05"},
    {"time": "2024-01-02", "asset": "ETH", "transactions": "1100000", "sopr": ""},
    {"time": "2024-01-03T04:05:06Z", "asset": "BTC", "fee_rate": "21.5"},
]
"""Day 2 has no SOPR, day 3 is damaged, day 5 is not over."""


class ListSource:
    """The smallest source there is."""

    def __init__(self, rows: Sequence[Mapping[str, object]]) -> None:
        self._rows = rows
        self.refused: Mapping[str, int] = MappingProxyType({})

    def read(self, asset: str, metrics: Sequence[str], start: int, stop: int) -> Facts:
        answer = assemble(self._rows, Wanted.of(asset, metrics, start, stop, NOW))
        self.refused = answer.refused
        return answer.facts


def wide_csv(folder: Path) -> OnChainSource:
    path = folder / "wide.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["time", "asset", *NAMES])
        writer.writeheader()
        writer.writerows(ROWS)
    return FileSource(path, "BTC", NOW)


def long_parquet(folder: Path) -> OnChainSource:
    rows = [
        {"time": row["time"], "asset": row["asset"], "metric": name, "value": row[name]}
        for row in ROWS
        for name in NAMES
        if name in row
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "long.parquet")
    return FileSource(folder / "long.parquet", "BTC", NOW)


def api(asked: Asked) -> Answer:
    """Two rows a page, numbers as text or null, filtered as the query says."""
    names = asked.query["metrics"].split(",")
    daily = asked.query["frequency"] == "1d"
    rows = [
        {"asset": row["asset"].lower(), "time": row["time"], **{name: row.get(name) or None for name in names}}
        for row in ROWS
        if row["asset"].lower() == asked.query["assets"] and ("T" not in row["time"]) == daily
    ]
    place = int(asked.query.get("next", "0"))
    page: dict[str, Any] = {"data": rows[place : place + 2]}
    if place + 2 < len(rows):
        query = "&".join(f"{name}={value}" for name, value in (asked.query | {"next": str(place + 2)}).items())
        page["next_page_url"] = f"http://{asked.headers['host']}{asked.path}?{query}"
    return Answer(json.dumps(page).encode())


Make = Callable[[Path, ExitStack], OnChainSource]

SOURCES: dict[str, Make] = {
    "list": lambda _folder, _stack: ListSource(ROWS),
    "wide csv": lambda folder, _stack: wide_csv(folder),
    "long parquet": lambda folder, _stack: long_parquet(folder),
    "http": lambda _folder, stack: served(stack),
}


def served(stack: ExitStack) -> OnChainSource:
    server = stack.enter_context(loopback(api))
    source = HttpOnChain(server.url, ReplayClock(NOW), patience=Patience(timeout_s=5))
    stack.callback(source.close)
    return source


@pytest.fixture(params=sorted(SOURCES))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnChainSource]:
    with ExitStack() as stack:
        yield SOURCES[request.param](tmp_path, stack)


def values(facts: Facts, name: str) -> dict[int, float]:
    """Event time in days after the first -> value."""
    rows = facts.column("metric") == metric(name)
    return {
        int((at - FIRST) // DAY): value
        for at, value in zip(facts.event_time[rows], facts.column("value")[rows], strict=True)
    }


def test_values_are_those_of_the_provider(source: OnChainSource) -> None:
    """What is missing stays missing; what is damaged is refused; other assets are not mixed in."""
    facts = source.read("BTC", NAMES, FIRST, NOW)
    assert values(facts, "transactions") == {0: 500_000.0, 1: 510_000.0, 3: 530_000.0}
    assert values(facts, "sopr") == {0: 1.01}
    assert values(facts, "fee_rate") == {2: 21.5}
    assert dict(source.refused) == {"transactions is not a number": 1, "sopr outside 0..100": 1}


def test_nothing_is_known_before_it_was_published(source: OnChainSource) -> None:
    """A day's value never within the day; each metric after its lag; a sample after its moment."""
    facts = source.read("BTC", NAMES, FIRST, NOW)
    for place in range(len(facts)):
        found = METRICS[int(facts.column("metric")[place])]
        end = facts.event_time[place] + (DAY if found.cadence == "day" else 0)
        assert facts.known_at[place] == end + found.lag_s * SECOND
    assert facts.known_at.max() <= NOW
    assert np.all(np.diff(facts.known_at) >= 0)


def test_the_span_is_half_open(source: OnChainSource) -> None:
    """The start is in, the end is out, and an empty span is empty."""
    facts = source.read("BTC", ["transactions"], FIRST + DAY, FIRST + 3 * DAY)
    assert values(facts, "transactions") == {1: 510_000.0}
    assert len(source.read("BTC", ["transactions"], FIRST, FIRST)) == 0


def test_only_what_was_asked_for(source: OnChainSource) -> None:
    """Other metrics are not in the answer, and one that the source does not have is simply absent."""
    facts = source.read("btc", ["sopr", "mempool_size"], FIRST, NOW)
    assert set(facts.column("metric")) == {float(metric("sopr"))}


def test_reading_twice_gives_the_same(source: OnChainSource) -> None:
    """So that a second import changes nothing."""
    first, second = (source.read("BTC", NAMES, FIRST, NOW).fingerprint() for _ in range(2))
    assert first == second


def test_a_metric_that_does_not_exist(source: OnChainSource) -> None:
    """The names that exist are listed; a span that runs backwards is refused."""
    with pytest.raises(DataError, match=r"'gravity'.*transactions"):
        source.read("BTC", ["gravity"], FIRST, NOW)
    with pytest.raises(DataError, match="before the start"):
        source.read("BTC", NAMES, NOW, FIRST)
