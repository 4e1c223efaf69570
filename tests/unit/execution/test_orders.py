"""The order state machine: every legal path, no illegal one, and every message twice."""

from __future__ import annotations

import itertools

import pytest

from cryptoai.core.errors import InvariantError
from cryptoai.core.messages import Fill, OrderRequest, OrderStatus, OrderUpdate, Side
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.execution.orders import Orders
from cryptoai.testing.fakes import approved_order, make_instrument

S = OrderStatus
REQUEST = approved_order(make_instrument(), Side.BUY, "10", "100", time=1).request
ID = REQUEST.client_order_id


def update(status: OrderStatus) -> OrderUpdate:
    return OrderUpdate(client_order_id=ID, instrument=REQUEST.instrument, status=status, event_time=2, known_at=2)


def fill(number: int, quantity: str, side: Side = Side.BUY, request: OrderRequest = REQUEST) -> Fill:
    return Fill(
        client_order_id=request.client_order_id,
        fill_id=str(number),
        instrument=request.instrument,
        side=side,
        price=Price(100),
        quantity=Quantity(quantity),
        fee=Money(0),
        maker=False,
        event_time=2,
        known_at=2,
    )


def orders_in(status: OrderStatus) -> Orders:
    orders = Orders()
    orders.add(REQUEST)
    if status is not S.NEW:
        orders.sent(ID)
    if status is S.PARTIAL:
        orders.fill(fill(0, "4"))
    elif status is S.FILLED:
        orders.fill(fill(0, "10"))
    elif status not in (S.NEW, S.SENT):
        orders.update(update(status))
    order = orders.get(ID)
    assert order is not None
    assert order.status is status
    return orders


LEGAL = {
    (S.NEW, S.SENT),
    (S.NEW, S.CANCELLED),
    (S.NEW, S.REJECTED),
    *((S.SENT, s) for s in (S.OPEN, S.PARTIAL, S.FILLED, S.CANCELLED, S.REJECTED)),
    *((S.OPEN, s) for s in (S.PARTIAL, S.FILLED, S.CANCELLED, S.REJECTED)),
    *((S.PARTIAL, s) for s in (S.FILLED, S.CANCELLED)),
}
OLD_NEWS = {
    (S.OPEN, S.SENT),
    (S.PARTIAL, S.SENT),
    (S.PARTIAL, S.OPEN),
    (S.FILLED, S.SENT),
    (S.FILLED, S.OPEN),
    (S.FILLED, S.PARTIAL),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(S, S)))
def test_every_transition(before: OrderStatus, after: OrderStatus) -> None:
    """Of the 49 pairs the legal ones move, repeats and old news change nothing, the rest stop the bot."""
    orders = orders_in(before)
    if (before, after) in LEGAL:
        assert orders.update(update(after))
    elif before is after or (before, after) in OLD_NEWS:
        assert not orders.update(update(after))
    else:
        with pytest.raises(InvariantError, match="cannot go"):
            orders.update(update(after))


def test_fills_complete_an_order_once() -> None:
    """A fill that is told twice counts once; the last one closes the order."""
    orders = orders_in(S.SENT)
    assert orders.fill(fill(1, "4"))
    assert not orders.fill(fill(1, "4"))
    order = orders.get(ID)
    assert order is not None
    assert (order.status, order.remaining) == (S.PARTIAL, Quantity(6))
    assert orders.fill(fill(2, "6"))
    assert order.status is S.FILLED
    assert orders.open() == []
    assert not orders.fill(fill(2, "6"))


def test_a_fill_that_raced_with_the_cancel_counts() -> None:
    """It is real money; the order stays cancelled."""
    orders = orders_in(S.CANCELLED)
    assert orders.fill(fill(1, "4"))
    order = orders.get(ID)
    assert order is not None
    assert (order.status, order.filled) == (S.CANCELLED, Quantity(4))


@pytest.mark.parametrize(
    ("status", "late"),
    [
        (S.NEW, fill(1, "1")),
        (S.REJECTED, fill(1, "1")),
        (S.SENT, fill(1, "10.001")),
        (S.PARTIAL, fill(1, "6.001")),
        (S.FILLED, fill(1, "0.001")),
        (S.SENT, fill(1, "1", Side.SELL)),
    ],
)
def test_impossible_fills_stop_the_bot(status: OrderStatus, late: Fill) -> None:
    """Unsent, rejected, too much, or the wrong side."""
    with pytest.raises(InvariantError):
        orders_in(status).fill(late)


def test_an_id_is_one_order() -> None:
    """The same request again is the same order; another request under its id is not."""
    orders = Orders()
    assert orders.add(REQUEST) is orders.add(REQUEST)
    assert len(orders) == 1
    with pytest.raises(InvariantError, match="two different orders"):
        orders.add(REQUEST.model_copy(update={"quantity": Quantity(11)}))
    with pytest.raises(InvariantError, match="not one of ours"):
        orders.sent("cai-unknown")


def test_open_orders_by_instrument() -> None:
    """Only orders that are not final are open, oldest first."""
    orders = Orders()
    made = [
        approved_order(make_instrument(f"fake:{n}"), Side.BUY, "1", "100", time=1, decision=k).request
        for k, n in enumerate("ABA")
    ]
    for request in made:
        orders.add(request, S.SENT)
    assert [o.request for o in orders.open("fake:A")] == [made[0], made[2]]
    orders.fill(fill(0, "1", request=made[0]))
    assert [o.request for o in orders.open()] == made[1:]
    assert [o.request for o in orders] == made
