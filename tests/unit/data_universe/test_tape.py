"""The importer on captures made line by line: what is kept, what is refused, and what the report says of it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptoai.core.errors import DataError
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import ASK, BID, CLEAR, GAP, LEVEL, QUOTE, TRADE, EventArray
from cryptoai.data_universe.market_microstructure.book import Book
from cryptoai.data_universe.market_microstructure.tape import CaptureResult, read_capture

PERP, SPOT = instrument("binance_usdm:BTCUSDT"), instrument("binance_spot:BTCUSDT")
T0 = 1_723_161_256_000
"""Exchange time of the first message, ms."""


def line(ms: int, body: dict[str, Any], *, lag_ns: int = 2_000_000) -> str:
    """A capture line of a message at T0 + ms that arrived `lag_ns` later."""
    stamped = {**body, "E": T0 + ms, "T": T0 + ms}
    wrapped = stamped if "lastUpdateId" in body else {"stream": f"btcusdt@{body['e']}", "data": stamped}
    return f"{(T0 + ms) * 1_000_000 + lag_ns} {json.dumps(wrapped)}"


def depth(previous: int, last: int, bids: list[list[str]], asks: list[list[str]]) -> dict[str, Any]:
    return {"e": "depthUpdate", "s": "BTCUSDT", "U": previous + 1, "u": last, "pu": previous, "b": bids, "a": asks}


def snapshot(update_id: int, bid: str = "100.0", ask: str = "100.1") -> dict[str, Any]:
    return {"lastUpdateId": update_id, "bids": [[bid, "1"], ["99.0", "2"]], "asks": [[ask, "1"], ["101.0", "2"]]}


def trade(price: str, qty: str = "0.5", *, seller: bool = False, **more: str) -> dict[str, Any]:
    return {"e": "trade", "s": "BTCUSDT", "p": price, "q": qty, "m": seller, **more}


def quote(bid: str, ask: str) -> dict[str, Any]:
    return {"e": "bookTicker", "s": "BTCUSDT", "u": 1, "b": bid, "B": "1", "a": ask, "A": "2"}


def imported(folder: Path, *lines: str) -> CaptureResult:
    path = folder / "tape"
    path.write_text("\n".join(lines) + "\n")
    return read_capture(path, PERP)


def rows(events: EventArray, *kinds: int) -> list[tuple[int, int, int, int]]:
    """(kind, side, price, qty) of the rows of these kinds."""
    columns = zip(events.kind.tolist(), events.side.tolist(), events.price.tolist(), events.qty.tolist(), strict=True)
    return [row for row in columns if row[0] in kinds]


def test_a_message_becomes_rows_in_ticks_and_steps(tmp_path: Path) -> None:
    """Snapshot, update, trade and quote, with the aggressor's side and `last` on the end of each message."""
    result = imported(
        tmp_path,
        line(0, snapshot(10)),
        line(1, depth(10, 20, [["100.0", "0.000"]], [["100.2", "3.001"]])),
        line(2, trade("100.1", "0.25", seller=True)),
        line(3, quote("99.0", "100.1")),
    )
    events = result.events
    assert rows(events, CLEAR, LEVEL)[0] == (CLEAR, 0, 0, 0)
    assert rows(events, LEVEL)[4:] == [(LEVEL, BID, 1000, 0), (LEVEL, ASK, 1002, 3001)]
    assert rows(events, TRADE) == [(TRADE, ASK, 1001, 250)]
    assert rows(events, QUOTE) == [(QUOTE, BID, 990, 1000), (QUOTE, ASK, 1001, 2000)]
    assert events.last.tolist() == [0, 0, 0, 0, 1, 0, 1, 1, 0, 1]
    assert result.report.messages == {"depth snapshot": 1, "depthUpdate": 1, "trade": 1, "bookTicker": 1}
    assert not result.report.degraded


def test_a_clock_behind_the_exchange_is_corrected_by_one_constant(tmp_path: Path) -> None:
    """The smallest delay becomes zero, the others keep their distance to it, and the report says by how much."""
    result = imported(
        tmp_path, line(0, trade("100.0"), lag_ns=-1_272_000_000), line(5, trade("100.0"), lag_ns=-1_271_000_000)
    )
    delays = result.events.known_at - result.events.event_time
    assert delays.tolist() == [0, 1_000_000]
    assert result.report.clock_error_s == 1.272
    assert "1.272 s behind" in result.report.summary()


