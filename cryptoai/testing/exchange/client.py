"""One client of the local exchange: keys, money, orders and fills, matched by the backtest's own simulated venue.

Each client has a `Simulator` of its own over the same tape, so that two clients never see each other. What happens is
kept as records and told as `Told` events, which the dialects turn into their venue's words. Order ids and trade ids are
numbers, as venues give them; the client's own id is kept beside. It must never decide a fill: the simulator does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.desk import Desk, initial_margin, maintenance_margin
from cryptoai.backtesting.latency import ConstantLatency
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.venue import Simulator
from cryptoai.core.config import BacktestConfig
from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import Fill, Funding, Liquidation, OrderKind, OrderRequest, OrderStatus, OrderUpdate, Side
from cryptoai.core.money import Money, Price, Quantity

__all__ = ["Client", "Income", "Made", "Record", "Refused", "Told", "Wanted"]

S = OrderStatus


class Refused(Exception):  # noqa: N818 - it is the venue's answer, not a failure of ours
    """The venue refuses; `reason` is the simulator's sentence or a short name that the dialect knows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order as a client asks for it. `price` is None for a market order."""

    client_id: str
    side: Side
    kind: OrderKind
    quantity: Quantity
    price: Price | None
    reduce_only: bool = False


@dataclass(slots=True)
class Record:
    """What the venue keeps of an order. Times in ns; `inside` is its name in the simulator."""

    number: int
    made: Instrument
    wanted: Wanted
    created: int
    updated: int
    inside: str
    status: OrderStatus = OrderStatus.NEW
    filled: Quantity = field(default_factory=Quantity.zero)
    cost: Money = field(default_factory=Money.zero)
    reason: str = ""

    @property
    def open(self) -> bool:
        return not self.status.final

    @property
    def average(self) -> Decimal:
        """Quote a base unit of what was filled; 0 before."""
        return self.cost.value / self.filled.value if self.filled else Decimal(0)


@dataclass(frozen=True, slots=True)
class Made:
    """A fill as the venue keeps it; `number` is unique in its instrument."""

    number: int
    order: int
    client_id: str
    made: Instrument
    fill: Fill | Liquidation
    realised: Money


@dataclass(frozen=True, slots=True)
class Income:
    """Money that moved without an order, `amount` > 0 is received; time in ns."""

    number: int
    made: Instrument
    kind: str
    amount: Money
    time: int


@dataclass(frozen=True, slots=True)
class Told:
    """What a client's stream says: an order as it is now, with the fill that moved it, or money (`income`)."""

    what: str
    time: int
    order: Record | None = None
    fill: Made | None = None
    income: Income | None = None


