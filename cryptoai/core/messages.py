"""The words that the parts of CryptoAI speak to each other: frozen, versioned, exact.

A message is a fact: it is made once, never changed, and travels through the kernel, the journal and
the page unchanged. Times are ns UTC: `event_time` is the venue's, `known_at` is ours. Amounts are the exact types
of `core.money`; floats appear only in what a model said (`Action`, `Inference`), where they are bounded and finite.
`ApprovedOrder` is absent on purpose: only the risk engine can mint one, so it is defined there.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from cryptoai.core.money import Money, Price, Quantity

__all__ = [
    "SAFE_ACTION",
    "AccountView",
    "Action",
    "Alert",
    "Bound",
    "Conditions",
    "Equity",
    "Fill",
    "Funding",
    "Inference",
    "Liquidation",
    "Message",
    "OrderKind",
    "OrderRequest",
    "OrderStatus",
    "OrderUpdate",
    "Proposal",
    "Quote",
    "Severity",
    "Side",
    "Verdict",
]

TimeNs = Annotated[int, Field(ge=0)]
Unit = Annotated[float, Field(ge=-1.0, le=1.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


def _above_zero(quantity: Quantity) -> Quantity:
    if quantity <= Quantity.zero():
        raise ValueError(f"a quantity is above zero and the side gives its sign, not {quantity}")
    return quantity


Size = Annotated[Quantity, AfterValidator(_above_zero)]


class Message(BaseModel):
    """Base of every message: immutable, closed, with a version for readers of old journals."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    v: Literal[1] = 1

    def body(self) -> dict[str, Any]:
        """JSON-ready content; amounts become canonical digits."""
        return self.model_dump(mode="json")


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1


class OrderKind(StrEnum):
    """`limit` may take and rests until cancelled, `post_only` never takes, `ioc` takes what is there now, `fok` all of
    it or nothing, `market` walks the book; `stop` and `take_profit` become market orders once their trigger is reached:
    by a price that goes against, or for, who holds the position that they close."""

    LIMIT = "limit"
    POST_ONLY = "post_only"
    IOC = "ioc"
    FOK = "fok"
    MARKET = "market"
    STOP = "stop"
    TAKE_PROFIT = "take_profit"

    @property
    def triggered(self) -> bool:
        """Whether it waits for a trigger."""
        return self in (OrderKind.STOP, OrderKind.TAKE_PROFIT)

    @property
    def priced(self) -> bool:
        """Whether it has a limit price."""
        return self is not OrderKind.MARKET and not self.triggered


class OrderStatus(StrEnum):
    NEW = "new"
    SENT = "sent"
    OPEN = "open"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"

    @property
    def final(self) -> bool:
        return self in (OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED)


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Action(Message):
    """What the policy wants, each in [-1, 1] (architecture, section 3).

    Target exposure is `direction * max(size, 0)` of the risk budget; `leverage` sets only the
    liquidation distance; `timing` is the urgency of execution (-1 patient, 1 at once).
    """

    direction: Unit
    size: Unit
    leverage: Unit
    timing: Unit

    def exposure(self) -> Decimal:
        """Wanted share of the risk budget in [-1, 1], to six places, toward zero."""
        return Decimal(int(self.direction * max(self.size, 0.0) * 1_000_000)).scaleb(-6)


SAFE_ACTION = Action(direction=0.0, size=0.0, leverage=-1.0, timing=-1.0)
"""No new exposure (invariant 9)."""


class Inference(Message):
    """The model's whole answer for one state; deterministic for the same bundle and state."""

    action: Action
    revision: str = Field(description="content hash of the bundle")
    schema_hash: str
    return_bps: dict[str, Finite] = Field(description="forecast mean return in basis points by horizon, e.g. '1s'")
    return_sd_bps: dict[str, Finite] = Field(description="forecast standard deviation by horizon, basis points")
    quantiles_bps: dict[str, Finite] = Field(description="quantiles of the shortest horizon's return, basis points")
    regime: dict[str, Finite] = Field(description="probability by regime name")
    var99_bps: Finite = Field(description="one-step 99 % value at risk, basis points, positive is a loss")
    es99_bps: Finite = Field(description="one-step 99 % expected shortfall, basis points")
    anomaly: Finite = Field(description="distance of the state from the training states; > 1 is out of distribution")
    alarm: bool = Field(description="the black-swan alarm")
    value: Finite = Field(description="the critic's value of the state, in reward units")


class Quote(Message):
    """Best bid and ask of one instrument as the bot knows them."""

    instrument: str
    event_time: TimeNs
    known_at: TimeNs
    bid: Price
    bid_size: Quantity
    ask: Price
    ask_size: Quantity

    @property
    def mid(self) -> Price:
        return (self.bid + self.ask).times(Decimal("0.5"))


