"""The venue is the truth: what a starting bot must learn from it before it may trade (invariant 6).

Pure comparisons for the kernel, which acts on them in two steps. First every order of ours that is open, in the journal
or at the venue, is cancelled: a venue that does not know one says so, and of the others the last news comes. When none
is open any more, what the venue holds must be what the journal explains; anything else keeps the bot from trading until
a person accepts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptoai.core.ids import CLIENT_ORDER_PREFIX
from cryptoai.core.messages import OrderRequest
from cryptoai.core.money import Quantity
from cryptoai.execution.account import Account
from cryptoai.execution.orders import Orders

__all__ = ["adoptable", "unexplained"]


def adoptable(orders: Orders, account: Account, open_orders: Sequence[OrderRequest]) -> list[OrderRequest]:
    """Orders open at the venue that are ours by prefix and instrument, but not in the journal."""
    strangers = [request for request in open_orders if orders.get(request.client_order_id) is None]
    return [
        request
        for request in strangers
        if request.client_order_id.startswith(CLIENT_ORDER_PREFIX) and request.instrument in account.positions
    ]


def unexplained(
    orders: Orders, account: Account, open_orders: Sequence[OrderRequest], positions: Mapping[str, Quantity]
) -> list[str]:
    """What the journal does not explain, one sentence each; call it when no order of ours is open."""
    foreign = [r for r in open_orders if orders.get(r.client_order_id) is None]
    gaps = account.differences(positions)
    return [
        *(f"order {r.client_order_id} of {r.instrument} is not ours" for r in foreign),
        *(f"the venue holds {gap} more of {name} than the journal explains" for name, gap in gaps.items()),
    ]
