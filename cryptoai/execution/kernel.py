"""The one loop: market in, venue's news in, decisions out, in every mode.

A composition root builds a `Kernel` from ports and calls `step` with the time of its clock: a backtest as fast as it
can, a live bot when the clock says so. The kernel reads no clock, draws no random number and imports no market data,
so the same inputs give a byte-identical journal.

Order of a step: advance the market, take in what the venue said, watch the limits that need no decision (drawdown, kill
switch), cancel what is too old, and once an interval decide for each instrument. An order is journalled before it is
sent (invariant 5); nothing but what the judge minted is sent (invariant 1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from cryptoai.core.bundle import canonical_json
from cryptoai.core.clock import MS
from cryptoai.core.config import Config
from cryptoai.core.errors import DataError, InvariantError, PermanentError, TransientError, VenueError
from cryptoai.core.ids import content_hash
from cryptoai.core.instruments import Instrument
from cryptoai.core.journal import Record
from cryptoai.core.messages import (
    AccountView,
    Fill,
    Funding,
    Liquidation,
    OrderRequest,
    OrderStatus,
    OrderUpdate,
    Quote,
    Severity,
    Side,
)
from cryptoai.core.money import Money, Quantity
from cryptoai.core.state import StateVector
from cryptoai.execution import kinds
from cryptoai.execution.account import Account
from cryptoai.execution.alerts import Alerts, line, plain
from cryptoai.execution.orders import Order, Orders
from cryptoai.execution.ports import JournalSink, Market, Model, Venue
from cryptoai.execution.proposing import Thought, propose, refusal
from cryptoai.execution.reconcile import adoptable, unexplained
from cryptoai.execution.replay import Past
from cryptoai.execution.replay import replay as rebuild
from cryptoai.execution.surroundings import Surroundings
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.risk_engine.emergency import Emergency, Event, Stage
from cryptoai.risk_engine.judge import judge
from cryptoai.risk_engine.kill_switch import KillAction, KillState, KillSwitch
from cryptoai.risk_engine.limits import daily_loss_breach, drawdown_breach
from cryptoai.risk_engine.situation import Context

__all__ = ["Kernel"]

GOVERNING = {"model", "risk", "execution"}
"""The sections that can change a decision; folders and ports cannot, and stay out of the journal."""

ADOPTED = "adopted"
"""Client order id of the entries that bring our position to the venue's."""


