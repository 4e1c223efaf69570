"""Whatever the market, the funding and the orders do: the venue's books and ours agree, and nobody owes anything."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.latency import ConstantLatency
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.venue import Simulator
from cryptoai.core.config import BacktestConfig
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import Fill, Funding, Liquidation, OrderKind, OrderRequest, Side
from cryptoai.core.money import Money
from cryptoai.data_universe.events import ASK, BID, CLEAR, LEVEL, TRADE, EventArray
from cryptoai.data_universe.facts import Facts
from cryptoai.execution.account import Account
from cryptoai.testing.fakes import make_instrument

SECOND = 1_000_000_000
LINEAR = make_instrument("sim:LIN").model_copy(update={"min_notional": Money.zero(), "step": Decimal("0.1")})
INVERSE = make_instrument("sim:INV", contract=Contract.INVERSE).model_copy(
    update={"min_notional": Money.zero(), "step": Decimal(1), "contract_size": Decimal(10)}
)

Order = tuple[int, Side, OrderKind, int, int]

moves = st.lists(st.integers(-25, 25), min_size=4, max_size=12)
rates = st.lists(st.integers(-200, 200), min_size=4, max_size=12)
orders = st.lists(
    st.tuples(
        st.integers(0, 11),
        st.sampled_from(Side),
        st.sampled_from(OrderKind),
        st.integers(-30, 30),
        st.integers(1, 400),
    ),
    min_size=1,
    max_size=8,
)


def _prices(steps: list[int]) -> list[int]:
    """Mid prices in ticks, one a second, each move in percent."""
    levels = [1000]
    for step in steps:
        levels.append(max(50, levels[-1] * (100 + step) // 100))
    return levels


def _tape(levels: list[int]) -> EventArray:
    rows = []
    for second, mid in enumerate(levels):
        time = second * SECOND
        rows += [(time, CLEAR, 0, 0, 0, 0), (time, LEVEL, BID, 0, mid - 1, 60), (time, LEVEL, BID, 0, mid - 9, 300)]
        rows += [(time, LEVEL, ASK, 0, mid + 1, 60), (time, LEVEL, ASK, 1, mid + 9, 300), (time, TRADE, 1, 1, mid, 40)]
    time, kind, side, last, price, qty = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    small = (column.astype(np.int8) for column in (kind, side, last))
    return EventArray(time, time, *small, price, qty)


def _feed(made: Instrument, levels: list[int], funding: list[int]) -> Feed:
    times = np.arange(len(levels)) * SECOND + SECOND // 2
    marks = Facts.of("mark", times, times, [(level / 10, np.nan) for level in levels])
    paid = np.arange(len(funding)) * SECOND + 700_000_000
    tape = Facts.of("funding", paid, paid, [(rate / 10_000, 3600.0) for rate in funding])
    return Feed(made, _tape(levels), facts=(marks, tape))


def _request(number: int, order: Order, made: Instrument, mid: int) -> OrderRequest:
    second, side, kind, offset, lots = order
    price = made.price(max(1, mid + offset))
    return OrderRequest(
        client_order_id=f"o{number}",
        decision=number,
        time=second * SECOND,
        instrument=made.id,
        side=side,
        kind=kind,
        quantity=made.quantity(lots),
        price=price if kind.priced else None,
        trigger=price if kind.triggered else None,
    )


class _Books:
    """The bot's own account, told what the venue says and nothing else."""

    def __init__(self, made: Instrument, cash: Money) -> None:
        self.made, self.account = made, Account([made], cash)
        self.seen: set[str] = set()

    def take(self, event: object) -> None:
        if isinstance(event, Funding):
            self.account.pay_funding(event.instrument, event.amount)
            self.seen.add(event.cause)
        elif isinstance(event, Fill | Liquidation):
            self.account.fill(event)
            self.seen.add(type(event).__name__)
        account = self.account
        parts = account.initial + account.realised + account.unrealised() - account.fees + account.funding
        assert account.equity() == parts


@pytest.mark.parametrize("mode", ["cross", "isolated"])
@pytest.mark.parametrize("made", [LINEAR, INVERSE], ids=["linear", "inverse"])
@settings(max_examples=40, deadline=None)
@given(steps=moves, funding=rates, asked=orders)
def test_both_books_agree_and_nobody_owes_anything(
    made: Instrument, mode: str, steps: list[int], funding: list[int], asked: list[Order]
) -> None:
    """Cash, fees, funding and positions to the last decimal after every event; equity at the mark is never negative."""
    levels, cash = _prices(steps), Money(150)
    rules = BacktestConfig.model_validate({"margin_mode": mode, "price_band_pct": 0.2})
    venue = Simulator((_feed(made, levels, funding),), Assumptions(rules, ConstantLatency(1000, 0)), cash)
    (desk,), books = venue.desks().values(), _Books(made, cash)
    for second in range(len(levels) + 2):
        for number, order in enumerate(asked):
            if order[0] == second:
                level = levels[min(second, len(levels) - 1)]
                venue.send(_request(number, order, made, level), second * SECOND)
        for event in venue.poll((second + 1) * SECOND - 1):
            books.take(event)
        ours, theirs = books.account, desk.account
        assert (ours.cash, ours.fees, ours.funding) == (theirs.cash, theirs.fees, theirs.funding)
        assert ours.quantities() == theirs.quantities() == venue.positions((second + 1) * SECOND - 1)
        assert theirs.equity() >= Money.zero()


@settings(max_examples=25, deadline=None)
@given(funding=rates, lots=st.integers(1, 100))
def test_funding_moves_money_from_longs_to_shorts_and_makes_none(funding: list[int], lots: int) -> None:
    """Two clients of opposite sides: what one pays is what the other gets."""
    amounts = []
    for side in Side:
        venue = Simulator(
            (_feed(LINEAR, [1000] * 12, funding),), Assumptions(latency=ConstantLatency(0, 0)), Money(100_000)
        )
        venue.send(_request(0, (0, side, OrderKind.MARKET, 0, lots), LINEAR, 1000), 1)
        said = venue.poll(20 * SECOND)
        amounts.append(sum((e.amount for e in said if isinstance(e, Funding)), start=Money.zero()))
        assert sum(isinstance(e, Funding) for e in said) == len(funding)
    assert amounts[0] + amounts[1] == Money.zero()
