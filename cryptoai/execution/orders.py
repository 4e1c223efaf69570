"""What became of each order: a small state machine that accepts every message twice and nothing impossible.

    NEW ── SENT ──┬── OPEN ──┬── PARTIAL ──┬── FILLED
                  └──────────┴─────────────┴── CANCELLED | REJECTED

The kernel feeds it what it sends and what the venue says; replay feeds it the journal. A message that repeats what is
known changes nothing; one that contradicts it is an InvariantError. A fill that arrives after the cancel it raced with
is real money and is taken, as long as the order had that much left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptoai.core.errors import InvariantError
from cryptoai.core.messages import Fill, OrderRequest, OrderStatus, OrderUpdate
from cryptoai.core.money import Quantity

__all__ = ["Order", "Orders"]

S = OrderStatus
_NEXT: dict[OrderStatus, frozenset[OrderStatus]] = {
    S.NEW: frozenset({S.SENT, S.CANCELLED, S.REJECTED}),
    S.SENT: frozenset({S.OPEN, S.PARTIAL, S.FILLED, S.CANCELLED, S.REJECTED}),
    S.OPEN: frozenset({S.PARTIAL, S.FILLED, S.CANCELLED, S.REJECTED}),
    S.PARTIAL: frozenset({S.FILLED, S.CANCELLED}),
    S.FILLED: frozenset(),
    S.CANCELLED: frozenset(),
    S.REJECTED: frozenset(),
}
_OLD_NEWS: dict[OrderStatus, frozenset[OrderStatus]] = {
    S.OPEN: frozenset({S.SENT}),
    S.PARTIAL: frozenset({S.SENT, S.OPEN}),
    S.FILLED: frozenset({S.SENT, S.OPEN, S.PARTIAL}),
}
"""Late acknowledgements that fills have already overtaken."""


@dataclass(slots=True)
class Order:
    """One order and what is known of it."""

    request: OrderRequest
    status: OrderStatus = OrderStatus.NEW
    filled: Quantity = field(default_factory=Quantity.zero)
    cancel_asked: bool = False
    fills: set[str] = field(default_factory=set)

    @property
    def open(self) -> bool:
        return not self.status.final

    @property
    def remaining(self) -> Quantity:
        return self.request.quantity - self.filled


class Orders:
    """All orders of one bot, in the order they were made."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._open: dict[str, Order] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def __iter__(self) -> Iterator[Order]:
        return iter(self._orders.values())

    def get(self, client_order_id: str) -> Order | None:
        return self._orders.get(client_order_id)

    def open(self, instrument: str | None = None) -> list[Order]:
        """Orders that are not final, oldest first."""
        return [o for o in self._open.values() if instrument in (None, o.request.instrument)]

    def add(self, request: OrderRequest, status: OrderStatus = OrderStatus.NEW) -> Order:
        """A new order; the same request again gives the same order, another one under its id is an InvariantError."""
        known = self._orders.get(request.client_order_id)
        if known is None:
            known = Order(request, status)
            self._orders[request.client_order_id] = self._open[request.client_order_id] = known
        elif known.request != request:
            raise InvariantError(f"two different orders have the id {request.client_order_id}")
        return known

    def update(self, update: OrderUpdate) -> bool:
        """Takes in what the venue says; False if it says nothing new."""
        order = self._known(update.client_order_id)
        if update.status is order.status or update.status in _OLD_NEWS.get(order.status, ()):
            return False
        self._move(order, update.status)
        return True

    def sent(self, client_order_id: str) -> None:
        self._move(self._known(client_order_id), OrderStatus.SENT)

    def fill(self, fill: Fill) -> bool:
        """Takes in an execution; False if this `fill_id` is known already."""
        order = self._known(fill.client_order_id)
        if fill.fill_id in order.fills:
            return False
        self._check(order, fill)
        order.fills.add(fill.fill_id)
        order.filled = order.filled + fill.quantity
        self._advance(order)
        return True

    def _advance(self, order: Order) -> None:
        if order.status.final:
            return
        status = OrderStatus.PARTIAL if order.remaining else OrderStatus.FILLED
        if status is not order.status:
            self._move(order, status)

    def _check(self, order: Order, fill: Fill) -> None:
        request, late = order.request, order.status in (OrderStatus.NEW, OrderStatus.REJECTED)
        if late or (fill.instrument, fill.side) != (request.instrument, request.side):
            raise InvariantError(f"fill {fill.fill_id} does not fit order {request.client_order_id} ({order.status})")
        if not Quantity.zero() < fill.quantity <= order.remaining:
            raise InvariantError(
                f"fill {fill.fill_id} of {fill.quantity} is more than the {order.remaining} left of "
                f"{request.client_order_id}"
            )

    def _move(self, order: Order, status: OrderStatus) -> None:
        if status not in _NEXT[order.status]:
            raise InvariantError(f"order {order.request.client_order_id} cannot go from {order.status} to {status}")
        order.status = status
        if status.final:
            self._open.pop(order.request.client_order_id, None)

    def _known(self, client_order_id: str) -> Order:
        order = self._orders.get(client_order_id)
        if order is None:
            raise InvariantError(f"order {client_order_id} is not one of ours")
        return order
