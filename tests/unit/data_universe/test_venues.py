"""Every venue's dialect: messages in its documented form, its sequence rule and its checksum."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt.pro
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.money import Money
from cryptoai.data_universe.events import ASK, BID, GAP, TRADE
from cryptoai.data_universe.market_microstructure.book import Book
from cryptoai.data_universe.market_microstructure.checksums import CheckedBook, kraken_checksum, okx_checksum
from cryptoai.data_universe.market_microstructure.formats import raw_envelope
from cryptoai.data_universe.market_microstructure.importer import Importer
from cryptoai.data_universe.market_microstructure.messages import Depth, iso_ns, text
from cryptoai.data_universe.market_microstructure.venues.catalog import dialect

MS = 1_723_161_256_000
Levels = list[tuple[int, int]]
books = st.dictionaries(st.integers(1, 10**6), st.integers(1, 10**9), min_size=1, max_size=30)


def made(name: str, tick: str = "0.1", step: str = "0.001") -> Instrument:
    return Instrument(
        id=name,
        base="BTC",
        quote="USD",
        contract=Contract.SPOT,
        tick=Decimal(tick),
        step=Decimal(step),
        min_notional=Money("0"),
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
        max_leverage=1,
    )


def fed(instrument: Instrument, *messages: Any) -> tuple[Importer, Book]:
    """The importer after these messages, and the book that its rows make."""
    importer, book = Importer(instrument), Book()
    for n, message in enumerate(messages):
        importer.take(raw_envelope(b"%d %b" % ((MS + n) * 10**6, orjson.dumps(message))))
    importer.events = importer.flush()  # type: ignore[attr-defined]
    book.apply(importer.events)  # type: ignore[attr-defined]
    return importer, book


def bybit(kind: str, last: int, bids: list[list[str]], asks: list[list[str]]) -> dict[str, Any]:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": last, "seq": last}
    return {"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": MS, "data": data}


def okx(action: str, ids: tuple[int, int], checksum: int, *sides: list[list[str]]) -> dict[str, Any]:
    row = {"bids": [[*p, "0", "1"] for p in sides[0]], "asks": [[*p, "0", "1"] for p in sides[1]], "ts": str(MS)}
    data = [{**row, "prevSeqId": ids[0], "seqId": ids[1], "checksum": checksum}]
    return {"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": action, "data": data}


def test_bybit_deltas_continue_by_one_and_a_snapshot_ends_a_gap() -> None:
    """A missing update makes the book unknown, the venue's next snapshot makes it known."""
    start = bybit("snapshot", 10, [["100.0", "1"]], [["100.1", "1"]])
    lost = (start, bybit("delta", 11, [["99.9", "2"]], []), bybit("delta", 13, [["99.8", "2"]], []))
    importer, book = fed(made("bybit:BTCUSDT"), *lost)
    assert importer.tally.holes == {"a missing update": 1}
    assert not book.known
    importer, book = fed(made("bybit:BTCUSDT"), *lost, bybit("snapshot", 1, [["50.0", "1"]], [["50.1", "1"]]))
    assert (book.known, book.best_bid, book.count(BID)) == (True, 500, 1)


def test_bybit_tickers_carry_facts_from_delta_to_delta() -> None:
    """What a delta does not name still holds."""
    first = {"markPrice": "100.5", "indexPrice": "100", "fundingRate": "0.0001", "nextFundingTime": str(MS)}
    rows = [
        {"topic": "tickers.BTCUSDT", "type": "snapshot", "ts": MS, "data": first},
        {"topic": "tickers.BTCUSDT", "type": "delta", "ts": MS + 1, "data": {"markPrice": "101", "openInterest": "7"}},
    ]
    importer, _ = fed(made("bybit:BTCUSDT"), *rows)
    assert importer.facts("mark").values.tolist() == [[100.5, 100.0], [101.0, 100.0]]
    assert importer.facts("funding_predicted").values.tolist() == [[0.0001, MS / 1000]]
    assert importer.facts("open_interest").values[0, 0] == 7.0


def test_bybit_liquidations_have_the_side_of_the_forced_order() -> None:
    """A liquidated long (Buy position) is sold out."""
    row = {"T": MS, "s": "BTCUSDT", "S": "Buy", "v": "0.5", "p": "99.0"}
    importer, _ = fed(made("bybit:BTCUSDT"), {"topic": "allLiquidation.BTCUSDT", "ts": MS, "data": [row]})
    assert importer.facts("liquidations").values.tolist() == [[-1.0, 99.0, 0.5]]


