"""The compiled tier against the whole simulated venue, and its own desk: delays, races, limits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.compiled import (
    HELD,
    IOC,
    LIMIT,
    MARKET,
    NOW,
    POST_ONLY,
    Delays,
    Desk,
    Session,
    cancel,
    open_lots,
    order_price,
    prepare,
    submit,
)
from cryptoai.backtesting.latency import ConstantLatency
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.queue import TOUCH
from cryptoai.backtesting.venue import Simulator
from cryptoai.core.config import BacktestConfig
from cryptoai.core.errors import DataError
from cryptoai.core.messages import Fill, OrderKind, OrderRequest, Side
from cryptoai.core.money import Money
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import ASK, BID, LEVEL, QUOTE, TRADE, EventArray
from cryptoai.data_universe.jit import lean
from cryptoai.data_universe.market_microstructure.book import book_best
from cryptoai.testing.slices import head

Ints = npt.NDArray[np.int64]
PERP = instrument("binance_usdm:BTCUSDT")
STEP, DELAY, LOTS, OFFSET, MOST = 100_000_000, 10_000_000, 15, 2, 45
KINDS = {POST_ONLY: OrderKind.POST_ONLY, IOC: OrderKind.IOC, LIMIT: OrderKind.LIMIT, MARKET: OrderKind.MARKET}


def _real() -> EventArray:
    """The first tenth of the shipped tape."""
    return head(PERP.id, 2000)


@lean
def _quote(desk: Desk, params: Any) -> None:
    mine, log, count = params
    bid, ask = book_best(desk.book, BID), book_best(desk.book, ASK)
    for i in range(2):
        side = 1 - 2 * i
        want = bid - OFFSET if side == BID else ask + OFFSET
        if open_lots(desk, mine[i]) > 0:
            if order_price(desk, mine[i]) == want:
                continue
            cancel(desk, mine[i])
        mine[i] = submit(desk, side, want, LOTS, POST_ONLY) if side * desk.cells[HELD] < MOST else -1
        if mine[i] >= 0:
            log[count[0], 0], log[count[0], 1], log[count[0], 2] = desk.cells[NOW], mine[i], want
            count[0] += 1


class _Recorder:
    """A session whose messages are kept, so that another venue can get the same."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.sent: list[tuple[int, str, tuple[int, ...]]] = []

    def submit(self, side: int, price: int, lots: int, kind: int) -> int:
        order = self.session.submit(side, price, lots, kind)
        self.sent.append((self.session.now, "new", (order, side, price, lots, kind)))
        return order

    def cancel(self, order: int) -> None:
        if self.session.cancel(order):
            self.sent.append((self.session.now, "cancel", (order,)))


def _trade(desk: _Recorder) -> None:
    """Quotes of several fills' size, with a market and an immediate order each second."""
    session, mine, steps = desk.session, [-1, -1], 0
    while session.elapse(STEP):
        bid, ask = session.best
        steps += 1
        if steps % 10 == 0:
            desk.submit(1 if steps % 20 else -1, 0, 400, MARKET)
        if steps % 10 == 5:
            desk.submit(BID, ask, 300, IOC)
        for i, side in enumerate((BID, ASK)):
            want = bid - OFFSET if side == BID else ask + OFFSET
            if session.open_lots(mine[i]) > 0:
                if session.order_price(mine[i]) == want:
                    continue
                desk.cancel(mine[i])
            mine[i] = desk.submit(side, want, LOTS, POST_ONLY)


def _request(order: int, side: int, price: int, lots: int, kind: int) -> OrderRequest:
    return OrderRequest(
        client_order_id=str(order),
        decision=0,
        time=0,
        instrument=PERP.id,
        side=Side.BUY if side == BID else Side.SELL,
        kind=KINDS[kind],
        quantity=PERP.quantity(lots),
        price=PERP.price(price) if price else None,
        reduce_only=False,
    )


def _of_venue(events: EventArray, sent: list[tuple[int, str, tuple[int, ...]]]) -> list[tuple[int, ...]]:
    """(time, side, ticks, steps, maker) of what the whole venue fills when it gets the same messages."""
    rules = BacktestConfig.model_validate({"price_band_pct": 1.0, "impact_bps": 0})
    venue = Simulator((Feed(PERP, events),), Assumptions(rules, ConstantLatency(DELAY, DELAY)), Money(10**9))
    said: list[object] = []
    for now, what, order in sent:
        said += venue.poll(now)
        if what == "new":
            venue.send(_request(*order), now)
        else:
            venue.cancel(str(order[0]), now)
    said += venue.poll(int(events.known_at[-1]))
    return [
        (
            fill.event_time,
            BID if fill.side is Side.BUY else ASK,
            PERP.ticks(fill.price),
            PERP.lots(fill.quantity),
            int(fill.maker),
        )
        for fill in said
        if isinstance(fill, Fill)
    ]


