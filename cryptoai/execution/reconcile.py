"""The venue is the truth: what a starting bot must learn from it before it may trade (invariant 6).

`reconcile` is pure: it compares what the journal says with what the venue says. The kernel acts on the answer: orders
that the venue does not have are closed, ours that the journal lost are adopted (and then expire like any other), and
everything else that nobody can explain keeps the bot from trading until a person accepts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptoai.core.ids import CLIENT_ORDER_PREFIX
from cryptoai.core.messages import OrderRequest
from cryptoai.core.money import Quantity
from cryptoai.execution.account import Account
from cryptoai.execution.orders import Orders

__all__ = ["Reconciliation", "reconcile"]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """`adopt`: open at the venue, ours by prefix, unknown to us; `lost`: ids open to us that the venue has not."""

    adopt: tuple[OrderRequest, ...]
    lost: tuple[str, ...]
    problems: tuple[str, ...]


def reconcile(
    orders: Orders, account: Account, open_orders: Sequence[OrderRequest], positions: Mapping[str, Quantity]
) -> Reconciliation:
    """Compares our orders and positions with the venue's; call it after all that the venue had to tell was polled."""
    there = {request.client_order_id: request for request in open_orders}
    lost = tuple(o.request.client_order_id for o in orders.open() if o.request.client_order_id not in there)
    strangers = [request for name, request in there.items() if orders.get(name) is None]
    ours = [r for r in strangers if _ours(r, account)]
    foreign = [f"order {r.client_order_id} of {r.instrument} is not ours" for r in strangers if r not in ours]
    gaps = account.differences(positions)
    uneven = [f"the venue holds {gap} more of {name} than the journal explains" for name, gap in gaps.items()]
    return Reconciliation(tuple(ours), lost, tuple(foreign + uneven))


def _ours(request: OrderRequest, account: Account) -> bool:
    return request.client_order_id.startswith(CLIENT_ORDER_PREFIX) and request.instrument in account.positions