@dataclass(eq=False)
class Kernel:
    """One bot. `account` and `orders` may be read by anyone and are changed by the kernel only.

    `schema_hash` and `seed` only go into the journal's start record.
    """

    bot: str
    revision: str
    instruments: tuple[Instrument, ...]
    config: Config
    market: Market
    venue: Venue
    model: Model
    journal: JournalSink
    kill_switch: KillSwitch
    schema_hash: str = ""
    seed: int = 0

    account: Account = field(init=False)
    orders: Orders = field(init=False)
    decisions: int = field(init=False, default=0)
    fills: int = field(init=False, default=0)
    blocked: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        if not self.instruments or len({i.id for i in self.instruments}) != len(self.instruments):
            raise InvariantError("a kernel needs at least one instrument, each once")
        self._emergency = Emergency()
        self._take(rebuild((), self.bot, self.instruments, Money(Decimal(str(self.config.execution.initial_cash)))))
        self._interval = self.config.execution.decision_interval_ms * MS
        self._ttl = self.config.execution.order_ttl_ms * MS
        self._alerts = Alerts(self.journal)
        self._started = False
        self._reconciled = False
        self._now = self._next = self._origin = 0
        size = self.config.model.context
        self._history: dict[str, deque[StateVector]] = {i.id: deque(maxlen=size) for i in self.instruments}

    # ------------------------------------------------------------------ public

    def resume(self, records: list[Record]) -> None:
        """Goes on where the journal ends: call it once, before the first step, with the records of the journal.

        A kill that the journal holds and no person released since is engaged again.
        """
        if self._started:
            raise InvariantError("a kernel resumes before its first step, not after")
        past = rebuild(records, self.bot, self.instruments, self.account.initial)
        self._take(past)
        self._now = past.last_time
        if past.killed is not None and self.kill_switch.state.time < past.killed[0]:
            time, reason, by = past.killed
            self.kill_switch.engage(reason, by, time, past.action)

    def step(self, now_ns: int) -> None:
        """Brings the bot to `now_ns`; may be called as often as wanted, decisions keep their interval."""
        if now_ns < self._now:
            raise InvariantError(f"the kernel was stepped back from {self._now} to {now_ns}")
        self._now = now_ns
        first, self._started = not self._started, True
        if first:
            self._next = self._origin = now_ns
            self._write(kinds.START, self._start_body())
        self.market.advance(now_ns)
        self._mark()
        self._absorb()
        if first:
            self._clear()
        if not self._reconciled:
            self._reconcile()
        self._guard()
        self._expire()
        if now_ns >= self._next:
            self._round()

    def wake(self) -> int:
        """The earliest time (ns) at which a step has something to do of its own: decide, or cancel an old order."""
        expiries = [o.request.time + self._ttl for o in self.orders.open() if not o.cancel_asked]
        return min([self._next, *expiries])

    def accept(self, reason: str, by: str) -> None:
        """A person accepts what reconciliation could not explain: the venue's positions become ours."""
        if not reason.strip() or not by.strip():
            raise InvariantError("accepting an unexplained position needs a name (by) and a reason")
        self._adopt(self.account.differences(self.venue.positions(self._now)))
        self.blocked = False
        self._alert(Severity.WARNING, "reconciliation_accepted", f"{by}: {reason}")

    def finish(self, now_ns: int) -> None:
        """Asks to cancel what is open, takes in the last news and closes the journal's story; positions stay."""
        if not self._started:
            self.step(now_ns)
        self._now = now_ns
        self.market.advance(now_ns)
        self._mark()
        for order in self.orders.open():
            self._cancel(order)
        self._absorb()
        self._record_equity()
        self._write(kinds.END, {"decisions": self.decisions, "fills": self.fills})

    # ------------------------------------------------------------------ news

    def _mark(self) -> None:
        for instrument in self.instruments:
            quote = self.market.quote(instrument.id)
            if quote is not None:
                self.account.mark(instrument.id, quote.mid)

    def _absorb(self) -> None:
        """The venue's news. A word of an order that nobody knows stops the bot, once it knows what is open."""
        for event in self.venue.poll(self._now):
            if isinstance(event, Funding | Liquidation):
                self._settle(event)
            elif self.orders.get(event.client_order_id) is None:
                if isinstance(event, OrderUpdate) and not self._reconciled:
                    continue
                self.blocked = True
                self._alert(
                    Severity.CRITICAL, "unknown_order", f"the venue speaks of {event.client_order_id}: not ours"
                )
            elif isinstance(event, Fill):
                self._on_fill(event)
            elif self.orders.update(event):
                self._write(kinds.UPDATE, event.body())

    def _on_fill(self, fill: Fill) -> None:
        if self.orders.fill(fill):
            self._book(fill)

    def _settle(self, event: Funding | Liquidation) -> None:
        """What the venue books without an order of ours. Being liquidated means that every limit of ours failed."""
        if isinstance(event, Funding):
            self.account.pay_funding(event.instrument, event.amount)
            self._write(kinds.FUNDING, event.body())
        else:
            self.account.fill(event)
            self._write(kinds.LIQUIDATION, event.body())
            self._alert(Severity.CRITICAL, "liquidation", f"{event.signed} {event.instrument}: {event.reason}")
        self._record_equity()

    def _book(self, fill: Fill) -> None:
        self.account.fill(fill)
        self.fills += 1
        self._write(kinds.FILL, fill.body())
        self._record_equity()

    def _clear(self) -> None:
        """On every start: what is open is taken over and cancelled, so that its last news comes."""
        self._take_over(self.venue.open_orders(self._now))
        for order in self.orders.open():
            self._cancel(order)

    def _take_over(self, there: Sequence[OrderRequest]) -> bool:
        """Adopts what is open at the venue and ours, but not in the journal; whether there was any."""
        found = adoptable(self.orders, self.account, there)
        for request in found:
            self.orders.add(request, OrderStatus.OPEN)
            self._alert(Severity.WARNING, "order_adopted", f"{request.client_order_id} was open at the venue")
        return bool(found)

    def _reconcile(self) -> None:
        """Once nothing is open: the venue's word against the journal's. Until then nothing is sent."""
        if self.orders.open():
            self._episode("reconciling", True, Severity.INFO, "waiting for the last news of orders from before")
            return
        self._reconciled = True
        there = self.venue.open_orders(self._now)
        for problem in unexplained(self.orders, self.account, there, self.venue.positions(self._now)):
            self.blocked = True
            self._alert(Severity.CRITICAL, "unreconciled", f"{problem}; nothing is traded until a person accepts it")

    def _adopt(self, gaps: dict[str, Quantity]) -> None:
        """Books entries at the mark, without a fee, that make our positions the venue's."""
        for name, gap in gaps.items():
            mark = self.account.marks.get(name)
            if mark is None:
                raise DataError(f"a position in {name} cannot be adopted: close it by hand, the bot has no price of it")
            entry = Fill(
                client_order_id=ADOPTED,
                fill_id=f"{ADOPTED}-{self._now}-{name}",
                instrument=name,
                side=Side.BUY if gap > Quantity.zero() else Side.SELL,
                price=mark,
                quantity=abs(gap),
                fee=Money.zero(),
                maker=False,
                event_time=self._now,
                known_at=self._now,
            )
            self._book(entry)

    # ------------------------------------------------------------------ watch

    def _guard(self) -> None:
        """The switch first, so that a person's release is not undone by the drawdown that it forgives."""
        self._obey_switch()
        reason = self._fallen()
        if reason and not self._emergency.flattens:
            self._engage(reason)
            self._obey_switch()
        while self._emergency.active and (event := self._protect()) is not None:
            self._move(event)

    def _fallen(self) -> str:
        """Why the switch must be engaged, or nothing; a drawdown that cannot be told is one."""
        try:
            breach = drawdown_breach(self.account.equity(), self.account.peak, self.config.risk)
        except (PermanentError, ArithmeticError, LookupError, TypeError) as error:
            return f"the drawdown cannot be told: {line(error)}"
        return f"drawdown {breach.wanted} reached {breach.allowed}" if breach is not None else ""

    def _engage(self, reason: str) -> None:
        try:
            self.kill_switch.engage(reason, "risk engine", self._now)
        except DataError as error:
            self._alert(Severity.CRITICAL, "kill_not_saved", f"engaged in memory only: {line(error)}")

    def _obey_switch(self) -> None:
        """Engaged is obeyed, a release only if a named person gave a reason."""
        state = self.kill_switch.refresh()
        if state.engaged and not self._emergency.active:
            self._on_kill(state)
        elif state.engaged:
            self._move(Event.ENGAGED, state.action)
        elif self._emergency.active and state.by.strip() and state.reason.strip():
            self._on_release(state.reason, state.by)
        elif self._emergency.active:
            self._engage("the switch was released without a name and a reason")

    def _on_kill(self, state: KillState) -> None:
        flatten = state.action is KillAction.FLATTEN
        then = "flattening, only reducing orders pass" if flatten else "cancelling, positions may only shrink"
        self._write(kinds.KILL, {"reason": state.reason, "by": state.by})
        self._alert(Severity.CRITICAL, "kill", f"{state.by}: {state.reason}; {then}")
        self._move(Event.ENGAGED, state.action)

    def _on_release(self, reason: str, by: str) -> None:
        self._record_equity()
        self._write(kinds.RELEASE, {"reason": reason, "by": by})
        self._move(Event.RELEASED)
        self.account.forgive_drawdown()
        for history in self._history.values():
            history.clear()

    def _move(self, event: Event, action: KillAction = KillAction.FLATTEN) -> None:
        """The emergency protocol's next stage, journalled; flattening decides at once."""
        was, now = self._emergency, self._emergency.after(event, action)
        if was == now:
            return
        self._emergency = now
        self._write(kinds.EMERGENCY, {"from": was.stage, "to": now.stage, "event": event, "action": now.action})
        if now.stage is Stage.FLATTENING:
            self._next = self._now
        elif now.stage is Stage.HALTED and now.flattens:
            self._alert(Severity.INFO, "flat_verified", "the venue holds no position of this bot")
        elif now.stage is Stage.HALTED:
            self._alert(Severity.INFO, "cancel_verified", "no order is open; positions are kept and may only shrink")

    def _protect(self) -> Event | None:
        """Does the work of the stage; what it saw, or None while there is nothing new."""
        stage, flattens = self._emergency.stage, self._emergency.flattens
        if stage in (Stage.CANCELLING, Stage.FLATTENING):
            for order in self.orders.open():
                if stage is Stage.CANCELLING or not order.request.reduce_only:
                    self._cancel(order)
        left = bool(self.orders.open()) or (flattens and bool(self.account.quantities()))
        if stage is Stage.CANCELLING and flattens:
            return Event.ASKED
        if stage in (Stage.CANCELLING, Stage.FLATTENING):
            return None if left else Event.CLEAR
        if left:
            return Event.LEFT
        return self._verify() if stage is Stage.VERIFYING else None

    def _verify(self) -> Event | None:
        """Flat is what the venue says is flat; a rest that only the venue knows is taken over and flattened too."""
        try:
            there, held = self.venue.open_orders(self._now), self.venue.positions(self._now)
        except (TransientError, PermanentError) as error:
            self._episode("verification_failed", True, Severity.CRITICAL, f"the venue cannot be asked: {line(error)}")
            return None
        self._episode("verification_failed", False, Severity.CRITICAL, "")
        gaps = self.account.differences(held)
        known = {name: gap for name, gap in gaps.items() if name in self.account.marks}
        self._episode("position_mismatch", bool(gaps), Severity.CRITICAL, f"the venue still holds {plain(gaps)}")
        if self._take_over(there):
            return Event.LEFT
        if known and not self.blocked:
            self._adopt(known)
            return Event.LEFT
        return None if gaps else Event.CONFIRMED

    def _expire(self) -> None:
        for order in self.orders.open():
            if not order.cancel_asked and self._now - order.request.time >= self._ttl:
                self._cancel(order)

    def _cancel(self, order: Order) -> None:
        name = order.request.client_order_id
        if order.cancel_asked:
            return
        try:
            self.venue.cancel(name, self._now)
            order.cancel_asked = True
        except VenueError as error:
            self._close(order, OrderStatus.CANCELLED, f"the venue does not know it: {line(error)}")
        except TransientError as error:
            self._episode(f"venue_unavailable {name}", True, Severity.WARNING, f"cancel of {name}: {line(error)}")

    # ------------------------------------------------------------------ decide

    def _round(self) -> None:
        self._next = self._now + self._interval - (self._now - self._origin) % self._interval
        self._record_equity()
        self._around.observe(self.account)
        lost = daily_loss_breach(self.account.equity(), self.account.day_start, self.config.risk)
        message = f"lost {lost.wanted} since 00:00 UTC, {lost.allowed} is allowed" if lost is not None else ""
        self._episode("daily_loss", bool(lost), Severity.WARNING, message)
        for instrument in self.instruments:
            self._decide(instrument)

    def _decide(self, instrument: Instrument) -> None:
        quote = self.market.quote(instrument.id)
        view = self.account.view(self._now, len(self.orders.open()))
        thought = self._think(instrument.id, quote, view)
        number, self.decisions = self.decisions, self.decisions + 1
        proposal = propose(
            thought, number, self._now, instrument.id, self.revision, self.config.risk, at_once=self._emergency.flattens
        )
        body = {"decision": number, "instrument": instrument.id, "state_hash": proposal.state_hash}
        inference = thought.inference.body() if thought.inference is not None else None
        self._write(kinds.DECISION, body | {"proposal": proposal.body(), "inference": inference, "safe": thought.safe})
        context = self._context(instrument.id, thought)
        verdict, order = judge(proposal, quote, view, self.config.risk, self.config.execution, instrument, context)
        self._write(kinds.VERDICT, verdict.body())
        self._around.judged(verdict, thought.trusted)
        closing = self._emergency.flattens
        self._alerts.judged(self._now, quote, thought, verdict, self.config.risk, closing=closing)
        if order is not None:
            self._submit(order)

    def _think(self, instrument: str, quote: Quote | None, view: AccountView) -> Thought:
        """Asks the model; any answer but a good one in time gives the safe action."""
        try:
            state = self.market.state(instrument, self._now, view)
        except (TransientError, PermanentError) as error:
            return Thought(None, None, f"no state: {line(error)}")
        history = self._history[instrument]
        history.append(state)
        if self._emergency.flattens or quote is None:
            return Thought(state, None, "kill switch engaged" if self._emergency.flattens else "no quote is known")
        try:
            inference = self.model.decide(tuple(history))
        except (TransientError, PermanentError, ValueError, OSError) as error:
            return Thought(state, None, f"model unavailable: {line(error)}")
        return Thought(state, inference, refusal(inference, state, self.revision))

    def _context(self, instrument: str, thought: Thought) -> Context:
        conditions = self.market.conditions(thought.state) if thought.state is not None else None
        books = self.account, self.orders
        context = self._around.context(self.bot, instrument, self._now, books, thought.trusted, conditions)
        flattens = self._emergency.flattens
        waiting = (o for o in self.orders.open(instrument) if not flattens or o.request.reduce_only)
        return replace(
            context,
            kill=self._emergency.active,
            hold=self._emergency.keeps,
            open_order=any(not (flattens and o.cancel_asked) for o in waiting),
            unreconciled=self.blocked or not self._reconciled,
        )

    def _submit(self, order: ApprovedOrder) -> None:
        request = order.request
        self._write(kinds.ORDER, request.body())
        entry = self.orders.add(request)
        self.orders.sent(request.client_order_id)
        if not request.reduce_only:
            self._around.sent(self._now)
        try:
            self.venue.submit(order, self._now)
        except VenueError as error:
            self._close(entry, OrderStatus.REJECTED, line(error))
        except TransientError as error:
            self._alert(Severity.WARNING, "venue_unavailable", f"order {request.client_order_id}: {line(error)}")

    # ------------------------------------------------------------------ records

    def _take(self, past: Past) -> None:
        self.account, self.orders = past.account, past.orders
        self.decisions, self.fills = past.decisions, past.fills
        self._around = Surroundings(self.config.risk, past.adding, past.stopped)
        standing = past.killed is not None
        self._emergency = Emergency(Stage.CANCELLING, past.action) if standing else Emergency()

    def _start_body(self) -> dict[str, object]:
        return {
            "bot": self.bot,
            "revision": self.revision,
            "schema_hash": self.schema_hash,
            "config_hash": content_hash(canonical_json(self.config.model_dump(mode="json", include=GOVERNING)), 32),
            "mode": self.config.execution.mode,
            "instruments": [i.id for i in self.instruments],
            "seed": self.seed,
        }

    def _close(self, order: Order, status: OrderStatus, reason: str) -> None:
        """Our own word that an order is over, journalled like the venue's."""
        request = order.request
        update = OrderUpdate(
            client_order_id=request.client_order_id,
            instrument=request.instrument,
            status=status,
            event_time=self._now,
            known_at=self._now,
            reason=reason,
        )
        self.orders.update(update)
        self._write(kinds.UPDATE, update.body())

    def _record_equity(self) -> None:
        self._write(kinds.EQUITY, self.account.observe(self._now).body())

    def _alert(self, severity: Severity, name: str, message: str) -> None:
        self._alerts.tell(self._now, severity, name, message)

    def _episode(self, key: str, active: bool, severity: Severity, message: str) -> None:
        self._alerts.episode(self._now, key, active, severity, message)

    def _write(self, kind: str, body: dict[str, object]) -> None:
        self.journal.append(kind, self._now, body)