class Client:
    """Numbers come from `number`, which all clients share. Every time is the market's, ns, never falling."""

    def __init__(
        self,
        key: str,
        secret: str,
        feeds: Sequence[Feed],
        cash: Money,
        number: Callable[[], int],
        rules: BacktestConfig | None = None,
    ) -> None:
        self.key, self.secret = key, secret
        self.rules = rules or BacktestConfig(impact_bps=0)
        self.instruments = {feed.instrument.symbol: feed.instrument for feed in feeds}
        self.orders: dict[int, Record] = {}
        self.trades: list[Made] = []
        self.incomes: list[Income] = []
        self.leverage = dict.fromkeys(self.instruments, 20)
        self.isolated = False
        self.deadlines: dict[str, int] = {}
        self.number, self._feeds, self._cash = number, tuple(feeds), cash
        self._now = 0
        self._told: list[Told] = []
        self._inside: dict[str, Record] = {}
        self._by_client: dict[tuple[str, str], Record] = {}
        self._simulator = self._new_simulator()

    # ------------------------------------------------------------------ what is

    @property
    def desk(self) -> Desk:
        """The venue's books of this client; read only."""
        return next(iter(self._simulator.desks().values()))

    def find(self, symbol: str, number: int | None, client_id: str | None) -> Record | None:
        """An order by the venue's number or by the client's id (the newest that had it)."""
        if number is not None:
            record = self.orders.get(number)
            return record if record is not None and record.made.symbol == symbol else None
        return self._by_client.get((symbol, client_id or ""))

    def open_orders(self, symbol: str | None = None) -> list[Record]:
        """Orders that wait, oldest first."""
        return [r for r in self.orders.values() if r.open and symbol in (None, r.made.symbol)]

    def position(self, symbol: str) -> Quantity:
        return self.desk.account.positions[self.instruments[symbol].id].quantity

    def entry(self, symbol: str) -> Price | None:
        """The average entry price, None if flat."""
        held = self.desk.account.positions[self.instruments[symbol].id]
        return held.entry if held.quantity else None

    def mark(self, symbol: str) -> Price | None:
        """The newest mark that margin was looked at with."""
        return self.desk.account.marks.get(self.instruments[symbol].id)

    def unrealised(self, symbol: str) -> Money:
        held, mark = self.desk.account.positions[self.instruments[symbol].id], self.mark(symbol)
        return held.value(mark) - held.cost if held.quantity and mark is not None else Money.zero()

    @property
    def wallet(self) -> Money:
        """Money without what open positions would give."""
        account = self.desk.account
        return account.initial + account.realised - account.fees + account.funding

    def margins(self, symbol: str) -> tuple[Money, Money]:
        """(initial, maintenance) margin of the position."""
        made, held, mark = self.instruments[symbol], self.position(symbol), self.mark(symbol)
        if not held or mark is None:
            return Money.zero(), Money.zero()
        return initial_margin(made, mark, held, Decimal(self.leverage[symbol])), maintenance_margin(made, mark, held)

    # ------------------------------------------------------------------ time

    def advance(self, now_ns: int) -> None:
        """Lives up to `now_ns`, the dead-man's deadlines included."""
        for symbol, due in sorted(self.deadlines.items(), key=lambda item: item[1]):
            if due <= now_ns:
                self._live(max(due, self._now))
                del self.deadlines[symbol]
                self.cancel_all(symbol)
        self._live(now_ns)

    def mark_at(self, symbol: str, price: Price) -> None:
        """Tells the books the mark, for what is asked between two looks at margin."""
        self.desk.account.mark(self.instruments[symbol].id, price)

    def events(self) -> list[Told]:
        """What was said since the last call, in order."""
        told, self._told = self._told, []
        return told

    # ------------------------------------------------------------------ orders

    def place(self, symbol: str, wanted: Wanted) -> Record:
        """The order's record after it arrived; Refused if the venue does not take it."""
        known = self._by_client.get((symbol, wanted.client_id))
        if known is not None and known.open:
            raise Refused("duplicate")
        record = self._record(self.instruments[symbol], wanted)
        self._simulator.send(self._request(record), self._now)
        self._hear()
        self._keep_or_refuse(record)
        return record

    def amend(self, record: Record, quantity: Quantity, price: Price) -> Record:
        """The order with another price and whole quantity; Refused if it is gone or the new one is not taken."""
        if not record.open:
            raise Refused("unknown")
        old, rest = record.inside, quantity - record.filled
        if rest <= Quantity.zero():
            return self.cancel(record)
        self._inside.pop(old)
        record.inside = self._name(record.number)
        record.wanted = replace(record.wanted, quantity=quantity, price=price)
        self._inside[record.inside] = record
        self._simulator.amend(old, self._request(record, rest), self._now)
        self._hear(amended=record)
        if record.status is S.REJECTED:
            reason, record.status, record.reason = record.reason, S.CANCELLED, "amend"
            self._tell("EXPIRED", record)
            raise Refused(reason)
        return record

    def stillborn(self, symbol: str, wanted: Wanted, reason: str) -> Record:
        """An order that was acknowledged and ended before it lived, as venues do that answer before they look."""
        record = self._record(self.instruments[symbol], wanted)
        record.status, record.reason = S.CANCELLED, reason
        self.orders[record.number] = self._by_client[symbol, wanted.client_id] = record
        self._tell("EXPIRED", record)
        return record

    def cancel(self, record: Record) -> Record:
        """Refused if there is nothing to cancel."""
        if not record.open:
            raise Refused("unknown")
        self._simulator.cancel(record.inside, self._now)
        self._hear()
        return record

    def cancel_all(self, symbol: str) -> list[Record]:
        """Cancels whatever waits."""
        return [self.cancel(record) for record in self.open_orders(symbol)]

    # ------------------------------------------------------------------ settings

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """From now on; one number for all symbols of a client stands behind its margin."""
        self.leverage[symbol] = leverage
        self.desk.leverage = Decimal(leverage)

    def set_isolated(self, *, isolated: bool) -> None:
        """Refused while there is a position or an order."""
        if self.isolated == isolated:
            raise Refused("same margin")
        if self.open_orders():
            raise Refused("margin with orders")
        if any(self.position(symbol) for symbol in self.instruments):
            raise Refused("margin with position")
        self.isolated, self._cash = isolated, self.wallet
        self.rules = self.rules.model_copy(update={"margin_mode": "isolated" if isolated else "cross"})
        self._simulator = self._new_simulator()
        self._live(self._now)

    # ------------------------------------------------------------------ inside

    def _new_simulator(self) -> Simulator:
        return Simulator(self._feeds, Assumptions(self.rules, ConstantLatency(0, 0)), self._cash)

    def _live(self, now_ns: int) -> None:
        self._now = max(self._now, now_ns)
        self._hear()

    def _record(self, made: Instrument, wanted: Wanted) -> Record:
        number = self.number()
        record = Record(number, made, wanted, self._now, self._now, self._name(number))
        self._inside[record.inside] = record
        return record

    def _keep_or_refuse(self, record: Record) -> None:
        if record.status is S.REJECTED:
            del self._inside[record.inside]
            raise Refused(record.reason)

    def _name(self, number: int) -> str:
        return f"{number}.{self.number()}"

    def _request(self, record: Record, quantity: Quantity | None = None) -> OrderRequest:
        wanted = record.wanted
        return OrderRequest(
            client_order_id=record.inside,
            decision=0,
            time=self._now,
            instrument=record.made.id,
            side=wanted.side,
            kind=wanted.kind,
            quantity=quantity or wanted.quantity,
            price=wanted.price,
            reduce_only=wanted.reduce_only,
        )

    def _hear(self, amended: Record | None = None) -> None:
        for event in self._simulator.poll(self._now):
            if isinstance(event, OrderUpdate):
                self._updated(event, amended)
            elif isinstance(event, Fill):
                self._filled(event)
            elif isinstance(event, Liquidation):
                self._liquidated(event)
            else:
                self._paid(event)

    def _updated(self, event: OrderUpdate, amended: Record | None) -> None:
        record = self._inside.get(event.client_order_id)
        if record is None or event.status is S.FILLED:
            return
        record.updated, record.reason = event.event_time, event.reason
        if event.status is S.OPEN:
            record.status = S.PARTIAL if record.filled else S.OPEN
            self.orders[record.number] = self._by_client[record.made.symbol, record.wanted.client_id] = record
            self._tell("AMENDMENT" if record is amended else "NEW", record)
            return
        record.status = event.status
        if event.status is S.CANCELLED:
            self._tell("CANCELED" if event.reason == "cancelled" else "EXPIRED", record)

    def _filled(self, fill: Fill) -> None:
        record = self._inside[fill.client_order_id]
        record.filled, record.updated = record.filled + fill.quantity, fill.event_time
        record.cost = record.cost + fill.price * fill.quantity
        record.status = S.FILLED if record.filled >= record.wanted.quantity else S.PARTIAL
        made = Made(self.number(), record.number, record.wanted.client_id, record.made, fill, self._realised())
        self.trades.append(made)
        self._tell("TRADE", record, made)

    def _realised(self) -> Money:
        """What the books realised since it was last asked."""
        total, self._seen = self.desk.account.realised, getattr(self, "_seen", Money.zero())
        since, self._seen = total - self._seen, total
        return since

    def _liquidated(self, event: Liquidation) -> None:
        """The venue's own order, which closes the position."""
        made = next(m for m in self.instruments.values() if m.id == event.instrument)
        wanted = Wanted(f"autoclose-{event.event_time}", event.side, OrderKind.MARKET, event.quantity, None, True)
        record = self._record(made, wanted)
        record.status, record.filled, record.cost = S.FILLED, event.quantity, event.price * event.quantity
        self.orders[record.number] = self._by_client[made.symbol, wanted.client_id] = record
        fill = Made(self.number(), record.number, wanted.client_id, made, event, self._realised())
        self.trades.append(fill)
        self._tell("TRADE", record, fill)

    def _paid(self, event: Funding) -> None:
        made = next(m for m in self.instruments.values() if m.id == event.instrument)
        kind = {"funding": "FUNDING_FEE", "insurance": "INSURANCE_CLEAR", "borrow": "INTEREST"}[event.cause]
        income = Income(self.number(), made, kind, event.amount, event.event_time)
        self.incomes.append(income)
        self._told.append(Told("INCOME", event.event_time, income=income))

    def _tell(self, what: str, record: Record, fill: Made | None = None) -> None:
        self._told.append(Told(what, record.updated, replace(record), fill))
