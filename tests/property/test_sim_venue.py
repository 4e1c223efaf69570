"""Whatever the market does, the simulated exchange gives nothing away and its fills add up in the account."""

from collections import defaultdict
from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.exchange import Exchange
from cryptoai.backtesting.latency import ConstantLatency
from cryptoai.backtesting.market import Feed
from cryptoai.core.config import BacktestConfig
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import Fill, OrderKind, OrderRequest, OrderUpdate, Side
from cryptoai.core.money import Money
from cryptoai.data_universe.events import ASK, BID, CLEAR, GAP, LEVEL, TRADE, EventArray
from cryptoai.execution.account import Account

MADE = Instrument(
    id="test:XUSD",
    base="X",
    quote="USD",
    contract=Contract.LINEAR,
    tick=Decimal("0.5"),
    step=Decimal("0.1"),
    min_notional=Money(0),
    maker_fee=Decimal("-0.0001"),
    taker_fee=Decimal("0.0005"),
    max_leverage=10,
)

ASSUME = Assumptions(BacktestConfig(impact_bps=0, price_band_pct=1), ConstantLatency(0, 0))

Row = tuple[int, int, int, int]
Order = tuple[int, Side, OrderKind, int, int, bool]

_SIDES = st.sampled_from([BID, ASK])
_PRICES = st.integers(90, 110)
_LEVELS = st.tuples(st.just(LEVEL), _SIDES, _PRICES, st.integers(0, 50))
_TRADES = st.tuples(st.just(TRADE), _SIDES, _PRICES, st.integers(1, 60))
_MARKS = st.sampled_from([(CLEAR, 0, 0, 0), (GAP, 0, 0, 0)])
_ROWS = st.lists(st.one_of(_LEVELS, _LEVELS, _LEVELS, _TRADES, _TRADES, _MARKS), min_size=1, max_size=60)
_ORDERS = st.lists(
    st.tuples(
        st.integers(1, 60),
        st.sampled_from(Side),
        st.sampled_from(OrderKind),
        _PRICES,
        st.integers(1, 80),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def _events(rows: list[Row]) -> EventArray:
    table = np.array([(CLEAR, 0, 0, 0), (LEVEL, BID, 99, 20), (LEVEL, ASK, 101, 20), *rows], dtype=np.int64)
    kind, side, price, qty = (np.ascontiguousarray(column) for column in table.T)
    time = np.arange(len(table), dtype=np.int64)
    ones = np.ones(len(table), np.int8)
    return EventArray(time, time, kind.astype(np.int8), side.astype(np.int8), ones, price, qty)


def _request(name: int, order: Order) -> OrderRequest:
    time, side, kind, ticks, lots, reduce = order
    return OrderRequest(
        client_order_id=f"o{name}",
        decision=name,
        time=time,
        instrument=MADE.id,
        side=side,
        kind=kind,
        quantity=MADE.quantity(lots),
        price=MADE.price(ticks) if kind.priced else None,
        trigger=MADE.price(ticks) if kind.triggered else None,
        trigger_on="last" if ticks % 2 else "mark",
        reduce_only=reduce,
    )


def _run(events: EventArray, orders: list[Order], stops: set[int]) -> list[OrderUpdate | Fill]:
    """Everything that the exchange says; `stops` are additional times at which it is advanced."""
    exchange = Exchange(Feed(MADE, events), ASSUME)
    arriving = sorted(enumerate(orders), key=lambda item: item[1][0])
    for time in sorted({*stops, *(order[0] for order in orders)}):
        exchange.advance(time)
        for name, order in arriving:
            if order[0] == time:
                exchange.place(_request(name, order), time)
    exchange.advance(10_000)
    return exchange.answers()


@settings(max_examples=150, deadline=None)
@given(rows=_ROWS, orders=_ORDERS)
def test_fills_respect_size_price_and_reduce_only(rows: list[Row], orders: list[Order]) -> None:
    """No order gets more than it asked for, a worse price than its limit, or across zero if it may only reduce."""
    requests = {f"o{name}": _request(name, order) for name, order in enumerate(orders)}
    filled: dict[str, Decimal] = defaultdict(Decimal)
    position = Decimal(0)
    for fill in (a for a in _run(_events(rows), orders, set()) if isinstance(a, Fill)):
        request = requests[fill.client_order_id]
        filled[fill.client_order_id] += fill.quantity.value
        assert filled[fill.client_order_id] <= request.quantity.value
        if request.price is not None:
            assert request.side.sign * (fill.price.value - request.price.value) <= 0
            assert not fill.maker or fill.price == request.price
        before, position = position, position + fill.signed.value
        assert not request.reduce_only or (before * position >= 0 and abs(position) < abs(before))


@settings(max_examples=150, deadline=None)
@given(rows=_ROWS, orders=_ORDERS)
def test_no_unit_of_the_market_fills_us_twice(rows: list[Row], orders: list[Order]) -> None:
    """Taken at a price <= displayed there; filled while resting <= traded against us plus displayed and not taken."""
    events = _events(rows)
    fills = [a for a in _run(events, orders, set()) if isinstance(a, Fill)]
    shown: dict[tuple[int, int], int] = defaultdict(int)
    traded: dict[int, int] = defaultdict(int)
    for kind, side, price, qty in zip(events.kind, events.side, events.price, events.qty, strict=True):
        if kind == LEVEL:
            shown[(int(side), int(price))] += int(qty)
        elif kind == TRADE:
            traded[int(side)] += int(qty)
    taken: dict[tuple[int, int], int] = defaultdict(int)
    rested: dict[int, int] = defaultdict(int)
    for fill in fills:
        if fill.maker:
            rested[-fill.side.sign] += MADE.lots(fill.quantity)
        else:
            taken[(-fill.side.sign, MADE.ticks(fill.price))] += MADE.lots(fill.quantity)
    for level, lots in taken.items():
        assert lots <= shown[level]
    for aggressor, lots in rested.items():
        offered = sum(qty for (side, _), qty in shown.items() if side == aggressor)
        used = sum(qty for (side, _), qty in taken.items() if side == aggressor)
        assert lots <= traded[aggressor] + offered - used


@settings(max_examples=100, deadline=None)
@given(rows=_ROWS, orders=_ORDERS)
def test_the_account_identity_holds_at_every_fill(rows: list[Row], orders: list[Order]) -> None:
    """equity = cash + sum(quantity x mark) = initial + realised + unrealised - fees, to the last decimal."""
    events = _events(rows)
    account = Account([MADE], Money(1000))
    marks = iter(events.price[events.kind == TRADE])
    net = Decimal(0)
    for fill in (a for a in _run(events, orders, set()) if isinstance(a, Fill)):
        account.fill(fill)
        account.mark(MADE.id, MADE.price(int(next(marks, 100))))
        net += fill.signed.value
        worth = account.marks[MADE.id].value * net
        assert account.equity().value == account.cash.value + worth
        assert account.equity() == account.initial + account.realised + account.unrealised() - account.fees
        assert account.quantities().get(MADE.id, MADE.quantity(0)).value == net


@settings(max_examples=60, deadline=None)
@given(rows=_ROWS, orders=_ORDERS, stops=st.sets(st.integers(0, 70), max_size=10))
def test_how_time_is_cut_changes_nothing(rows: list[Row], orders: list[Order], stops: set[int]) -> None:
    """The same market and orders give the same answers however often the exchange is looked at."""
    events = _events(rows)
    assert _run(events, orders, stops) == _run(events, orders, set())


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.one_of(
            st.tuples(st.just(LEVEL), st.just(BID), st.integers(97, 99), st.integers(0, 50)),
            st.tuples(st.just(TRADE), st.just(-1), st.integers(97, 99), st.integers(1, 60)),
        ),
        max_size=40,
    ),
    lots=st.integers(1, 80),
)
def test_the_queue_is_that_of_a_five_line_reference(rows: list[Row], lots: int) -> None:
    """One buy at 99 behind 20: an independent count of what is ahead gives the same fills."""
    ahead, left, wanted = 20, lots, []
    for kind, _, price, qty in rows:
        if kind == LEVEL and price == 99:
            ahead = min(ahead, qty)
        elif kind == TRADE:
            ahead, rest = (0, qty) if price < 99 else (max(0, ahead - qty), max(0, qty - ahead))
            if min(left, rest):
                wanted.append(min(left, rest))
                left -= wanted[-1]
    events = _events(rows)
    exchange = Exchange(Feed(MADE, events), ASSUME)
    exchange.advance(2)
    exchange.place(_request(0, (2, Side.BUY, OrderKind.POST_ONLY, 99, lots, False)), 2)
    exchange.advance(10_000)
    assert [MADE.lots(a.quantity) for a in exchange.answers() if isinstance(a, Fill)] == wanted
