"""The shipped captures: every line accounted for, and the final book that of an independent replay."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import cryptoai.testing
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import ASK, BID
from cryptoai.data_universe.market_microstructure.book import Book
from cryptoai.data_universe.market_microstructure.formats import raw_envelope
from cryptoai.data_universe.market_microstructure.importer import Importer
from cryptoai.data_universe.market_microstructure.tape import CaptureResult, read_capture

TAPES = Path(cryptoai.testing.__file__).parent / "tapes"
NAMES = {
    "binance_usdm:BTCUSDT": TAPES / "binance_usdm_btcusdt_20240808.gz",
    "binance_spot:BTCUSDT": TAPES / "binance_spot_btcusdt_20240808.gz",
}


@cache
def _imported(name: str) -> CaptureResult:
    return read_capture(NAMES[name], instrument(name))


def _replay(path: Path) -> tuple[dict[str, dict[str, str]], int]:
    """Final book as decimal texts, and how many levels were applied: the textbook procedure, with dictionaries."""
    book: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    with gzip.open(path, "rt") as lines:
        messages = [json.loads(text.split(" ", 1)[1]) for text in lines]
    snapshot = next(m for m in messages if "lastUpdateId" in m)
    updates = [m["data"] for m in messages if m.get("data", {}).get("e") == "depthUpdate"]
    newer = [u for u in updates if u["u"] > snapshot["lastUpdateId"]]
    applied = 0
    for message in [{"b": snapshot["bids"], "a": snapshot["asks"]}, *newer]:
        for side in "ba":
            book[side].update(dict(message[side]))
            applied += len(message[side])
    return book, applied


@pytest.mark.parametrize("name", NAMES)
def test_the_final_book_equals_an_independent_replay(name: str) -> None:
    """Every price and quantity of both sides, exactly; quantities finer than the step rounded down."""
    result, made = _imported(name), instrument(name)
    expected, applied = _replay(NAMES[name])
    book = Book()
    book.apply(result.events)
    assert result.report.rows["level"] == applied
    for side, key in ((BID, "b"), (ASK, "a")):
        wanted = {int(Decimal(p) / made.tick): int(Decimal(q) / made.step) for p, q in expected[key].items()}
        prices, qtys = book.top(side, 100_000)
        assert dict(zip(prices.tolist(), qtys.tolist(), strict=True)) == {p: q for p, q in wanted.items() if q}
    assert book.known
    assert not book.crossed()


@pytest.mark.parametrize("name", NAMES)
def test_every_line_and_row_is_accounted_for(name: str) -> None:
    """Nothing is refused in real data, and nothing is known before it happened or out of order."""
    result = _imported(name)
    report, events = result.report, result.events
    assert sum(report.messages.values()) == report.lines
    assert not report.degraded
    assert sum(report.rows.values()) == len(events)
    assert report.rows["trade"] == report.messages["trade"]
    assert report.rows["quote"] == 2 * report.messages["bookTicker"]
    assert (events.known_at - events.event_time).min() == 0
    assert (np.diff(events.known_at) >= 0).all()


def test_the_perpetual_tape_has_its_known_counts() -> None:
    """93,954 lines; 445,521 levels of which 259 precede the snapshot; 21,313 trades; a clock 1.272 s behind."""
    report = _imported("binance_usdm:BTCUSDT").report
    assert report.lines == 93_954
    assert report.rows["level"] + report.unsynced_rows == 445_521
    assert report.unsynced_rows == 259
    assert report.rows["trade"] == 21_313
    assert report.clock_error_ns == 1_272_402_468


@pytest.mark.parametrize("name", NAMES)
def test_the_book_is_never_crossed_after_a_message(name: str) -> None:
    """At the end of each of the first messages the best bid is below the best ask."""
    events = _imported(name).events
    book, start = Book(), 0
    for end in (np.flatnonzero(events.last)[:4000] + 1).tolist():
        book.apply(events, start, end)
        assert not book.crossed()
        start = end


def test_a_truncated_tape_keeps_what_could_be_read(tmp_path: Path) -> None:
    """Half of the gzip file gives the rows of its first half, equal to the whole tape's, and says that it broke off."""
    whole = NAMES["binance_spot:BTCUSDT"]
    cut = tmp_path / "cut.gz"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    result = read_capture(cut, instrument("binance_spot:BTCUSDT"))
    full = _imported("binance_spot:BTCUSDT").events
    rows = len(result.events)
    assert len(full) // 3 < rows < len(full)
    assert np.array_equal(result.events.price, full.price[:rows])
    assert np.array_equal(
        result.events.event_time[result.events.kind == 1], full.event_time[:rows][full.kind[:rows] == 1]
    )
    assert result.report.damage is not None
    assert "damaged" in result.report.summary()


@pytest.mark.parametrize("name", NAMES)
def test_the_compiled_lane_changes_nothing(name: str) -> None:
    """The first lines through the careful lane alone give the same rows, bit for bit."""
    importer = Importer(instrument(name))
    with gzip.open(NAMES[name]) as lines:
        for line in islice(lines, 6_000):
            importer.take(raw_envelope(line.rstrip(b"\n")))
    careful, whole = importer.flush(), _imported(name)
    compiled = whole.events.slice(0, len(careful))
    assert len(careful) > 6_000
    for column in ("kind", "side", "price", "qty", "last"):
        assert np.array_equal(getattr(careful, column), getattr(compiled, column))
    assert np.array_equal(careful.known_at + whole.report.clock_error_ns, compiled.known_at)
