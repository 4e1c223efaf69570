"""Hand-made markets for the backtesting tests: a few events, a whole exchange."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.exchange import Exchange
from cryptoai.backtesting.latency import ConstantLatency
from cryptoai.backtesting.market import Feed
from cryptoai.core.config import BacktestConfig
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import OrderKind, OrderRequest, Side
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.data_universe.events import ASK, BID, CLEAR, LEVEL, EventArray

Row = tuple[int, int, int, int, int]
"""(time, kind, side, ticks, steps); every row is a whole message but those of the opening snapshot."""

SNAPSHOT: list[Row] = [
    (0, CLEAR, 0, 0, 0),
    (0, LEVEL, BID, 100, 100),
    (0, LEVEL, BID, 99, 200),
    (0, LEVEL, ASK, 102, 30),
    (0, LEVEL, ASK, 103, 40),
    (0, LEVEL, ASK, 110, 1000),
]


def _events(rows: Sequence[Row], delay: int = 0) -> EventArray:
    table = np.array([*SNAPSHOT, *rows], dtype=np.int64).reshape(-1, 5)
    time, kind, side, price, qty = (np.ascontiguousarray(column) for column in table.T)
    last = np.ones(len(table), np.int8)
    last[: len(SNAPSHOT) - 1] = 0
    return EventArray(time, time + delay, kind.astype(np.int8), side.astype(np.int8), last, price, qty)


def _instrument(contract: Contract = Contract.LINEAR, min_notional: str = "0") -> Instrument:
    return Instrument(
        id="test:XUSD",
        base="X",
        quote="USD",
        contract=contract,
        tick=Decimal("0.5"),
        step=Decimal("0.1"),
        min_notional=Money(min_notional),
        maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.0005"),
        max_leverage=10,
    )


def _request(
    name: str, side: Side, kind: OrderKind, ticks: int | None, lots: int, *, reduce: bool = False
) -> OrderRequest:
    made = _instrument()
    return OrderRequest(
        client_order_id=name,
        decision=0,
        time=0,
        instrument=made.id,
        side=side,
        kind=kind,
        quantity=made.quantity(lots),
        price=None if ticks is None else made.price(ticks),
        reduce_only=reduce,
    )


@pytest.fixture
def make_events() -> Callable[..., EventArray]:
    """Rows after a fixed snapshot: bids 100 x 100, 99 x 200; asks 102 x 30, 103 x 40, 110 x 1000."""
    return _events


@pytest.fixture
def make_instrument() -> Callable[..., Instrument]:
    """Tick 0.5, step 0.1, maker 2 and taker 5 basis points."""
    return _instrument


@pytest.fixture
def make_request() -> Callable[..., OrderRequest]:
    """(name, side, kind, ticks or None, lots)."""
    return _request


@pytest.fixture
def make_exchange() -> Callable[..., Exchange]:
    """An exchange over the snapshot and some rows, answers known 5 ns later, no impact and a wide price band; `rules`
    are keys of the configuration's backtest section."""

    def build(rows: Sequence[Row] = (), made: Instrument | None = None, **rules: Any) -> Exchange:
        wide = BacktestConfig.model_validate({"price_band_pct": 1.0, "impact_bps": 0} | rules)
        return Exchange(Feed(made or _instrument(), _events(rows)), Assumptions(wide, ConstantLatency(5, 5)))

    return build


@pytest.fixture
def price() -> Callable[[int], Price]:
    """Ticks to a price of the test instrument."""
    return _instrument().price


@pytest.fixture
def lots() -> Callable[[int], Quantity]:
    """Steps to a quantity of the test instrument."""
    return _instrument().quantity