def test_a_clock_ahead_is_left_alone(tmp_path: Path) -> None:
    """A positive delay may be latency, so nothing is moved."""
    result = imported(tmp_path, line(0, trade("100.0"), lag_ns=7_000_000))
    assert result.report.clock_error_ns == 0
    assert (result.events.known_at - result.events.event_time).tolist() == [7_000_000]


def test_a_gap_is_marked_and_the_rest_goes_on(tmp_path: Path) -> None:
    """From a missing update to the next snapshot there are no levels, while trades go on and the report counts it."""
    result = imported(
        tmp_path,
        line(0, snapshot(10)),
        line(1, depth(10, 20, [["100.0", "5"]], [])),
        line(2, depth(30, 40, [["100.0", "6"]], [])),
        line(3, trade("100.0")),
        line(4, depth(40, 50, [["100.0", "7"]], [])),
    )
    assert [row[0] for row in rows(result.events, GAP, TRADE, LEVEL)][-3:] == [LEVEL, GAP, TRADE]
    assert (result.report.gaps, result.report.unsynced_rows, result.report.degraded) == (1, 2, True)
    book = Book()
    book.apply(result.events)
    assert not book.known
    assert "hole" in result.report.summary()


def test_the_next_snapshot_ends_a_gap(tmp_path: Path) -> None:
    """Updates held since the gap that join the snapshot are applied on top of it, as known when it arrived."""
    result = imported(
        tmp_path,
        line(0, snapshot(10)),
        line(1, depth(20, 30, [["98.0", "1"]], [])),
        line(2, depth(30, 40, [["98.0", "4"]], [])),
        line(3, snapshot(35)),
    )
    book = Book()
    book.apply(result.events)
    assert (book.known, book.quantity(BID, 980)) == (True, 4000)
    assert result.report.unsynced_rows == 1
    assert result.events.known_at[-1] == result.report.last_known_at == (T0 + 3) * 1_000_000 + 2_000_000


def test_a_tape_without_a_snapshot_has_no_book_and_says_so(tmp_path: Path) -> None:
    """Trades are kept; levels that nothing can be built on are left out and counted."""
    result = imported(tmp_path, line(0, depth(1, 2, [["100.0", "1"]], [])), line(1, trade("100.0")))
    assert rows(result.events, LEVEL) == []
    assert (result.report.unsynced_rows, result.report.has_book, result.report.degraded) == (1, False, True)
    assert "book is unknown" in result.report.summary()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('1723161256001000000 {"stream":', "corrupt JSON"),
        ("not a line", "line does not start with a local time"),
        ("1723161256001000000 []", "message without the fields of its kind"),
        (
            line(1, {"e": "trade", "s": "BTCUSDT", "p": 100.0, "q": "1", "m": True}),
            "message without the fields of its kind",
        ),
        (line(1, depth(10, 20, [["100.0"]], [])), "message without the fields of its kind"),
        (line(1, trade("100.0", "1\n2")), "message without the fields of its kind"),
        (line(1, trade("100.0"), lag_ns=-90_000_000_000), "local clock ran backwards"),
        (line(86_400_000, trade("100.0"), lag_ns=-86_400_000_000_000), "event time in the future"),
        (line(1, trade("100.0"), lag_ns=86_400_000_000_000), "event time far behind the local time"),
        ("1723161256 " + line(1, trade("100.0")).split(" ", 1)[1], "local time is not nanoseconds since 1970"),
    ],
)
def test_a_bad_line_is_refused_with_its_reason(tmp_path: Path, bad: str, reason: str) -> None:
    """One bad line costs that line only, is counted under its reason, and every line is accounted for."""
    result = imported(
        tmp_path, line(0, snapshot(10)), bad, line(2, depth(10, 20, [["98.0", "1"]], [])), line(3, trade("100.0"))
    )
    report = result.report
    assert report.quarantined_lines == {reason: 1}
    assert report.first_refused == {reason: 2}
    assert sum(report.messages.values()) + 1 == report.lines == 4
    assert report.gaps == 0
    assert (np.diff(result.events.known_at) >= 0).all()
    assert f"refused 1 line(s): {reason} (first at line 2)" in report.summary()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"e": "kline", "s": "BTCUSDT"}, "stream kline"),
        ({**trade("100.0"), "s": "ETHUSDT"}, "another symbol"),
        (trade("100.0", X="INSURANCE_FUND"), "trade outside the book (insurance fund, auto-deleveraging)"),
    ],
)
def test_a_line_with_nothing_for_the_instrument_is_ignored_with_its_reason(
    tmp_path: Path, body: dict[str, Any], reason: str
) -> None:
    """It is counted, it is no fault of the tape, and the summary names it."""
    report = imported(tmp_path, line(0, snapshot(10)), line(1, body), line(2, trade("100.0"))).report
    assert report.ignored == {reason: 1}
    assert sum(report.messages.values()) + 1 == report.lines == 3
    assert not report.degraded
    assert reason in report.summary()


