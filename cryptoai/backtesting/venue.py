"""The simulated venues: the kernel's `Venue` port over recorded events, several instruments and venues on one clock.

Backtest and shadow replay use it. An order reaches its exchange later than it was sent, in the exchange's own time, and
the answer is known to us later again (`latency`). Whatever is asked now is answered with the exchanges as they were at
the newest moment that can be known now. `SimVenue` takes nothing but what the risk engine minted.

Every venue has a desk with its share of the money. While we hold or want a position there, its clock stops wherever a
mark is told or looked at, a payment is due or an order arrives: then charges are settled and margin is checked. Where
equity is below maintenance all open orders of the venue go (with isolated margin, those of the instrument), and the
position with the largest maintenance margin is stepped down a bracket, or closed in the lowest, again and again until
margin is kept. The forced order walks the book down to the bankruptcy price, at which the insurance fund takes the
rest; its fee is charged as far as there is money. Deleveraging of others is not simulated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.desk import Breach, Desk, bankruptcy_ticks
from cryptoai.backtesting.exchange import Exchange
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.settlement import NEVER, Charges
from cryptoai.core.errors import DataError, InvariantError, VenueError
from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import Funding, Liquidation, OrderRequest, Side
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.execution.ports import VenueEvent
from cryptoai.risk_engine.approved import ApprovedOrder

__all__ = ["SimVenue", "Simulator"]

Sent = OrderRequest | str | tuple[str, OrderRequest]
"""An order, the id of one to cancel, or both: the id of one to replace and what replaces it."""

_CENT = Decimal("1E-8")


@dataclass(slots=True)
class _Line:
    """One instrument: its exchange, what holding it costs, and what is on the way there."""

    made: Instrument
    exchange: Exchange
    charges: Charges
    sent: deque[tuple[int, Sent]] = field(default_factory=deque)
    said: list[VenueEvent] = field(default_factory=list)

    def deliver(self, time: int) -> None:
        while self.sent and self.sent[0][0] <= time:
            _, what = self.sent.popleft()
            if isinstance(what, str):
                self.exchange.cancel(what, time)
            elif isinstance(what, tuple):
                self.exchange.replace(what[0], what[1], time)
            else:
                self.exchange.place(what, time)

    @property
    def exposed(self) -> bool:
        return self.exchange.busy or bool(self.exchange.position)

    def heard(self) -> list[VenueEvent]:
        said, self.said = [*self.exchange.answers(), *self.said], []
        return said


@dataclass(slots=True)
class _House:
    """One venue: its desk and its instruments."""

    desk: Desk
    lines: list[_Line]


class Simulator:
    """The venues without the port's seal, for strategies that no judge stands before: baselines, benchmarks, tests.

    One feed per instrument; equal inputs give equal answers, ids included.
    """

    def __init__(self, feeds: Sequence[Feed], assume: Assumptions, cash: Money) -> None:
        """`cash` is in the settlement currency and split equally among the venues, in units of 1e-8.

        DataError if an instrument has two feeds.
        """
        if len({feed.instrument.id for feed in feeds}) != len(feeds):
            raise DataError("each instrument has one feed; there are two of one")
        self._assume = assume
        self._lines: dict[str, _Line] = {}
        self._houses = self._open(sorted(feeds, key=lambda feed: feed.instrument.id), cash)
        self._known: dict[str, str] = {}
        self._clock = 0

    def send(self, request: OrderRequest, now_ns: int) -> None:
        """Sends the order; VenueError if its instrument has no tape. The same id again changes nothing."""
        if request.client_order_id not in self._known:
            self._send(request.instrument, now_ns, request)
            self._known[request.client_order_id] = request.instrument

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        """Sends a cancel; VenueError for an id that was never submitted."""
        self._send(self._instrument(client_order_id), now_ns, client_order_id)

    def amend(self, client_order_id: str, request: OrderRequest, now_ns: int) -> None:
        """Sends an order that takes the place of another of its instrument; rejected if that one is gone by then."""
        instrument = self._instrument(client_order_id)
        if request.instrument != instrument:
            raise VenueError(
                f"{client_order_id} is an order in {instrument}; one in {request.instrument} cannot follow"
            )
        if request.client_order_id not in self._known:
            self._send(instrument, now_ns, (client_order_id, request))
            self._known[request.client_order_id] = instrument

    def poll(self, now_ns: int) -> list[VenueEvent]:
        """Answers known by `now_ns`, in order of known_at, then instrument, then the exchange's own order."""
        self._advance(now_ns)
        said = [answer for line in self._lines.values() for answer in line.heard()]
        return sorted(said, key=lambda answer: answer.known_at)

    def positions(self, now_ns: int) -> dict[str, Quantity]:
        """Positions that are not flat."""
        self._advance(now_ns)
        held = {name: line.exchange.position for name, line in self._lines.items()}
        return {name: quantity for name, quantity in held.items() if quantity}

    def open_orders(self, now_ns: int) -> list[OrderRequest]:
        """Orders that wait at a venue, by instrument, oldest first."""
        self._advance(now_ns)
        return [request for line in self._lines.values() for request in line.exchange.open_orders()]

    def desks(self) -> dict[str, Desk]:
        """Each venue's own books, by venue; read only."""
        return {house.lines[0].made.venue: house.desk for house in self._houses}

    # ------------------------------------------------------------------ inside

    def _open(self, feeds: list[Feed], cash: Money) -> list[_House]:
        rules = self._assume.rules
        venues = sorted({feed.instrument.venue for feed in feeds})
        share = Money((cash.value / max(len(venues), 1)).quantize(_CENT)) if len(venues) > 1 else cash
        houses = []
        for place, venue in enumerate(venues):
            here = [feed for feed in feeds if feed.instrument.venue == venue]
            money = share if place else cash - share.times(len(venues) - 1)
            desk = Desk([feed.instrument for feed in here], money, rules)
            for feed in here:
                charges = Charges(feed.instrument, feed.facts_of("funding"), rules)
                self._lines[feed.instrument.id] = _Line(feed.instrument, Exchange(feed, self._assume, desk), charges)
            houses.append(_House(desk, [self._lines[feed.instrument.id] for feed in here]))
        return houses

    def _instrument(self, client_order_id: str) -> str:
        if client_order_id not in self._known:
            raise VenueError(f"order {client_order_id} was never sent to this venue")
        return self._known[client_order_id]

    def _send(self, instrument: str, now_ns: int, what: Sent) -> None:
        if instrument not in self._lines:
            raise VenueError(f"the simulated venue has no tape of {instrument}; it has {', '.join(self._lines)}")
        self._lines[instrument].sent.append((self._assume.latency.arrives(now_ns), what))

    def _advance(self, now_ns: int) -> None:
        """Lives up to the newest moment that can be known at `now_ns`, stopping wherever something is due."""
        until = max(self._assume.latency.seen(now_ns), self._clock)
        while True:
            due = {name: self._due(house, line) for house in self._houses for name, line in self._named(house)}
            stop = min([until, *(time for times in due.values() for time in times)])
            for line in self._lines.values():
                line.exchange.advance(stop)
            self._clock = stop
            for line in self._lines.values():
                line.deliver(stop)
            for house in self._houses:
                if any(line.exposed for line in house.lines):
                    self._settle(house, stop, due)
            if stop >= until:
                return

    def _named(self, house: _House) -> list[tuple[str, _Line]]:
        exposed = any(line.exposed for line in house.lines)
        return [(line.made.id, line) for line in house.lines if exposed or line.sent]

    def _due(self, house: _House, line: _Line) -> tuple[int, int, int]:
        """When an order arrives, the mark is looked at, a payment is due; only what can matter."""
        arrival = line.sent[0][0] if line.sent else NEVER
        if not any(other.exposed for other in house.lines):
            return arrival, NEVER, NEVER
        return arrival, line.exchange.next_mark(), line.charges.next(self._clock)

    def _settle(self, house: _House, time: int, due: dict[str, tuple[int, int, int]]) -> None:
        account = house.desk.account
        for line in house.lines:
            mark = line.exchange.mark()
            if mark is not None:
                account.mark(line.made.id, mark)
            if line.made.id in due and due[line.made.id][2] == time:
                self._charge(house, line, time)
        while (breach := house.desk.breach()) is not None:
            self._liquidate(house, breach, time)
        if account.equity() < Money.zero():
            paid = Funding(
                instrument=house.lines[0].made.id,
                cause="insurance",
                share=Decimal(0),
                mark=account.marks.get(house.lines[0].made.id, Price.zero()),
                position=Quantity.zero(),
                amount=-account.equity(),
                event_time=time,
                known_at=self._assume.latency.known(time),
            )
            self._pay(house, house.lines[0], paid)

    def _charge(self, house: _House, line: _Line, time: int) -> None:
        mark = line.exchange.mark(settles=True) or house.desk.account.marks.get(line.made.id)
        position = line.exchange.position
        payment = line.charges.payment(time, position, mark) if mark is not None else None
        if payment is None or mark is None:
            return
        paid = Funding(
            instrument=line.made.id,
            cause=payment.cause,
            share=payment.share,
            mark=mark,
            position=position,
            amount=payment.amount,
            event_time=time,
            known_at=self._assume.latency.known(time),
        )
        self._pay(house, line, paid)

    def _pay(self, house: _House, line: _Line, paid: Funding) -> None:
        house.desk.account.pay_funding(paid.instrument, paid.amount)
        line.said.append(paid)

    def _liquidate(self, house: _House, breach: Breach, time: int) -> None:
        line, account = self._lines[breach.instrument], house.desk.account
        alone = self._assume.rules.margin_mode == "isolated"
        for other in [line] if alone else house.lines:
            for request in other.exchange.open_orders():
                other.exchange.cancel(request.client_order_id, time, "liquidation")
        made, mark, held = line.made, account.marks[breach.instrument], line.exchange.position
        side = Side.SELL if held > Quantity.zero() else Side.BUY
        closed = made.quantity(breach.lots).times(-side.sign)
        behind = breach.behind
        worst = bankruptcy_ticks(made, mark, closed, behind)
        for price, quantity in line.exchange.force_close(breach.lots, worst, time):
            signed = quantity.times(side.sign)
            left = behind + made.value(mark, signed) - made.value(price, signed)
            wanted = made.notional(price, quantity).times(Decimal(repr(self._assume.rules.liquidation_fee_pct)))
            fee = max(min(wanted, left), Money.zero())
            behind = left - fee
            told = Liquidation(
                instrument=made.id,
                side=side,
                price=price,
                quantity=quantity,
                fee=fee,
                event_time=time,
                known_at=self._assume.latency.known(time),
                reason=breach.reason,
            )
            house.desk.took(told)
            line.exchange.say(told)


class SimVenue(Simulator):
    """`execution.ports.Venue`: the same, for approved orders only."""

    def submit(self, order: ApprovedOrder, now_ns: int) -> None:
        """Sends the order; VenueError if its instrument has no tape. The same id again changes nothing."""
        self.send(_unsealed(order), now_ns)

    def replace(self, client_order_id: str, order: ApprovedOrder, now_ns: int) -> None:
        """Sends an order that takes the place of another of its instrument; rejected if that one is gone by then."""
        self.amend(client_order_id, _unsealed(order), now_ns)


def _unsealed(order: ApprovedOrder) -> OrderRequest:
    if type(order) is not ApprovedOrder:
        raise InvariantError(f"a venue takes an ApprovedOrder, not {type(order).__name__}")
    return order.request
