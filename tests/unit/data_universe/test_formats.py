"""Recordings of every form: what the file is, which instruments it has, and that no line is lost."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptoai.core.clock import ReplayClock
from cryptoai.core.errors import DataError
from cryptoai.data_universe.asset_registry.registry import INSTRUMENTS, instrument
from cryptoai.data_universe.events import ASK, BID, EventArray
from cryptoai.data_universe.importing import append_piece, import_recording
from cryptoai.data_universe.lake import read_events
from cryptoai.data_universe.lake_facts import read_facts
from cryptoai.data_universe.market_microstructure.book import MAX_PRICE, Book
from cryptoai.data_universe.market_microstructure.described import Grid, instruments_of
from cryptoai.data_universe.market_microstructure.live import LiveTape
from cryptoai.data_universe.market_microstructure.tape import read_capture

CAPTURES = Path(__file__).parents[4] / "shared" / "data" / "ws_captures"
PERP = instrument("binance_usdm:BTCUSDT")
T0 = 1_723_161_256_000_000_000
real = pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures of other venues are not on this machine")


def _binance(message: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    body = message.get("data", message)
    return (body["s"], {"b": body["b"], "a": body["a"]}) if body.get("e") == "depthUpdate" else None


def _bybit(message: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    if "orderBook" not in message.get("topic", ""):
        return None
    data = message["data"]
    rows = data if isinstance(data, list) else data.get("order_book")
    if rows is None:
        rows = [{**row, "size": 0} for row in data["delete"]] + data["update"] + data["insert"]
    sides = {
        s: [[r["price"], str(r["size"])] for r in rows if r["side"] == n] for s, n in (("b", "Buy"), ("a", "Sell"))
    }
    return message["topic"].split(".")[1], sides


def _coinbase(message: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    if message.get("type") == "snapshot":
        return message["product_id"], {"b": message["bids"], "a": message["asks"]}
    if message.get("type") != "l2update":
        return None
    return message["product_id"], {
        s: [c[1:] for c in message["changes"] if c[0] == n] for s, n in (("b", "buy"), ("a", "sell"))
    }


def _dumb(files: list[Path], read: Any) -> dict[str, dict[str, dict[Decimal, Decimal]]]:
    """Final books by symbol, with dictionaries: everything applied in order of arrival."""
    found: dict[str, dict[str, dict[Decimal, Decimal]]] = defaultdict(lambda: {"b": {}, "a": {}})
    for path in files:
        with gzip.open(path, "rt") as lines:
            for line in lines:
                head, _, body = line.partition(": ")
                if head.startswith("wss") or not body.strip():
                    continue
                for symbol, sides in filter(None, [read(json.loads(body))]):
                    for side, levels in sides.items():
                        found[symbol][side].update({Decimal(p): Decimal(q) for p, q in levels})
    return found


@real
@pytest.mark.parametrize(
    ("name", "symbol", "read"),
    [
        ("BYBIT.ws.25.0.gz", "bybit:ETHUSDT", _bybit),
        ("BYBIT.0.gz", "bybit:BTCUSD", _bybit),
        ("COINBASE.ws.28.0.gz", "coinbase:SKL-USD", _coinbase),
    ],
)
def test_a_real_capture_replays_without_loss(name: str, symbol: str, read: Any) -> None:
    """Every line is accounted for, and the final book equals an independent replay, in every level."""
    _, (made,) = instruments_of(CAPTURES / name, {}, symbol)
    result = read_capture(CAPTURES / name, made)
    report, book = result.report, Book()
    accounted = (report.messages, report.ignored, report.quarantined_lines)
    assert sum(sum(counts.values()) for counts in accounted) == report.lines
    assert not report.quarantined_lines
    assert not report.gaps
    book.apply(result.events)
    files = sorted(CAPTURES.glob(f"{name.split('.', maxsplit=1)[0]}.ws.*"))
    expected = _dumb(files, read)[made.symbol]
    for side, key in ((BID, "b"), (ASK, "a")):
        wanted = {int(p / made.tick): int(q / made.step) for p, q in expected[key].items() if q}
        wanted = {price: qty for price, qty in wanted.items() if price < MAX_PRICE}
        assert dict(zip(*(c.tolist() for c in book.top(side, 100_000)), strict=True)) == wanted


@real
def test_the_binance_capture_joins_its_rest_snapshots() -> None:
    """Four symbols, each synced by its own snapshot, without a hole and never crossed."""
    form, found = instruments_of(CAPTURES / "BINANCE_FUTURES.0.gz", {})
    assert "several connections" in form
    assert [made.symbol for made in found] == ["AKROUSDT", "CTKUSDT", "KEEPUSDT", "SUSHIUSDT"]
    for made in found:
        result = read_capture(CAPTURES / "BINANCE_FUTURES.0.gz", made)
        book = Book()
        book.apply(result.events)
        assert (book.known, book.crossed(), result.report.gaps) == (True, False, 0)
        assert result.report.quarantined_rows == {}


def test_an_unknown_venue_and_a_lonely_file_are_refused_in_one_sentence(tmp_path: Path) -> None:
    """The sentence names what is known."""
    (tmp_path / "BITFINEX.ws.1.0").write_text('1618677817.06: {"event":"info"}\n')
    with pytest.raises(DataError, match="captures of BITFINEX are not understood"):
        instruments_of(tmp_path / "BITFINEX.ws.1.0", {})
    (tmp_path / "renamed").write_text('1618677817.06: {"event":"info"}\n')
    with pytest.raises(DataError, match="does not tell the venue"):
        instruments_of(tmp_path / "renamed", {})


def test_a_raw_capture_tells_its_venue_and_symbol(tmp_path: Path) -> None:
    """By the chain of its depth updates; nothing needs to be said on the command line."""
    body = {"e": "depthUpdate", "s": "BTCUSDT", "U": 1, "u": 2, "pu": 0, "b": [], "a": [], "E": T0 // 10**6}
    (tmp_path / "x").write_text(f"{T0} {json.dumps({'stream': 's', 'data': body})}\n")
    assert [made.id for made in instruments_of(tmp_path / "x", INSTRUMENTS)[1]] == ["binance_usdm:BTCUSDT"]


def test_tardis_files_become_rows(tmp_path: Path) -> None:
    """A snapshot, an update and a removal; levels of one message are one message."""
    us = T0 // 1000
    rows = [
        "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount",
        f"bybit,BTCUSDT,{us},{us + 5},true,bid,99.9,1",
        f"bybit,BTCUSDT,{us},{us + 5},true,bid,100.0,1",
        f"bybit,BTCUSDT,{us},{us + 5},true,ask,100.1,2",
        f"bybit,BTCUSDT,{us + 9},{us + 12},false,bid,100.0,0",
        f"bybit,BTCUSDT,{us + 9},{us + 12},false,ask,100.1,3",
    ]
    path = tmp_path / "bybit_incremental_book_L2.csv.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    form, (made,) = instruments_of(path, {}, grid=Grid(Decimal("0.1"), Decimal("0.001")))
    result = read_capture(path, made)
    book = Book()
    book.apply(result.events)
    assert "Tardis" in form
    assert (book.best_bid, book.quantity(ASK, 1001), int(result.events.last.sum())) == (999, 3000, 2)
    assert result.report.lines == 2


def test_tardis_derivative_ticker_becomes_facts(tmp_path: Path) -> None:
    """Mark, index, predicted funding and open interest, into the lake of facts."""
    us = T0 // 1000
    head = (
        "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate,predicted_funding_rate,open_interest"
    )
    path = tmp_path / "derivative_ticker.csv"
    row = f"binance-futures,BTCUSDT,{us},{us},{us + 10**6},0.0001,,5000,100.0,99.5,100.2"
    path.write_text(f"{head},last_price,index_price,mark_price\n{row}\n")
    _, (made,) = instruments_of(path, INSTRUMENTS)
    import_recording(tmp_path / "lake", path, made)
    assert read_facts(tmp_path / "lake", made.id, "mark").values.tolist() == [[100.2, 99.5]]
    assert read_facts(tmp_path / "lake", made.id, "funding_predicted").values[0, 0] == 0.0001
    assert read_facts(tmp_path / "lake", made.id, "open_interest").values[0, 0] == 5000


def test_refused_lines_are_kept_beside_the_lake(tmp_path: Path) -> None:
    """With line number and reason, and no more of them than fit."""
    snapshot = {"lastUpdateId": 1, "bids": [["100.0", "1"]], "asks": [["100.1", "1"]]}
    lines = [f"{T0} {json.dumps(snapshot)}", *(f"{T0 + n} broken" for n in range(2000))]
    (tmp_path / "tape").write_text("\n".join(lines))
    report = import_recording(tmp_path / "lake", tmp_path / "tape", PERP).events
    (kept,) = (tmp_path / "lake" / "quarantine").rglob("*.jsonl")
    rows = [json.loads(row) for row in kept.read_text().splitlines()]
    assert report.quarantined_lines == {"corrupt JSON": 2000}
    assert (len(rows), rows[0]["line"], rows[0]["reason"]) == (1000, 2, "corrupt JSON")


def _stream(first: int, count: int) -> list[bytes]:
    ids = range(first, first + count)
    return [
        json.dumps(
            {
                "e": "depthUpdate",
                "s": "BTCUSDT",
                "E": T0 // 10**6,
                "U": n + 1,
                "u": n + 1,
                "pu": n,
                "b": [["99.0", f"{n}"]],
                "a": [],
            }
        ).encode()
        for n in ids
    ]


def test_a_recording_that_was_killed_is_completed_from_its_file(tmp_path: Path) -> None:
    """Rows that the lake has are not stored twice, those it has not are, and a torn last line costs only itself."""
    clock = ReplayClock(T0)
    tape = LiveTape(tmp_path / "tapes", "binance_usdm", (PERP,), clock)
    book = json.dumps({"lastUpdateId": 1, "bids": [["99.0", "1"]], "asks": [["100.1", "1"]]}).encode()
    tape.rest("https://x/fapi/v1/depth?symbol=BTCUSDT", book)
    for message in _stream(1, 5):
        tape.take(message)
    for piece in tape.pieces():
        append_piece(tmp_path / "lake", piece)
    for message in _stream(6, 5):
        tape.take(message)
    tape.close()
    with tape.path.open("ab") as raw:
        raw.write(b'1723161256000000000 {"torn')
    import_recording(tmp_path / "lake", tape.path, PERP)
    once = read_events(tmp_path / "lake", PERP)
    import_recording(tmp_path / "lake", tape.path, PERP)
    assert len(once) == len(read_events(tmp_path / "lake", PERP)) == 13
    assert _last_quantity(once) == 10_000


def test_each_file_of_a_recording_stands_alone(tmp_path: Path) -> None:
    """The next file begins with the book, so its updates join without a new snapshot."""
    clock = ReplayClock(T0)
    tape = LiveTape(tmp_path, "binance_usdm", (PERP,), clock)
    book = json.dumps({"lastUpdateId": 1, "bids": [["99.0", "1"]], "asks": [["100.1", "1"]]}).encode()
    tape.rest("https://x/fapi/v1/depth?symbol=BTCUSDT", book)
    for message in _stream(1, 3):
        tape.take(message)
    clock.advance_to(T0 + 10**9)
    list(tape.rotate())
    for message in _stream(4, 3):
        tape.take(message)
    tape.close()
    result = read_capture(tape.path, PERP)
    assert result.report.gaps == 0
    assert _last_quantity(result.events) == 6_000


def _last_quantity(events: EventArray) -> int:
    book = Book()
    book.apply(events)
    assert book.known
    assert np.all(np.diff(events.known_at) >= 0)
    return book.quantity(BID, 990)