@pytest.mark.parametrize(
    ("body", "reason", "count"),
    [
        (trade("1000000.0"), "absurd price", 1),
        (trade("1.0"), "absurd price", 1),
        (trade("100.05"), "price is no multiple of the tick", 1),
        (trade("0"), "price is zero", 1),
        (trade("100.0", "0"), "trade of nothing", 1),
        (trade("100.0", "-1"), "negative price or quantity", 1),
        (trade("abc"), "price or quantity is not a number", 1),
        (depth(10, 20, [["100000.0", "1"]], [["1.0", "1"], ["90000000.0", "1"]]), "absurd price", 3),
        (depth(10, 20, [["100.0", "-1"]], []), "negative price or quantity", 1),
        (depth(10, 20, [["100.2", "1"]], []), "level that crosses the book", 1),
        (quote("100.1", "100.0"), "crossed quote", 2),
    ],
)
def test_a_bad_row_is_refused_with_its_reason(tmp_path: Path, body: dict[str, Any], reason: str, count: int) -> None:
    """Prices that cannot be true beside the last ones, and numbers that are none, leave no row behind."""
    start = [line(0, snapshot(10)), *(line(1, trade("100.0")) for _ in range(5))]
    result = imported(tmp_path, *start, line(2, body))
    assert result.report.quarantined_rows == {reason: count}
    assert result.report.total_rows == 10
    assert result.report.gaps == 0


def test_far_levels_on_their_own_side_are_real(tmp_path: Path) -> None:
    """A bid at 1 and an ask at ten times the price rest in real books and are kept."""
    start = [line(0, snapshot(10)), *(line(1, trade("100.0")) for _ in range(5))]
    result = imported(tmp_path, *start, line(2, depth(10, 20, [["1.0", "1"]], [["1000.0", "1"]])))
    assert rows(result.events, LEVEL)[-2:] == [(LEVEL, BID, 10, 1000), (LEVEL, ASK, 10000, 1000)]


def test_a_crash_is_followed_not_refused(tmp_path: Path) -> None:
    """A price that stays at a tenth is believed after five prints: a crash is not an outlier."""
    prices = ["100.0"] * 9 + ["10.0"] * 8
    result = imported(tmp_path, *(line(n, trade(price)) for n, price in enumerate(prices)))
    assert result.report.quarantined_rows == {"absurd price": 5}
    assert result.report.rows["trade"] == 12


def test_what_comes_later_never_changes_what_was_kept(tmp_path: Path) -> None:
    """Perturbing every line after a time leaves the rows up to it bitwise equal."""
    first = [line(0, snapshot(10)), *(line(n, trade(f"{100 + n % 3}.0")) for n in range(1, 30))]
    calm = imported(tmp_path, *first, *(line(n, trade("100.0")) for n in range(30, 60))).events
    wild = imported(tmp_path, *first, *(line(n, trade("100000.0")) for n in range(30, 60))).events
    cut = calm.until((T0 + 29) * 1_000_000 + 2_000_000)
    assert calm.slice(0, cut).fingerprint() == wild.slice(0, cut).fingerprint()


def test_a_small_step_back_of_the_clock_is_held(tmp_path: Path) -> None:
    """Rows stay in order of arrival and known_at never decreases."""
    result = imported(tmp_path, line(5, trade("100.0")), line(3, trade("101.0")), line(6, trade("102.0")))
    assert [row[2] for row in rows(result.events, TRADE)] == [1000, 1010, 1020]
    assert (np.diff(result.events.known_at) >= 0).all()
    assert result.report.held_times == 1


def test_a_clock_that_was_set_is_followed(tmp_path: Path) -> None:
    """A step of ten minutes costs four lines, then the new time is believed."""
    late = [line(n, trade("100.0"), lag_ns=600_000_000_000) for n in range(2, 10)]
    result = imported(tmp_path, line(0, trade("100.0")), *late)
    assert result.report.quarantined_lines == {"event time far behind the local time": 4}
    assert result.report.rows["trade"] == 5