def test_binance_mark_price_and_forced_orders_become_facts() -> None:
    """With the next funding payment; a forced SELL is a long sold out."""
    mark = {"e": "markPriceUpdate", "E": MS, "s": "BTCUSDT", "p": "100.5", "i": "100.1", "r": "0.0002", "T": MS + 10}
    order = {"s": "BTCUSDT", "S": "SELL", "p": "98", "ap": "99", "q": "2", "z": "1", "T": MS}
    forced = {"e": "forceOrder", "E": MS, "o": order}
    importer, _ = fed(made("binance_usdm:BTCUSDT"), mark, forced)
    assert importer.facts("mark").values.tolist() == [[100.5, 100.1]]
    assert importer.facts("funding_predicted").values.tolist() == [[0.0002, (MS + 10) / 1000]]
    assert importer.facts("liquidations").values.tolist() == [[-1.0, 99.0, 1.0]]


def test_okx_chain_and_checksum_guard_the_book() -> None:
    """A right checksum applies, a wrong one is a hole, and so is a broken chain."""
    bids, asks = [["100.0", "1"]], [["100.1", "2"]]
    good = okx("snapshot", (-1, 5), okx_checksum(bids, asks), bids, asks)
    more = okx("update", (5, 6), okx_checksum([["100.0", "3"]], asks), [["100.0", "3"]], [])
    _, book = fed(made("okx:BTC-USDT"), good, more)
    assert book.quantity(BID, 1000) == 3000
    importer, book = fed(made("okx:BTC-USDT"), good, okx("update", (5, 6), 123, [["100.0", "3"]], []))
    assert (importer.tally.holes, book.known) == ({"a wrong checksum": 1}, False)
    importer, book = fed(made("okx:BTC-USDT"), good, okx("update", (9, 10), 0, [["100.0", "3"]], []))
    assert (importer.tally.holes, book.known) == ({"a missing update": 1}, False)


def test_okx_checksum_of_the_documented_form() -> None:
    """bid:size:ask:size in turn, the longer side goes on alone, as a signed CRC32."""
    assert okx_checksum([], [["0.0025", "20"], ["0.003", "1506"]]) == 1483419732
    assert okx_checksum([["0.034", "1001"], ["0.0325", "505"]], [["0.038", "1506"]]) == -1328280565


def test_kraken_checksum_of_the_documented_example() -> None:
    """The example of the venue's guide."""
    size = "0.00000500"
    asks = [[f"{5005 + 5 * n:05d}", size] for n in range(10)]
    asks = [[f"0.{price}", size] for price, _ in asks]
    prices = ("05000", "04995", "04990", "04980", "04975", "04970", "04965", "04960", "04955", "04950")
    assert kraken_checksum([[f"0.{price}", size] for price in prices], asks) == 974947235


@settings(max_examples=50, deadline=None)
@given(books, books)
def test_kraken_checksum_equals_that_of_ccxt(low: dict[int, int], high: dict[int, int]) -> None:
    """On random books, by ccxt's own number format and CRC."""
    bids = [[f"{p / 10:.1f}", f"{q / 1e8:.8f}"] for p, q in sorted(low.items(), reverse=True)]
    asks = [[f"{p / 10 + 1e6:.1f}", f"{q / 1e8:.8f}"] for p, q in sorted(high.items())]
    other = ccxt.pro.kraken()
    payload = "".join(other.format_number(text) for level in [*asks[:10], *bids[:10]] for text in level)
    assert kraken_checksum(bids, asks) == other.crc32(payload, False)


def test_kraken_finds_the_decimals_that_json_numbers_lost() -> None:
    """Version 2 sends numbers: 0.5 is 0.50 to the checksum; the snapshot tells how many decimals there are."""
    asks, bids = [["100.50", "2.00000000"]], [["100.40", "0.50000000"]]
    checksum = kraken_checksum(bids, asks)
    levels = {"bids": [{"price": 100.4, "qty": 0.5}], "asks": [{"price": 100.5, "qty": 2}], "checksum": checksum}
    message = {"channel": "book", "type": "snapshot", "data": [{"symbol": "BTC/USD", **levels}]}
    _, book = fed(made("kraken:BTC-USD"), message)
    assert (book.known, book.best_ask, book.quantity(BID, 1004)) == (True, 1005, 500)


def test_kraken_levels_beyond_the_subscribed_depth_are_removed() -> None:
    """The venue stops telling of them, so they must not stay."""
    book = CheckedBook(kraken_checksum, 10)
    first = Depth("X", 0, [["9", "1"], ["8", "1"]], [], snapshot=True, limit=2)
    assert book.reset(first)
    update = Depth("X", 0, [["9.5", "1"]], [])
    assert book.update(update)
    assert update.bids == [["9.5", "1"], ["8", "0"]]


