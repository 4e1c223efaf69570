"""Stand-ins for what surrounds the kernel: a scripted market, a venue that matches against it, a scripted model.

For tests of this project and of anyone who writes a venue, market or model against `execution.ports`. They are real
implementations, small and deterministic: `FakeVenue` passes the same contract suite as every other venue. Nothing that
trades may use them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from cryptoai.core.config import ExecutionConfig, RiskConfig
from cryptoai.core.errors import InvariantError, ModelUnavailableError, VenueError
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import (
    AccountView,
    Action,
    Conditions,
    Fill,
    Inference,
    OrderKind,
    OrderRequest,
    OrderStatus,
    OrderUpdate,
    Proposal,
    Quote,
    Side,
)
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.core.state import StateVector
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.risk_engine.judge import judge
from cryptoai.risk_engine.situation import Context

__all__ = [
    "FakeMarket",
    "FakeModel",
    "FakeVenue",
    "approved_order",
    "make_inference",
    "make_instrument",
    "make_quote",
]


def make_instrument(name: str = "fake:BTCUSDT", *, contract: Contract = Contract.LINEAR) -> Instrument:
    """Tick 0.1, step 0.001, smallest order 5, fees 2 and 5 basis points."""
    return Instrument(
        id=name,
        base="BTC",
        quote="USDT",
        contract=contract,
        tick=Decimal("0.1"),
        step=Decimal("0.001"),
        min_notional=Money(5),
        maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.0005"),
        max_leverage=20,
    )


def make_quote(instrument: Instrument, time: int, bid: Decimal | str, size: Decimal | str = "10") -> Quote:
    """One tick wide, `size` on both sides, known when it happened."""
    low = Price(bid)
    return Quote(
        instrument=instrument.id,
        event_time=time,
        known_at=time,
        bid=low,
        bid_size=Quantity(size),
        ask=low + Price(instrument.tick),
        ask_size=Quantity(size),
    )


def calm(instrument: str, time: int) -> Conditions:
    """A market that hardly moves and trades more than any test does."""
    return Conditions(instrument=instrument, time=time, volatility_bps=1.0, turnover=1e15)


class FakeMarket:
    """Quotes by a script. The state is (bid, ask, bid size, ask size, position), all present."""

    def __init__(self, quotes: Sequence[Quote], schema_hash: str = "fake-schema") -> None:
        self.schema_hash = schema_hash
        self._now = 0
        self._quotes: dict[str, list[Quote]] = {}
        for quote in sorted(quotes, key=lambda q: q.known_at):
            self._quotes.setdefault(quote.instrument, []).append(quote)

    def advance(self, now_ns: int) -> None:
        if now_ns < self._now:
            raise InvariantError(f"the market was told to go back from {self._now} to {now_ns}")
        self._now = now_ns

    def at(self, instrument: str, time: int) -> Quote | None:
        """The quote known at any `time`, for a venue that matches in between."""
        quotes = self._quotes.get(instrument, [])
        index = bisect_right(quotes, time, key=lambda q: q.known_at)
        return quotes[index - 1] if index else None

    def times(self, after: int, until: int) -> list[int]:
        """When a quote changed, in (after, until]."""
        return sorted({q.known_at for line in self._quotes.values() for q in line if after < q.known_at <= until})

    def quote(self, instrument: str) -> Quote | None:
        return self.at(instrument, self._now)

    def state(self, instrument: str, now_ns: int, account: AccountView) -> StateVector:
        quote = self.at(instrument, now_ns)
        if quote is None:
            return StateVector.of(instrument, (0, now_ns), self.schema_hash, [0.0] * 5, [False] * 5)
        held = account.positions.get(instrument, Quantity.zero())
        values = [float(x) for x in (quote.bid, quote.ask, quote.bid_size, quote.ask_size, held)]
        return StateVector.of(instrument, (quote.event_time, now_ns), self.schema_hash, values, [True] * 5)

    def conditions(self, state: StateVector) -> Conditions:
        return calm(state.instrument, state.known_at)


def make_inference(
    exposure: float, *, revision: str = "fake-revision", schema_hash: str = "fake-schema", timing: float = 1.0
) -> Inference:
    """A calm answer that wants `exposure` of the risk budget."""
    return Inference(
        action=Action(direction=exposure, size=1.0, leverage=-1.0, timing=timing),
        revision=revision,
        schema_hash=schema_hash,
        return_bps={"1s": 0.0},
        return_sd_bps={"1s": 1.0},
        quantiles_bps={"0.5": 0.0},
        regime={"calm": 1.0},
        var99_bps=2.0,
        es99_bps=3.0,
        anomaly=0.1,
        alarm=False,
        value=0.0,
    )


class FakeModel:
    """Answers with what `script` makes of the newest state: an inference, an exposure, or None for "unavailable"."""

    def __init__(self, script: Callable[[StateVector], Inference | float | None]) -> None:
        self._script = script
        self.calls = 0

    def decide(self, history: Sequence[StateVector]) -> Inference:
        self.calls += 1
        answer = self._script(history[-1])
        if answer is None:
            raise ModelUnavailableError("the fake model is unavailable by script")
        return make_inference(answer) if isinstance(answer, float | int) else answer


@dataclass(slots=True)
class _Resting:
    request: OrderRequest
    left: Quantity
    since: int
    fills: int = 0


@dataclass(slots=True)
class FakeVenue:
    """Matches against the touch of a `FakeMarket`: crossing orders take what is visible, resting ones wait for it.

    `latency` (ns) passes on the way there and on the way back. No queue and no own impact: for those use the simulated
    venue of `backtesting`.
    """

    market: FakeMarket
    instruments: dict[str, Instrument]
    latency: int = 0
    _inbox: list[tuple[int, int, OrderRequest | str]] = field(default_factory=list)
    _outbox: list[OrderUpdate | Fill] = field(default_factory=list)
    _book: dict[str, _Resting] = field(default_factory=dict)
    _ids: set[str] = field(default_factory=set)
    _positions: dict[str, Quantity] = field(default_factory=dict)
    _clock: int = 0
    _sent: int = 0

    def submit(self, order: ApprovedOrder, now_ns: int) -> None:
        if not isinstance(order, ApprovedOrder):
            raise InvariantError("a venue takes an ApprovedOrder and nothing else")
        request = order.request
        if request.instrument not in self.instruments:
            raise VenueError(f"this venue does not trade {request.instrument}")
        if request.client_order_id not in self._ids:
            self._ids.add(request.client_order_id)
            self._send(request, now_ns)

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        if client_order_id not in self._ids:
            raise VenueError(f"this venue has no order {client_order_id}")
        self._send(client_order_id, now_ns)

    def _send(self, what: OrderRequest | str, now_ns: int) -> None:
        self._sent += 1
        self._inbox.append((now_ns + self.latency, self._sent, what))

    def poll(self, now_ns: int) -> list[OrderUpdate | Fill]:
        self._run(now_ns)
        known = [event for event in self._outbox if event.known_at <= now_ns]
        self._outbox = [event for event in self._outbox if event.known_at > now_ns]
        return known

    def positions(self, now_ns: int) -> dict[str, Quantity]:
        self._run(now_ns)
        return {name: held for name, held in self._positions.items() if held}

    def open_orders(self, now_ns: int) -> list[OrderRequest]:
        self._run(now_ns)
        waiting = [item for _, _, item in self._inbox if isinstance(item, OrderRequest)]
        return [resting.request for resting in self._book.values()] + waiting

    def _run(self, now_ns: int) -> None:
        arrivals = {at for at, _, _ in self._inbox if at <= now_ns}
        quoted = set(self.market.times(self._clock, now_ns))
        for time in sorted(arrivals | quoted):
            self._receive(time)
            for resting in [r for r in self._book.values() if r.since < time and time in quoted]:
                self._match(resting, time, maker=True)
        self._clock = max(self._clock, now_ns)

    def _receive(self, time: int) -> None:
        for entry in sorted(e for e in self._inbox if e[0] <= time):
            self._inbox.remove(entry)
            if isinstance(entry[2], OrderRequest):
                self._accept(entry[2], time)
            elif (resting := self._book.get(entry[2])) is not None:
                self._tell(resting, OrderStatus.CANCELLED, time, "cancelled on request")

    def _accept(self, request: OrderRequest, time: int) -> None:
        resting = _Resting(request, request.quantity, time)
        if request.kind is OrderKind.POST_ONLY and self._crosses(request, time):
            self._tell(resting, OrderStatus.REJECTED, time, "a post-only order would have taken")
            return
        self._book[request.client_order_id] = resting
        self._tell(resting, OrderStatus.OPEN, time, "")
        self._match(resting, time, maker=False)
        at_once = request.kind in (OrderKind.IOC, OrderKind.MARKET)
        if at_once and request.client_order_id in self._book:
            self._tell(resting, OrderStatus.CANCELLED, time, "nothing more to take")

    def _crosses(self, request: OrderRequest, time: int) -> bool:
        quote = self.market.at(request.instrument, time)
        if quote is None:
            return False
        if request.price is None:
            return True
        return request.price >= quote.ask if request.side is Side.BUY else request.price <= quote.bid

    def _match(self, resting: _Resting, time: int, *, maker: bool) -> None:
        request, quote = resting.request, self.market.at(resting.request.instrument, time)
        if quote is None or not self._crosses(request, time):
            return
        touch, visible = (quote.ask, quote.ask_size) if request.side is Side.BUY else (quote.bid, quote.bid_size)
        quantity = min(resting.left, visible, self._allowed(resting))
        if not quantity:
            self._tell(resting, OrderStatus.CANCELLED, time, "a reduce-only order has nothing left to reduce")
            return
        self._fill(
            resting, request.price if maker and request.price is not None else touch, quantity, time, maker=maker
        )

    def _allowed(self, resting: _Resting) -> Quantity:
        """What a reduce-only order may still trade without opening the other side."""
        held = self._positions.get(resting.request.instrument, Quantity.zero())
        if not resting.request.reduce_only:
            return resting.left
        return max(held.times(-resting.request.side.sign), Quantity.zero())

    def _fill(self, resting: _Resting, price: Price, quantity: Quantity, time: int, *, maker: bool) -> None:
        request, name = resting.request, resting.request.instrument
        fill = Fill(
            client_order_id=request.client_order_id,
            fill_id=f"{request.client_order_id}-{resting.fills}",
            instrument=name,
            side=request.side,
            price=price,
            quantity=quantity,
            fee=self.instruments[name].fee(price, quantity, maker=maker),
            maker=maker,
            event_time=time,
            known_at=time + self.latency,
        )
        resting.left, resting.fills = resting.left - quantity, resting.fills + 1
        self._positions[name] = self._positions.get(name, Quantity.zero()) + fill.signed
        self._outbox.append(fill)
        if not resting.left:
            self._tell(resting, OrderStatus.FILLED, time, "")

    def _tell(self, resting: _Resting, status: OrderStatus, time: int, reason: str) -> None:
        request = resting.request
        if status.final:
            self._book.pop(request.client_order_id, None)
        self._outbox.append(
            OrderUpdate(
                client_order_id=request.client_order_id,
                instrument=request.instrument,
                status=status,
                event_time=time,
                known_at=time + self.latency,
                reason=reason,
            )
        )


def approved_order(
    instrument: Instrument,
    side: Side,
    quantity: str,
    price: str,
    *,
    time: int,
    decision: int = 0,
    how: Literal["limit", "post_only", "market", "reduce", "urgent"] = "limit",
) -> ApprovedOrder:
    """The order wanted, by way of the real judge: it is shown a market and an account in which it approves just that.

    `reduce` is a reduce-only limit order, `urgent` a reduce-only IOC order half as far again from `price`.
    """
    reduce = how in ("reduce", "urgent")
    size, tick = Quantity(quantity), Price(instrument.tick)
    low = Price(price) if side is Side.BUY else Price(price) - tick
    quote = make_quote(instrument, time, low.value, "1000000000")
    worth = Money(size.value * quote.mid.value)
    account = AccountView(
        time=time,
        equity=worth,
        peak_equity=worth,
        cash=worth,
        positions={instrument.id: size.times(-side.sign)} if reduce else {},
        entry_prices={instrument.id: quote.mid} if reduce else {},
        open_orders=0,
        last_fill_time=0,
    )
    proposal = Proposal(
        decision=decision,
        time=time,
        instrument=instrument.id,
        exposure=Decimal(0 if reduce else side.sign),
        leverage=Decimal(1),
        urgency=Decimal(0),
        state_hash="",
        revision="fake-revision",
    )
    limits = RiskConfig(max_position_pct=1, max_correlated_pct=20, price_collar_bps=5000, depth_share=1)
    execution = ExecutionConfig.model_validate({"order_type": "limit" if reduce else how})
    context = Context(
        "fake", worth, Money.zero(), es99_bps=0.0, kill=how == "urgent", conditions=calm(instrument.id, time)
    )
    free = instrument.model_copy(update={"min_notional": Money.zero()})
    verdict, order = judge(proposal, quote, account, limits, execution, free, context)
    if order is None:
        raise InvariantError(f"the judge did not approve the test order: {verdict.bounds}")
    return order