def test_spot_has_its_own_chain_and_no_event_time_in_quotes(tmp_path: Path) -> None:
    """Spot chains U to the u before; its quotes happen when they arrive."""
    bodies = [
        {"lastUpdateId": 10, "bids": [["100.00", "1"]], "asks": [["100.01", "1"]]},
        {"data": {"e": "depthUpdate", "E": T0, "s": "BTCUSDT", "U": 9, "u": 12, "b": [["99.00", "1"]], "a": []}},
        {
            "stream": "btcusdt@bookTicker",
            "data": {"u": 1, "s": "BTCUSDT", "b": "100.00", "B": "1", "a": "100.01", "A": "1"},
        },
        {"data": {"e": "depthUpdate", "E": T0 + 1, "s": "BTCUSDT", "U": 14, "u": 15, "b": [], "a": []}},
    ]
    path = tmp_path / "tape"
    path.write_text("".join(f"{(T0 + n) * 1_000_000 + 9} {json.dumps(body)}\n" for n, body in enumerate(bodies)))
    result = read_capture(path, SPOT)
    quotes = result.events.kind == QUOTE
    assert (result.events.event_time[quotes] == result.events.known_at[quotes]).all()
    assert (result.report.rows["level"], result.report.gaps) == (3, 1)


def test_a_snapshot_of_nobody_is_not_trusted_among_several_symbols(tmp_path: Path) -> None:
    """Where lines of another symbol were seen, a snapshot without a symbol may be theirs and makes no book."""
    other = line(0, {**trade("3000.0"), "s": "ETHUSDT"})
    result = imported(tmp_path, other, line(1, snapshot(10)), line(2, trade("100.0")))
    assert not result.report.has_book
    named = imported(tmp_path, other, line(1, {**snapshot(10), "symbol": "BTCUSDT"}), line(2, trade("100.0")))
    assert named.report.has_book


def test_a_capture_of_another_symbol_is_an_error(tmp_path: Path) -> None:
    """Even where a snapshot without a symbol is in it, nothing of it is taken for this instrument."""
    other = line(0, {**trade("3000.0"), "s": "ETHUSDT"})
    with pytest.raises(DataError, match="another symbol"):
        imported(tmp_path, other, line(1, snapshot(10)), other)


def test_progress_ends_at_one(tmp_path: Path) -> None:
    """The share of the file that was read only grows, and reaches 1."""
    path, seen = tmp_path / "tape", list[float]()
    path.write_text("\n".join(line(n, trade("100.0")) for n in range(10_000)))
    read_capture(path, PERP, seen.append)
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] == 1.0


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    """Nothing in it: one sentence that names the file, plain or gzip."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b""))
    for name in ("empty", "empty.gz"):
        with pytest.raises(DataError, match=rf"{name}.*(is empty|no lines)"):
            read_capture(tmp_path / name, PERP)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """The error names the path."""
    with pytest.raises(DataError, match="nowhere"):
        read_capture(tmp_path / "nowhere", PERP)


@pytest.mark.parametrize("garbage", [b"\x00\x01\x02" * 999, b"hello\nworld\n", b"\x1f\x8bgarbage"])
def test_garbage_is_an_error(tmp_path: Path, garbage: bytes) -> None:
    """A file without one usable line is refused with the reason seen most."""
    path = tmp_path / "garbage"
    path.write_bytes(garbage)
    with pytest.raises(DataError, match="no usable line of binance_usdm:BTCUSDT"):
        read_capture(path, PERP)


def test_another_venue_is_refused(tmp_path: Path) -> None:
    """A capture format that nobody wrote an importer for is not guessed."""
    with pytest.raises(DataError, match="bitfinex"):
        read_capture(tmp_path, PERP.model_copy(update={"id": "bitfinex:BTCUSDT"}))


def test_the_fingerprint_follows_bytes_and_instrument(tmp_path: Path) -> None:
    """Equal input, equal fingerprint; one other byte or another step, another fingerprint."""
    path = tmp_path / "tape"
    path.write_text(line(0, trade("100.0")))
    first = read_capture(path, PERP).report.fingerprint
    assert first == read_capture(path, PERP).report.fingerprint
    assert first != read_capture(path, PERP.model_copy(update={"step": PERP.step / 10})).report.fingerprint
    path.write_text(line(0, trade("100.1")))
    assert first != read_capture(path, PERP).report.fingerprint