def test_kraken_first_version_is_read() -> None:
    """Arrays with channel and pair at the end; times are seconds."""
    levels = {"as": [["100.5", "1.000", f"{MS / 1000}"]], "bs": [["100.4", "2.000", f"{MS / 1000}"]]}
    trades = [["100.5", "0.100", f"{MS / 1000}", "s", "l", ""]]
    importer, book = fed(
        made("kraken:XBT-USD"),
        [7, levels, "book-10", "XBT/USD"],
        [8, trades, "trade", "XBT/USD"],
        {"event": "heartbeat"},
    )
    assert (book.best_bid, book.best_ask) == (1004, 1005)
    assert importer.tally.messages == {"book": 1, "trade": 1}
    assert importer.tally.ignored == {"reply to a request": 1}


def test_coinbase_matches_name_the_makers_side() -> None:
    """A match of side sell lifted a resting sell: the aggressor bought."""
    row = {"type": "match", "trade_id": 5, "side": "sell", "size": "1", "price": "10.0", "product_id": "A-B"}
    importer, _ = fed(made("coinbase:A-B"), {**row, "time": "2024-08-08T23:54:16.000000Z"})
    events = importer.events  # type: ignore[attr-defined]
    assert (events.kind.tolist(), events.side.tolist()) == ([TRADE], [BID])


def test_coinbase_counts_every_message_of_the_connection() -> None:
    """A number that is missing makes the book unknown, whichever channel lost it."""

    def message(number: int, kind: str, level: str) -> dict[str, Any]:
        row = {"side": "bid", "price_level": level, "new_quantity": "1"}
        event = {"type": kind, "product_id": "A-B", "updates": [row]}
        return {
            "channel": "l2_data",
            "timestamp": "2024-08-08T23:54:16.0Z",
            "sequence_num": number,
            "events": [event],
        }

    heard = {"channel": "heartbeats", "sequence_num": 1, "events": []}
    _, book = fed(made("coinbase:A-B"), message(0, "snapshot", "10.0"), heard, message(2, "update", "10.1"))
    assert book.count(BID) == 2
    importer, book = fed(made("coinbase:A-B"), message(0, "snapshot", "10.0"), message(3, "update", "10.1"))
    assert (book.known, importer.tally.holes) == (False, {"a missing message of the connection": 1})


def test_a_duplicate_trade_is_refused_once_and_counted() -> None:
    """By id, also where ids are no numbers."""
    row = {"T": MS, "s": "BTCUSDT", "S": "Sell", "v": "0.5", "p": "99.0", "i": "a-b"}
    message = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": MS, "data": [row]}
    importer, _ = fed(made("bybit:BTCUSDT"), message, message)
    assert importer.events.side.tolist() == [ASK]  # type: ignore[attr-defined]
    assert importer.tally.quarantined_lines == {"duplicate trade id": 1}


def test_old_news_at_the_start_does_not_hide_the_feed() -> None:
    """The first messages may be trades of an hour ago; the snapshot behind them is believed."""
    rows = [{"instId": "BTC-USDT", "tradeId": str(n), "px": "100", "sz": "1", "side": "buy"} for n in range(2)]
    old = [
        {"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [{**row, "ts": str(MS - 3_600_000 * (n + 1))}]}
        for n, row in enumerate(rows)
    ]
    bids, asks = [["100.0", "1"]], [["100.1", "2"]]
    _, book = fed(made("okx:BTC-USDT"), *old, okx("snapshot", (-1, 5), okx_checksum(bids, asks), bids, asks))
    assert book.known


def test_a_contradictory_stream_gives_the_book_up() -> None:
    """One level that crosses is refused; a stream that keeps crossing is not a book any more."""
    start = bybit("snapshot", 10, [["100.0", "1"]], [["100.1", "1"]])
    crossing = [bybit("delta", 11 + n, [[f"{101 + n}.0", "1"]], []) for n in range(8)]
    importer, book = fed(made("bybit:BTCUSDT"), start, *crossing)
    assert importer.tally.holes == {"a book that stays crossed": 1}
    assert int((importer.events.kind == GAP).sum()) == 1  # type: ignore[attr-defined]
    assert not book.known


def test_an_unknown_venue_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """It names the venues that are decoded."""
    with pytest.raises(DataError, match=r"bitfinex.*binance_usdm"):
        dialect("bitfinex")


def test_times_and_numbers_keep_every_digit() -> None:
    """ISO times to the ns, floats as the text that they were."""
    assert iso_ns("2021-04-17T16:43:37.075687Z") == 1_618_677_817_075_687_000
    assert iso_ns("2024-08-08T23:54:16Z") == MS * 10**6
    assert [text(value) for value in (5e-06, 0.14, 7, "1.50")] == ["0.000005", "0.14", "7", "1.50"]