def test_the_compiled_tier_and_the_whole_venue_fill_alike() -> None:
    """The same quotes, market and immediate orders over a part of a real tape: fill for fill the same, to the
    nanosecond, the tick and the step, and the same side made it."""
    desk = _Recorder(Session(prepare(_real()), Delays(DELAY, DELAY)))
    _trade(desk)
    mine = [tuple(row) for row in desk.session.fills.tolist()]
    assert sorted(mine) == sorted(_of_venue(_real(), desk.sent))
    assert len({maker for *_, maker in mine}) == 2
    assert len(mine) > 20


def test_a_python_callback_trades_as_the_compiled_strategy() -> None:
    """The quoting rule in both forms sends the same orders at the same times and ends with the same fills."""
    tapes, log = prepare(_real()), np.zeros((5000, 3), np.int64)
    fast, slow = (Session(tapes, Delays(DELAY, DELAY)) for _ in range(2))
    count, mine, sent = np.zeros(1, np.int64), [-1, -1], []
    fast.run(_quote, (np.full(2, -1), log, count), STEP)
    while slow.elapse(STEP):
        bid, ask = slow.best
        for i, side in enumerate((BID, ASK)):
            want = bid - OFFSET if side == BID else ask + OFFSET
            if slow.open_lots(mine[i]) > 0:
                if slow.order_price(mine[i]) == want:
                    continue
                slow.cancel(mine[i])
            mine[i] = slow.submit(side, want, LOTS, POST_ONLY) if side * slow.position < MOST else -1
            if mine[i] >= 0:
                sent.append([slow.now, mine[i], want])
    assert log[: count[0]].tolist() == sent
    np.testing.assert_array_equal(fast.fills, slow.fills)
    assert (fast.actions, fast.rejected, fast.position) == (slow.actions, slow.rejected, slow.position)
    assert len(fast.fills) > 5


def _session(make_events: Callable[..., EventArray], rows: Any, delays: Delays, **options: Any) -> Session:
    """A session just after the snapshot of the conftest, whose tape ends at 1000."""
    session = Session(prepare(make_events([*rows, (1000, LEVEL, BID, 90, 1)])), delays, **options)
    session.elapse(1)
    return session


def test_an_order_travels_both_ways(make_events) -> None:
    """Sent at 1 with 10 out and 20 back: it takes the ask that is shown at 11, and is known at 31, not before."""
    session = _session(make_events, [(10, LEVEL, ASK, 102, 0), (12, LEVEL, ASK, 101, 9)], Delays(10, 20))
    order = session.submit(BID, 0, 5, MARKET)
    session.elapse(29)
    assert (session.position, session.open_lots(order)) == (0, 5)
    session.elapse(1)
    assert (session.position, session.open_lots(order)) == (5, 0)
    assert session.fills.tolist() == [[11, BID, 103, 5, 0]]


def test_the_desk_sees_the_book_when_it_is_known(make_events) -> None:
    """A row of 10 that is known 15 later moves our best bid at 25, while the exchange matches on it at 11."""
    events = make_events([(10, LEVEL, ASK, 101, 7), (1000, LEVEL, BID, 90, 1)], 15)
    session = Session(prepare(events), Delays(0, 0))
    session.elapse(24)
    assert session.best == (100, 102)
    session.submit(BID, 0, 2, MARKET)
    session.elapse(1)
    assert session.best == (100, 101)
    assert session.fills.tolist() == [[24, BID, 101, 2, 0]]


def test_a_post_only_order_that_would_take_is_refused_at_the_exchange(make_events) -> None:
    """The ask falls to our price while the order is on its way: no fill, and the desk hears of it a delay later."""
    session = _session(make_events, [(5, LEVEL, ASK, 101, 7)], Delays(10, 10))
    order = session.submit(BID, 101, 4, POST_ONLY)
    session.elapse(19)
    assert (session.rejected, session.open_lots(order)) == (1, 4)
    session.elapse(1)
    assert session.open_lots(order) == 0
    assert len(session.fills) == 0


