"""Whatever a stream of book updates says: the kept book never crosses, and no believed level is lost or invented."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import ASK, BID
from cryptoai.data_universe.market_microstructure.book import Book
from cryptoai.data_universe.market_microstructure.formats import raw_envelope
from cryptoai.data_universe.market_microstructure.importer import Importer

PERP = instrument("binance_usdm:BTCUSDT")
T0 = 1_723_161_256_000

levels = st.dictionaries(st.integers(900, 1100), st.integers(0, 5), max_size=4)
messages = st.lists(st.tuples(levels, levels), max_size=12)


def _texts(side: dict[int, int]) -> list[list[str]]:
    return [[f"{price / 10:.1f}", f"{qty / 1000:.3f}"] for price, qty in side.items()]


def _line(n: int, body: dict[str, object]) -> bytes:
    return b"%d %b" % ((T0 + n) * 10**6, orjson.dumps({**body, "E": T0 + n, "T": T0 + n}))


def _imported(updates: list[tuple[dict[int, int], dict[int, int]]], *, honest: bool) -> tuple[Importer, Book]:
    """A snapshot of 100.0 at 100.1, then the updates; honest ones keep bids below 1000 and asks above."""
    importer, book = Importer(PERP), Book()
    start = {"lastUpdateId": 1, "bids": [["100.0", "0.001"]], "asks": [["100.1", "0.001"]]}
    lines = [_line(0, start)]
    for n, (bids, asks) in enumerate(updates, 1):
        if honest:
            bids, asks = {min(p, 1000): q for p, q in bids.items()}, {max(p, 1001): q for p, q in asks.items()}  # noqa: PLW2901
        sides = {"b": _texts(bids), "a": _texts(asks)}
        lines.append(_line(n, {"e": "depthUpdate", "s": "BTCUSDT", "U": n + 1, "u": n + 1, "pu": n, **sides}))
    for line in lines:
        importer.take(raw_envelope(line))
    events, start_row = importer.flush(), 0
    for end in range(1, len(events) + 1):
        if events.last[end - 1]:
            book.apply(events, start_row, end)
            start_row = end
            assert not book.crossed()
    return importer, book


@settings(max_examples=60, deadline=None)
@given(messages)
def test_the_book_never_stays_crossed(updates: list[tuple[dict[int, int], dict[int, int]]]) -> None:
    """After each message, whatever it said; what was refused is counted."""
    importer, _ = _imported(updates, honest=False)
    refused = sum(importer.tally.quarantined_rows.values())
    assert refused + importer.tally.rows["level"] >= 2


@settings(max_examples=60, deadline=None)
@given(messages)
def test_depth_is_conserved(updates: list[tuple[dict[int, int], dict[int, int]]]) -> None:
    """Updates that do not cross are all kept: the book is that of two dictionaries."""
    importer, book = _imported(updates, honest=True)
    expected = {BID: {1000: 1}, ASK: {1001: 1}}
    for bids, asks in updates:
        for price, qty in bids.items():
            expected[BID][min(price, 1000)] = qty
        for price, qty in asks.items():
            expected[ASK][max(price, 1001)] = qty
    assert not importer.tally.quarantined_rows
    for side, wanted in expected.items():
        found = dict(zip(*(column.tolist() for column in book.top(side, 500)), strict=True))
        assert found == {price: qty for price, qty in wanted.items() if qty}
