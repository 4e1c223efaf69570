"""The past of a bot, rebuilt from its journal: account, orders, counters, kill.

Called by `Kernel.resume`. Replay is also an audit: every equity record is computed again from the fills before it, and
a journal that does not add up is a DataError instead of a wrong account.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Instrument
from cryptoai.core.journal import Record
from cryptoai.core.messages import Equity, Fill, Funding, Liquidation, OrderRequest, OrderStatus, OrderUpdate
from cryptoai.core.money import Money
from cryptoai.execution import kinds
from cryptoai.execution.account import Account
from cryptoai.execution.orders import Orders

__all__ = ["Past", "replay"]


@dataclass(slots=True)
class Past:
    """adding: times (ns) of the orders that added exposure; killed: time, reason and author of a kill still
    standing."""

    account: Account
    orders: Orders
    decisions: int = 0
    fills: int = 0
    adding: list[int] = field(default_factory=list)
    killed: tuple[int, str, str] | None = None
    last_time: int = 0
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def take(self, record: Record, bot: str) -> None:
        body = record.body
        self.last_time = record.time
        if record.kind == kinds.START and body["bot"] != bot:
            raise DataError(f"the journal belongs to bot {body['bot']}, not to {bot}; give each bot its own")
        if record.kind == kinds.DECISION:
            self.decisions = max(self.decisions, int(body["decision"]) + 1)
        elif record.kind == kinds.ORDER:
            self._order(OrderRequest.model_validate(body))
        elif record.kind == kinds.UPDATE:
            self._update(OrderUpdate.model_validate(body))
        elif record.kind == kinds.FILL:
            self._fill(Fill.model_validate(body))
        elif record.kind in (kinds.FUNDING, kinds.LIQUIDATION):
            self._settle(record)
        elif record.kind == kinds.EQUITY:
            self._audit(record, Equity.model_validate(body))
        elif record.kind == kinds.KILL:
            self.killed = (record.time, body["reason"], body["by"])
        elif record.kind == kinds.RELEASE:
            self.killed = None
            self.account.forgive_drawdown()

    def _order(self, request: OrderRequest) -> None:
        """Whether it reached the wire is not known; reconciliation finds out."""
        self.orders.add(request, OrderStatus.SENT)
        if not request.reduce_only:
            self.adding.append(request.time)

    def _update(self, update: OrderUpdate) -> None:
        if self.orders.get(update.client_order_id) is not None:
            self.orders.update(update)

    def _fill(self, fill: Fill) -> None:
        key = (fill.client_order_id, fill.fill_id)
        if key in self._seen:
            return
        self._seen.add(key)
        if self.orders.get(fill.client_order_id) is not None:
            self.orders.fill(fill)
        self.account.fill(fill)
        self.fills += 1

    def _settle(self, record: Record) -> None:
        if record.kind == kinds.FUNDING:
            paid = Funding.model_validate(record.body)
            self.account.pay_funding(paid.instrument, paid.amount)
        else:
            self.account.fill(Liquidation.model_validate(record.body))

    def _audit(self, record: Record, equity: Equity) -> None:
        for instrument, mark in equity.marks.items():
            self.account.mark(instrument, mark)
        if self.account.observe(record.time) != equity:
            raise DataError(f"journal record {record.seq} does not add up: its equity is not that of the fills before")


def replay(records: Iterable[Record], bot: str, instruments: Sequence[Instrument], initial: Money) -> Past:
    """Everything that a kernel must know to go on; an empty journal gives a new account."""
    past = Past(Account(instruments, initial), Orders())
    for record in records:
        past.take(record, bot)
    return past
