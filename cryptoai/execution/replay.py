"""The past of a bot, rebuilt from its journal: account, orders, counters, kill.

Called by `Kernel.resume`. Replay is also an audit: every equity record is computed again from the fills before it, and
a journal that does not add up is a DataError instead of a wrong account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Instrument
from cryptoai.core.journal import Record
from cryptoai.core.messages import Equity, Fill, Funding, Liquidation, OrderRequest, OrderStatus, OrderUpdate
from cryptoai.core.money import Money, Quantity
from cryptoai.execution import kinds
from cryptoai.execution.account import Account
from cryptoai.execution.orders import Orders
from cryptoai.execution.surroundings import STOP_LOSS
from cryptoai.risk_engine.kill_switch import KillAction

__all__ = ["Past", "replay"]


@dataclass(slots=True)
class Past:
    """adding: times (ns) of the orders that added exposure; stopped: time of each instrument's last stop loss; killed:
    time, reason and author of a kill still standing, `action` what it does."""

    account: Account
    orders: Orders
    decisions: int = 0
    fills: int = 0
    adding: list[int] = field(default_factory=list)
    stopped: dict[str, int] = field(default_factory=dict)
    killed: tuple[int, str, str] | None = None
    action: KillAction = KillAction.FLATTEN
    last_time: int = 0
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def take(self, record: Record, bot: str) -> None:
        """One more record, in the journal's order."""
        self.last_time = record.time
        if record.kind == kinds.START and record.body["bot"] != bot:
            raise DataError(f"the journal belongs to bot {record.body['bot']}, not to {bot}; give each bot its own")
        handler = _HANDLERS.get(record.kind)
        if handler is not None:
            handler(self, record)

    def _decision(self, record: Record) -> None:
        self.decisions = max(self.decisions, int(record.body["decision"]) + 1)

    def _verdict(self, record: Record) -> None:
        body = record.body
        if Quantity(body["current"]) and any(bound["limit"] == STOP_LOSS for bound in body["bounds"]):
            self.stopped[body["instrument"]] = record.time

    def _order(self, record: Record) -> None:
        """Whether it reached the wire is not known; reconciliation finds out."""
        request = OrderRequest.model_validate(record.body)
        self.orders.add(request, OrderStatus.SENT)
        if not request.reduce_only:
            self.adding.append(request.time)

    def _update(self, record: Record) -> None:
        update = OrderUpdate.model_validate(record.body)
        if self.orders.get(update.client_order_id) is not None:
            self.orders.update(update)

    def _fill(self, record: Record) -> None:
        fill = Fill.model_validate(record.body)
        key = (fill.client_order_id, fill.fill_id)
        if key in self._seen:
            return
        self._seen.add(key)
        if self.orders.get(fill.client_order_id) is not None:
            self.orders.fill(fill)
        self.account.fill(fill)
        self.fills += 1

    def _funding(self, record: Record) -> None:
        paid = Funding.model_validate(record.body)
        self.account.pay_funding(paid.instrument, paid.amount)

    def _liquidation(self, record: Record) -> None:
        self.account.fill(Liquidation.model_validate(record.body))

    def _kill(self, record: Record) -> None:
        self.killed, self.action = (record.time, record.body["reason"], record.body["by"]), KillAction.FLATTEN

    def _emergency(self, record: Record) -> None:
        self.action = KillAction(record.body["action"])

    def _release(self, _record: Record) -> None:
        self.killed = None
        self.account.forgive_drawdown()

    def _audit(self, record: Record) -> None:
        equity = Equity.model_validate(record.body)
        for instrument, mark in equity.marks.items():
            self.account.mark(instrument, mark)
        if self.account.observe(record.time) != equity:
            raise DataError(f"journal record {record.seq} does not add up: its equity is not that of the fills before")


_HANDLERS: dict[str, Callable[[Past, Record], None]] = {
    kinds.DECISION: Past._decision,
    kinds.VERDICT: Past._verdict,
    kinds.ORDER: Past._order,
    kinds.UPDATE: Past._update,
    kinds.FILL: Past._fill,
    kinds.FUNDING: Past._funding,
    kinds.LIQUIDATION: Past._liquidation,
    kinds.EQUITY: Past._audit,
    kinds.KILL: Past._kill,
    kinds.RELEASE: Past._release,
    kinds.EMERGENCY: Past._emergency,
}


def replay(records: Iterable[Record], bot: str, instruments: Sequence[Instrument], initial: Money) -> Past:
    """Everything that a kernel must know to go on; an empty journal gives a new account."""
    past = Past(Account(instruments, initial), Orders())
    for record in records:
        past.take(record, bot)
    return past