def test_a_cancel_can_come_too_late(make_events) -> None:
    """A trade fills the order while its cancel travels: the position stands, the cancel does nothing."""
    session = _session(make_events, [(20, TRADE, ASK, 99, 300)], Delays(10, 10))
    order = session.submit(BID, 101, 4, LIMIT)
    session.elapse(14)
    assert session.cancel(order)
    assert not session.cancel(order)
    session.elapse(100)
    assert (session.position, session.open_lots(order), session.actions) == (4, 0, 2)
    assert not session.cancel(order)


def test_a_cancel_in_time_ends_the_order(make_events) -> None:
    """The same with the trade a nanosecond after the cancel arrived: nothing is filled."""
    session = _session(make_events, [(26, TRADE, ASK, 99, 300)], Delays(10, 10))
    order = session.submit(BID, 101, 4, LIMIT)
    session.elapse(14)
    session.cancel(order)
    session.elapse(100)
    assert (session.position, session.open_lots(order)) == (0, 0)


def test_an_id_is_never_given_twice(make_events) -> None:
    """A finished order's id names no later one, though its room is used again."""
    session = _session(make_events, [], Delays(0, 0))
    first = session.submit(BID, 0, 1, MARKET)
    session.elapse(1)
    second = session.submit(BID, 95, 3, LIMIT)
    session.elapse(1)
    assert first != second
    assert (session.open_lots(first), session.open_lots(second)) == (0, 3)
    assert not session.cancel(first)
    assert (session.order_price(first), session.order_price(second)) == (0, 95)


def test_a_full_desk_takes_no_more_orders(make_events) -> None:
    """1024 orders may be open, the next is not sent; neither is one of no size."""
    session = _session(make_events, [], Delays(5, 5))
    orders = [session.submit(BID, 50, 1) for _ in range(1025)]
    assert min(orders[:1024]) >= 0
    assert (orders[1024], session.submit(BID, 50, 0), session.actions) == (-1, -1, 1024)


def test_messages_go_round_the_wire_and_none_is_lost(make_events) -> None:
    """6144 messages through a ring of 4096: each order and each cancel arrives, and all room is free again."""
    session = _session(make_events, [], Delays(2, 2))
    for _ in range(3):
        orders = [session.submit(BID, 50, 1) for _ in range(1024)]
        session.elapse(5)
        for order in orders:
            session.cancel(order)
        session.elapse(5)
        assert {session.open_lots(order) for order in orders} == {0}
    assert session.actions == 6144
    assert session.submit(BID, 50, 1) >= 0


def test_more_fills_than_room_is_an_error(make_events) -> None:
    """A blotter that is too short says so instead of forgetting."""
    session = _session(make_events, [], Delays(0, 0), max_fills=1)
    session.submit(BID, 103, 50, IOC)
    with pytest.raises(DataError, match="max_fills 1"):
        session.elapse(1)


def test_a_session_needs_rows_and_delays_that_pass(make_events) -> None:
    """No rows, or an order that arrives before it is sent, is refused."""
    events = make_events([(5, QUOTE, BID, 100, 1)])
    with pytest.raises(DataError, match="a tape with rows"):
        Session(prepare(events), Delays(-1, 0))
    nothing = EventArray(*(getattr(events, name)[-1:] for name in events.__dataclass_fields__))
    with pytest.raises(DataError, match="a tape with rows"):
        Session(prepare(nothing), Delays(0, 0))


def test_a_strategys_own_error_ends_the_run(make_events) -> None:
    """What a compiled strategy raises reaches the caller."""
    session = _session(make_events, [], Delays(0, 0))
    with pytest.raises(ZeroDivisionError):
        session.run(_broken, (0,), 10)


def test_the_queue_model_is_the_callers_choice(make_events) -> None:
    """With no queue at all the first trade fills, with the pessimistic one it does not."""
    filled = []
    for options in ({"queue": TOUCH}, {}):
        session = _session(make_events, [(10, TRADE, ASK, 100, 1)], Delays(0, 0), **options)
        session.submit(BID, 100, 4, LIMIT)
        session.elapse(20)
        filled.append(session.position)
    assert filled == [4, 0]


@lean
def _broken(desk: Desk, params: Any) -> None:
    desk.cells[HELD] = desk.cells[NOW] // params[0]
