"""What the judge must know beside the decision itself: the other positions, how they move with it, what just happened.

The kernel tells it every round and every verdict and asks for a `Context` before each judgement. It forgets its
correlations and forecasts at a restart, and what it does not know the limits take for the worst; a stop loss of a
moment ago is remembered through the journal. It decides nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from decimal import Decimal

from cryptoai.core.clock import SECOND
from cryptoai.core.config import RiskConfig
from cryptoai.core.messages import Conditions, Inference, Verdict
from cryptoai.core.money import Money, Quantity
from cryptoai.execution.account import Account
from cryptoai.execution.orders import Orders
from cryptoai.risk_engine.comovement import Comovement
from cryptoai.risk_engine.situation import Context, Peer

__all__ = ["STOP_LOSS", "Surroundings"]

STOP_LOSS = "stop_loss"
"""The bound of a verdict that starts the cooldown of its instrument."""


class Surroundings:
    """One bot's; `adding` holds the times (ns) of orders that added exposure, `stopped` of each last stop loss."""

    def __init__(self, risk: RiskConfig, adding: list[int], stopped: Mapping[str, int]) -> None:
        self.adding = deque(adding)
        self.stopped = dict(stopped)
        self._cooldown = int(risk.cooldown_s * SECOND)
        self._tails: dict[str, float | None] = {}
        self._comovement = Comovement()

    def observe(self, account: Account) -> None:
        """A round of decisions begins: the marks of now."""
        self._comovement.observe({name: float(mark) for name, mark in account.marks.items() if mark.value > 0})

    def sent(self, time: int) -> None:
        """An order that adds exposure went out."""
        self.adding.append(time)

    def judged(self, verdict: Verdict, inference: Inference | None) -> None:
        """Remembers the forecast behind a verdict, and a stop loss."""
        self._tails[verdict.instrument] = inference.es99_bps if inference is not None else None
        if verdict.current and any(bound.limit == STOP_LOSS for bound in verdict.bounds):
            self.stopped[verdict.instrument] = verdict.time

    def context(
        self,
        bot: str,
        instrument: str,
        now: int,
        books: tuple[Account, Orders],
        inference: Inference | None,
        conditions: Conditions | None,
    ) -> Context:
        """For a judgement at `now`; the kernel adds its own states (kill, open order, unreconciled)."""
        while self.adding and self.adding[0] <= now - 60 * SECOND:
            self.adding.popleft()
        account, orders = books
        peers = self._peers(instrument, account, orders)
        stopped = self.stopped.get(instrument)
        return Context(
            bot=bot,
            day_start_equity=account.day_start,
            other_notional=Money(sum(abs(peer.notional) for peer in peers)),
            orders_last_minute=len(self.adding),
            es99_bps=inference.es99_bps if inference is not None else None,
            anomaly=inference.anomaly if inference is not None else None,
            alarm=inference.alarm if inference is not None else False,
            conditions=conditions,
            peers=peers,
            cooling=stopped is not None and now - stopped < self._cooldown,
        )

    def _peers(self, instrument: str, account: Account, orders: Orders) -> tuple[Peer, ...]:
        """The other instruments, as if what is open there were filled on the side that is held or wanted."""
        found = []
        for name, position in account.positions.items():
            opening = [o for o in orders.open(name) if not o.request.reduce_only]
            waiting = sum((o.remaining for o in opening), start=Quantity.zero())
            notional = account.notional(name, waiting).value
            if name == instrument or not notional:
                continue
            held = position.quantity.value or Decimal(sum(int(o.request.side.sign) for o in opening))
            signed = notional if held >= 0 else -notional
            found.append(Peer(signed, self._tails.get(name), self._comovement.correlation(instrument, name)))
        return tuple(found)
