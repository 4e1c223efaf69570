"""The fast lane: Binance's combined-stream lines from raw bytes straight to rows, in compiled code.

The importer runs it over blocks of whole lines. It knows one strict form of depthUpdate, trade and bookTicker lines,
without white space, escapes or unknown shapes, of one symbol, in sync and in order; at anything else it stops and hands
the line over, untouched, to the careful lane (`tape`), which decides. Both lanes share the state of clock, chain and
trade ids, so which lane took a line changes nothing in the result. It must never guess.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cryptoai.core.clock import MS
from cryptoai.data_universe.events import ASK, BID, LEVEL, QUOTE, TRADE, Ints
from cryptoai.data_universe.jit import lean
from cryptoai.data_universe.market_microstructure.clockskew import KNOWN, judge_times
from cryptoai.data_universe.market_microstructure.columns import Columns
from cryptoai.data_universe.market_microstructure.decimals import NOT_A_NUMBER, OFF_GRID, ROUNDED, parse_number
from cryptoai.data_universe.market_microstructure.sequence import LAST, NEWEST, SYNCED, WAITS
from cryptoai.data_universe.market_microstructure.tradeids import newest_id, remember_id

__all__ = [
    "COUNTS",
    "DEPTHS",
    "DIFFS",
    "DONE",
    "FIELDS",
    "FULL",
    "LINES",
    "OTHERS",
    "QUOTES",
    "REFUSED",
    "SLOW",
    "TRADES",
    "Lane",
    "scan",
]

Buffer = npt.NDArray[np.uint8]
Grid = tuple[int, int]

DONE, SLOW, FULL, REFUSED = range(4)
"""Why the scanner stopped: at the end of the block, at a line for the careful lane, for want of room, or at times that
cannot be true (the reason's code of `clockskew` is added to REFUSED)."""

LINES, DEPTHS, TRADES, QUOTES, OTHERS, DIFFS = range(6)
COUNTS = 6
"""Places in `Lane.counts`, and how many: lines taken, by kind, of other symbols, and rows of `diffs`."""

_ROWS, _MESSAGE = range(2)
_TEXT, _COMMA, _COLON, _OPEN, _CLOSE, _LIST, _UNLIST, _ESCAPE = (ord(c) for c in '",:{}[]\\')
_SPACE, _NEWLINE, _ZERO = (ord(c) for c in " \n0")
_LONGEST = 1 << 18
_SHORTEST_MEMBER = 7  # "m":1}}

# Fields of a line. The first are numbers, then truth, then texts (where they start and end), then the lists.
_E, _T, _ID, _FIRST, _NEW, _PREVIOUS = range(6)
_MAKER = 6
_KIND, _SYMBOL, _PRICE, _QTY, _BID, _BID_QTY, _ASK, _ASK_QTY, _MARKET, _STREAM = range(7, 17)
_BIDS, _ASKS = 17, 18
FIELDS = 19
"""Rows of `Lane.fields`."""
_ABSENT, _IGNORED, _BAD = -1, -2, -3
_NUMBERS = 6

_PLACES = np.full(256, _IGNORED, np.int64)
_PLACES[[ord(letter) for letter in "ETtUumespqbBaAX"]] = (0, 1, 2, 3, 4, *range(6, 16))
_PREVIOUS_KEY = ord("p") * 256 + ord("u")
_DATA = np.frombuffer(b',"data":{', np.uint8)
_HEAD = np.frombuffer(b'{"stream":"', np.uint8)
_TICKER = np.frombuffer(b"@bookTicker", np.uint8)
_NAMES = (
    np.frombuffer(b"depthUpdate", np.uint8),
    np.frombuffer(b"trade", np.uint8),
    np.frombuffer(b"bookTicker", np.uint8),
)
_IN_BOOK = np.frombuffer(b"MARKET", np.uint8)


class Lane(NamedTuple):
    """What one capture's scan needs; the arrays are shared with the careful lane and written.

    `clock` of ClockCheck, `chain` of BinanceRule, `ids` of TradeIds, `cursor` and `rows` of Assembly; `counts`;
    `diffs` int64[n, 4]: (previous, last, start, end) of each update applied; `fields` int64[FIELDS, 2] is scratch.
    """

    symbol: Buffer
    price: Grid
    qty: Grid
    spot: bool
    trades: bool
    clock: Ints
    chain: Ints
    ids: Ints
    cursor: Ints
    counts: Ints
    diffs: Ints
    fields: Ints
    rows: Columns


@lean
def scan(block: Buffer, at: int, lane: Lane) -> tuple[int, int, int]:
    """Take lines from `at` on -> (why it stopped, start and end of the line it stopped at).

    Bytes behind the last newline are not looked at.
    """
    while True:
        end = _line_end(block, at)
        if end < 0:
            return DONE, at, len(block)
        size = end - at
        if size > _LONGEST:
            return SLOW, at, end
        if lane.counts[DIFFS] == len(lane.diffs) or lane.cursor[_ROWS] + size // 8 + 2 > len(lane.rows.message):
            return FULL, at, end
        if size > 0:
            code = _line(block, at, end, lane)
            if code != DONE:
                return code, at, end
            lane.counts[LINES] += 1
        at = end + 1


@lean
def _line(block: Buffer, at: int, end: int, lane: Lane) -> int:  # noqa: PLR0911
    """One line into rows: DONE, SLOW, or REFUSED plus the reason."""
    fields = lane.fields
    fields[:, 0] = _ABSENT
    local, body = _integer(block, at, end)
    if body == at or block[body] != _SPACE:
        return SLOW
    data = _data(block, body + 1, end, fields)
    if data < 0 or not _members(block, data, end, lane) or fields[_SYMBOL, 0] < 0:
        return SLOW
    if not _is(block, fields[_SYMBOL], lane.symbol):
        lane.counts[OTHERS] += 1
        return DONE
    event = _ns(fields[_T, 0] if fields[_T, 0] > 0 else max(fields[_E, 0], 0))
    kind = fields[_KIND]
    if kind[0] < 0:
        stream = fields[_STREAM]
        ticker = stream[1] - stream[0] >= len(_TICKER) and _starts(block, stream[1] - len(_TICKER), _TICKER)
        return _best(block, local, event, lane) if ticker else SLOW
    if _is(block, kind, _NAMES[0]):
        return _depth(at, end, local, event, lane)
    if _is(block, kind, _NAMES[1]):
        return _trade(block, local, event, lane)
    return _best(block, local, event, lane) if _is(block, kind, _NAMES[2]) else SLOW


@lean
def _depth(at: int, end: int, local: int, event: int, lane: Lane) -> int:
    fields, chain = lane.fields, lane.chain
    last, first = fields[_NEW, 0], fields[_FIRST, 0]
    if min(last, first, fields[_BIDS, 0], fields[_ASKS, 0]) < 0 or max(fields[_BID, 0], fields[_ASK, 0]) >= 0:
        return SLOW
    previous = first - 1 if lane.spot else fields[_PREVIOUS, 0]
    if chain[SYNCED] == 0 or chain[WAITS] != 0 or previous != chain[LAST] or last <= chain[LAST]:
        return SLOW
    code = judge_times(lane.clock, local, event)
    if code:
        return REFUSED + code
    chain[LAST], chain[NEWEST] = last, last
    diff = lane.diffs[lane.counts[DIFFS]]
    diff[0], diff[1], diff[2], diff[3] = previous, last, at, end
    lane.counts[DIFFS] += 1
    lane.counts[DEPTHS] += 1
    _commit(lane, fields[_BIDS, 0] + fields[_ASKS, 0], event)
    return DONE


@lean
def _trade(block: Buffer, local: int, event: int, lane: Lane) -> int:
    fields = lane.fields
    number = fields[_ID, 0]
    market = fields[_MARKET, 0] < 0 or _is(block, fields[_MARKET], _IN_BOOK)
    if not lane.trades or number <= newest_id(lane.ids) or fields[_MAKER, 0] < 0 or not market:
        return SLOW
    if not _pair(block, lane, 0, _PRICE, _QTY):
        return SLOW
    code = judge_times(lane.clock, local, event)
    if code:
        return REFUSED + code
    remember_id(lane.ids, number)
    row = lane.cursor[_ROWS]
    lane.rows.kind[row] = TRADE
    lane.rows.side[row] = ASK if fields[_MAKER, 0] else BID
    lane.counts[TRADES] += 1
    _commit(lane, 1, event)
    return DONE


@lean
def _best(block: Buffer, local: int, event: int, lane: Lane) -> int:
    if max(lane.fields[_BIDS, 0], lane.fields[_ASKS, 0]) >= 0:
        return SLOW
    if not _pair(block, lane, 0, _BID, _BID_QTY) or not _pair(block, lane, 1, _ASK, _ASK_QTY):
        return SLOW
    code = judge_times(lane.clock, local, event)
    if code:
        return REFUSED + code
    row = lane.cursor[_ROWS]
    lane.rows.kind[row : row + 2] = QUOTE
    lane.rows.side[row], lane.rows.side[row + 1] = BID, ASK
    lane.counts[QUOTES] += 1
    _commit(lane, 2, event)
    return DONE


@lean
def _commit(lane: Lane, count: int, event: int) -> None:
    """The rows written behind the cursor become a message."""
    start = lane.cursor[_ROWS]
    lane.cursor[_MESSAGE] += 1
    lane.rows.message[start : start + count] = lane.cursor[_MESSAGE]
    lane.rows.event[start : start + count] = event
    lane.rows.known[start : start + count] = lane.clock[KNOWN]
    lane.cursor[_ROWS] += count


@lean
def _pair(block: Buffer, lane: Lane, ahead: int, price_field: int, qty_field: int) -> bool:
    """Price and quantity of two text fields into the row `ahead` of the cursor."""
    price_at, qty_at = lane.fields[price_field, 0], lane.fields[qty_field, 0]
    if price_at < 0 or qty_at < 0:
        return False
    return _number_row(block, lane, lane.cursor[_ROWS] + ahead, price_at, qty_at) >= 0


@lean
def _number_row(block: Buffer, lane: Lane, row: int, price_at: int, qty_at: int) -> int:
    """Parse both; returns the place behind the quantity, or -1. With qty_at < 0 it stands behind the price."""
    price, bad_price, at = parse_number(block, price_at, _TEXT, lane.price)
    if bad_price == NOT_A_NUMBER:
        return -1
    if qty_at < 0:
        if block[at] != _COMMA or block[at + 1] != _TEXT:
            return -1
        qty_at = at + 2
    qty, bad_qty, at = parse_number(block, qty_at, _TEXT, lane.qty)
    if bad_qty == NOT_A_NUMBER:
        return -1
    lane.rows.price[row], lane.rows.qty[row] = price, qty
    lane.rows.status[row] = max(bad_price, ROUNDED if bad_qty == OFF_GRID else bad_qty)
    return at


@lean
def _members(block: Buffer, at: int, end: int, lane: Lane) -> bool:
    """Read the members of the inner object into `lane.fields`; False if it is not of the strict form."""
    while at + _SHORTEST_MEMBER <= end and block[at] == _TEXT:
        place, at = _key(block, at + 1, end)
        if place == _BAD or at + 2 >= end:
            return False
        at = _value(block, at, end, place, lane)
        if at < 0 or at + 1 >= end:
            return False
        if block[at] == _CLOSE:
            return bool(block[at + 1] == _CLOSE and at + 2 == end)
        if block[at] != _COMMA:
            return False
        at += 1
    return False


@lean
def _key(block: Buffer, at: int, end: int) -> tuple[int, int]:
    """(place of the field, where its value starts)."""
    start = at
    while at < end and block[at] != _TEXT:
        if block[at] == _ESCAPE:
            return _BAD, at
        at += 1
    if at + 1 >= end or block[at + 1] != _COLON:
        return _BAD, at
    size = at - start
    place = _PLACES[block[start]] if size == 1 else _IGNORED
    if size == 2 and int(block[start]) * 256 + int(block[start + 1]) == _PREVIOUS_KEY:
        place = _PREVIOUS
    return place, at + 2


@lean
def _value(block: Buffer, at: int, end: int, place: int, lane: Lane) -> int:
    """Take one value; returns the place behind it, or -1."""
    first = block[at]
    if first == _LIST:
        return _levels(block, at + 1, end, place, lane) if place in (_BID, _ASK) else -1
    if first == _TEXT:
        start = at + 1
        at = _text_end(block, start, end)
        return _put(lane.fields, place, start, at, at + 1, _KIND <= place <= _MARKET) if at >= 0 else -1
    if first == 116 or first == 102:  # noqa: PLR1714 - true, false
        size = 4 if first == 116 else 5
        good = at + size < end and block[at + size - 1] == 101
        return _put(lane.fields, place, int(first == 116), 0, at + size, place == _MAKER) if good else -1
    value, after = _integer(block, at, end)
    return _put(lane.fields, place, value, 0, after, 0 <= place < _NUMBERS) if after > at else -1


@lean
def _put(fields: Ints, place: int, value: int, other: int, after: int, fits: bool) -> int:
    """Store a field once; a field that is not read may have any type."""
    if place == _IGNORED:
        return after
    if not fits or fields[place, 0] != _ABSENT:
        return -1
    fields[place, 0], fields[place, 1] = value, other
    return after


@lean
def _levels(block: Buffer, at: int, end: int, place: int, lane: Lane) -> int:
    """[["price","qty"],...] into rows behind the cursor, bids before asks."""
    fields = lane.fields
    is_bid = place == _BID
    if fields[_BIDS if is_bid else _ASKS, 0] != _ABSENT or fields[place, 0] != _ABSENT:
        return -1
    if not is_bid and fields[_BIDS, 0] < 0:
        return -1
    start = lane.cursor[_ROWS] + (0 if is_bid else fields[_BIDS, 0])
    row = start
    while at + 2 < end and block[at] == _LIST and block[at + 1] == _TEXT:
        at = _number_row(block, lane, row, at + 2, -1)
        if at < 0 or at + 1 >= end or block[at] != _UNLIST:
            return -1
        lane.rows.kind[row], lane.rows.side[row] = LEVEL, BID if is_bid else ASK
        row += 1
        at += 1
        if block[at] == _UNLIST:
            break
        if block[at] != _COMMA or block[at + 1] != _LIST:
            return -1
        at += 1
    if block[at] != _UNLIST:
        return -1
    fields[_BIDS if is_bid else _ASKS, 0] = row - start
    return at + 1


@lean
def _data(block: Buffer, at: int, end: int, fields: Ints) -> int:
    """Behind `{"stream":"...","data":{`, or -1."""
    if at + len(_HEAD) + len(_DATA) >= end or not _starts(block, at, _HEAD):
        return -1
    start = at + len(_HEAD)
    at = _text_end(block, start, end)
    if at < 0 or at + 1 + len(_DATA) >= end or not _starts(block, at + 1, _DATA):
        return -1
    fields[_STREAM, 0], fields[_STREAM, 1] = start, at
    return at + 1 + len(_DATA)


@lean
def _integer(block: Buffer, at: int, end: int) -> tuple[int, int]:
    """Digits from `at` on: (value, place behind them); no more than 19 digits, and no leading zero before others."""
    start, value = at, 0
    while at < end and at - start < 19 and _ZERO <= block[at] <= _ZERO + 9:
        value = value * 10 + int(block[at]) - _ZERO
        at += 1
    return value, (start if at - start > 1 and block[start] == _ZERO else at)


@lean
def _text_end(block: Buffer, at: int, end: int) -> int:
    """Place of the closing quote of a text without escapes, or -1."""
    while at < end:
        if block[at] == _TEXT:
            return at
        if block[at] == _ESCAPE or not _SPACE <= block[at] < 128:
            return -1
        at += 1
    return -1


@lean
def _starts(block: Buffer, at: int, wanted: Buffer) -> bool:
    for i in range(len(wanted)):  # noqa: SIM110 - compiled
        if block[at + i] != wanted[i]:
            return False
    return True


@lean
def _is(block: Buffer, span: Ints, wanted: Buffer) -> bool:
    return bool(span[1] - span[0] == len(wanted) and _starts(block, span[0], wanted))


@lean
def _ns(value: int) -> int:
    """A venue's time in ms, µs or ns, told by its size, as ns."""
    if value < 10**14:
        return value * MS
    return value * 1000 if value < 10**17 else value


@lean
def _line_end(block: Buffer, at: int) -> int:
    for i in range(at, len(block)):
        if block[i] == _NEWLINE:
            return i
    return -1