class Conditions(Message):
    """What the judge must know of a market beyond its quote, as of `time`; None is not known."""

    instrument: str
    time: TimeNs
    volatility_bps: Finite | None = Field(
        default=None, description="standard deviation of the return over one day, from recent realised variance"
    )
    turnover: Finite | None = Field(default=None, description="notional traded over the last minute, quote units")
    funding_rate: Finite | None = Field(default=None, description="next payment as a share; longs pay if positive")
    funding_in_s: Finite | None = Field(default=None, description="seconds until that payment")
    event_severity: Finite | None = Field(default=None, description="of the worst classified event in force, 0 to 1")


class AccountView(Message):
    """The account as the risk engine and the portfolio features see it, marked at `time`."""

    time: TimeNs
    equity: Money
    peak_equity: Money
    cash: Money
    positions: dict[str, Quantity]
    entry_prices: dict[str, Price]
    open_orders: int = Field(ge=0)
    last_fill_time: TimeNs


class Proposal(Message):
    """A decision before the judge: the wanted share of the risk budget, and how to get there."""

    decision: int = Field(ge=0)
    time: TimeNs
    instrument: str
    exposure: Decimal = Field(ge=-1, le=1, description="share of the risk budget, negative is short")
    leverage: Decimal = Field(ge=1, description="margin leverage: the liquidation distance only")
    urgency: Decimal = Field(ge=0, le=1, description="0 waits at the touch, 1 crosses the spread")
    state_hash: str
    revision: str


class OrderRequest(Message):
    """What would be sent; without the risk engine's mint around it no venue takes it."""

    client_order_id: str = Field(max_length=36)
    decision: int = Field(ge=0)
    time: TimeNs
    instrument: str
    side: Side
    kind: OrderKind
    quantity: Size
    price: Price | None = Field(description="limit price; None for kinds that walk the book")
    reduce_only: bool = False
    trigger: Price | None = Field(default=None, description="price at which a stop or take_profit order is sent on")
    trigger_on: Literal["last", "mark"] = Field(default="mark", description="whether trades or the mark reach it")

    @model_validator(mode="after")
    def _prices_fit_the_kind(self) -> Self:
        if (self.price is not None) != self.kind.priced:
            raise ValueError(f"market, stop and take_profit orders have no price, others do; {self.kind}: {self.price}")
        if (self.trigger is not None) != self.kind.triggered:
            raise ValueError(f"only stop and take_profit orders have a trigger; {self.kind} has {self.trigger}")
        return self

    @property
    def signed(self) -> Quantity:
        return self.quantity.times(self.side.sign)


class Bound(Message):
    """One limit that bound, and by how much; both in the limit's own unit."""

    limit: str
    wanted: str
    allowed: str


class Verdict(Message):
    """The judge's answer: the approved position never exceeds the proposed one (invariant 2)."""

    decision: int = Field(ge=0)
    time: TimeNs
    instrument: str
    current: Quantity
    proposed: Quantity = Field(description="target position before limits")
    approved: Quantity = Field(description="target position after limits")
    bounds: tuple[Bound, ...]
    order: OrderRequest | None


class OrderUpdate(Message):
    """What the venue says of an order."""

    client_order_id: str
    instrument: str
    status: OrderStatus
    event_time: TimeNs
    known_at: TimeNs
    reason: str = ""


class Fill(Message):
    """One execution, with what it cost (fee > 0 is paid)."""

    client_order_id: str
    fill_id: str
    instrument: str
    side: Side
    price: Price
    quantity: Size
    fee: Money
    maker: bool
    event_time: TimeNs
    known_at: TimeNs

    @property
    def signed(self) -> Quantity:
        return self.quantity.times(self.side.sign)


class Funding(Message):
    """A payment that no order made, `amount` > 0 is received: funding of a perpetual, settled on the mark, interest on
    coins borrowed for a spot short, or what an insurance fund adds where a loss exceeded all money of the account."""

    instrument: str
    cause: Literal["funding", "borrow", "insurance"] = "funding"
    share: Decimal = Field(description="of the position's notional, negative is paid")
    mark: Price
    position: Quantity
    amount: Money
    event_time: TimeNs
    known_at: TimeNs


class Liquidation(Message):
    """The venue closed a position, or a part of it, against our will; the fee is its liquidation fee."""

    instrument: str
    side: Side = Field(description="of the forced order: sell closes a long")
    price: Price
    quantity: Size
    fee: Money
    event_time: TimeNs
    known_at: TimeNs
    reason: str

    @property
    def signed(self) -> Quantity:
        return self.quantity.times(self.side.sign)


class Equity(Message):
    """The account identity at one moment: equity = cash + sum(quantity * mark) (invariant 8).

    For an inverse contract quantity * mark stands for its value in coin (`Instrument.value`).

    `cash` already carries what was paid and received; `fees` and `funding` are the running totals inside it.
    """

    time: TimeNs
    cash: Money
    fees: Money
    funding: Money
    positions: dict[str, Quantity]
    marks: dict[str, Price]
    equity: Money


class Alert(Message):
    """Something a human should know; `name` is constant so that alerts can be counted."""

    time: TimeNs
    severity: Severity
    name: str
    message: str
