"""The judge: what was proposed, shrunk by every limit, and the one order that leads there.

The kernel calls `judge` for every decision, in every mode; nothing else in the project can make an `ApprovedOrder`.
It is a pure function. It never enlarges a position (invariant 2) and whatever it cannot judge it denies: missing input,
NaN, a quote from the future or an error of its own give a verdict without an order.

Two rules keep each order simple. A reversal goes through zero: the first order closes, the next decision opens, so
that every order either only adds or only reduces. An order that reduces is marked reduce-only and is held back by
neither the depth share nor the order rate, because leaving must not be harder than entering.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext

from cryptoai.core.config import ExecutionConfig, RiskConfig
from cryptoai.core.errors import DataError, InvariantError
from cryptoai.core.ids import client_order_id
from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import AccountView, Bound, OrderKind, OrderRequest, Proposal, Quote, Side, Verdict
from cryptoai.core.money import Price, Quantity
from cryptoai.risk_engine.approved import ApprovedOrder, mint
from cryptoai.risk_engine.limits import LIMITS
from cryptoai.risk_engine.pricing import distance_bps, limit_price, on_tick, worst_price
from cryptoai.risk_engine.situation import ZERO, Situation, exact, floor_to_step, situation
from cryptoai.risk_engine.situation import Context as JudgeContext

__all__ = ["DENIED", "judge"]

DENIED = "denied"
"""The limit's name in the verdict of something that could not be judged; `allowed` says why."""

_KINDS = (Proposal, Quote, AccountView, RiskConfig, ExecutionConfig, Instrument, JudgeContext)
_TOWARD_ZERO = Context(prec=34, rounding=ROUND_DOWN, traps=[InvalidOperation, DivisionByZero, Overflow])


def judge(
    proposal: Proposal,
    quote: Quote | None,
    account: AccountView,
    limits: RiskConfig,
    execution: ExecutionConfig,
    instrument: Instrument,
    context: JudgeContext,
) -> tuple[Verdict, ApprovedOrder | None]:
    """The verdict and the order to send, if any; never raises and never approves more than was proposed.

    The target is the quantity whose notional is exposure x max_position_pct x equity, toward zero to a whole step: base
    units, or contracts of an inverse instrument, whose equity and notional are in coin.
    """
    try:
        if quote is None:
            raise DataError("no quote of the instrument is known")
        for given, kind in zip((proposal, quote, account, limits, execution, instrument, context), _KINDS, strict=True):
            if not isinstance(given, kind):
                raise DataError(f"judge was given {type(given).__name__} where it needs {kind.__name__}")
        with localcontext(_TOWARD_ZERO):
            case = _Case(proposal, quote, execution, instrument, context)
            return case.decide(situation(proposal, quote, account, limits, instrument, context))
    except Exception as error:  # noqa: BLE001 - fail closed: whatever went wrong, nothing is sent
        return _denial(proposal, account, instrument, error), None


class _Case:
    """One judgement in progress."""

    __slots__ = ("bounds", "context", "execution", "instrument", "proposal", "quote", "urgent")

    def __init__(
        self,
        proposal: Proposal,
        quote: Quote,
        execution: ExecutionConfig,
        instrument: Instrument,
        context: JudgeContext,
    ) -> None:
        self.proposal, self.quote, self.execution = proposal, quote, execution
        self.instrument, self.context = instrument, context
        self.bounds: list[Bound] = []
        self.urgent = False

    def decide(self, s: Situation) -> tuple[Verdict, ApprovedOrder | None]:
        approved = self._shrink(s)
        request = self._order(s, approved)
        if abs(approved) > abs(s.proposed) or approved * s.proposed < 0:
            raise InvariantError(f"a limit enlarged the position from {s.proposed} to {approved}")
        verdict = Verdict(
            decision=self.proposal.decision,
            time=self.proposal.time,
            instrument=self.instrument.id,
            current=Quantity(s.current),
            proposed=Quantity(s.proposed),
            approved=Quantity(approved),
            bounds=tuple(self.bounds),
            order=request,
        )
        return verdict, mint(request) if request is not None else None

    def _shrink(self, s: Situation) -> Decimal:
        """The proposed position after every limit, in whole steps, on the proposed side or zero.

        Every limit that would bind alone is listed, with what it alone allows; the smallest of them holds.
        """
        size = wanted = abs(s.proposed)
        for name, limit in LIMITS:
            cap = limit(s)
            if cap is None:
                continue
            self.urgent = self.urgent or cap.urgent
            if wanted > cap.position:
                allowed = floor_to_step(cap.position, self.instrument.step)
                self._bind(name, cap.wanted or _digits(wanted), cap.allowed or _digits(allowed))
                size = min(size, allowed)
        if size and s.current * s.proposed < 0:
            self._bind("reversal", _digits(size.copy_sign(s.proposed)), "0")
            size = ZERO
        return size.copy_sign(s.proposed) if size else ZERO

    def _order(self, s: Situation, approved: Decimal) -> OrderRequest | None:
        change = approved - s.current
        if not change or self._withheld():
            return None
        side = Side.BUY if change > 0 else Side.SELL
        reducing = abs(approved) < abs(s.current)
        quantity = abs(change) if reducing else self._within_depth(abs(change), side, s)
        kind, price = self._price(s, side, reducing)
        quantity = floor_to_step(quantity, self.instrument.step)
        if not quantity or not self._worth_it(quantity * self._each(s, price), closing=reducing and not approved):
            return None
        if not self._in_collar(price if price is not None else self._touch(side), s):
            return None
        return self._request(side, kind, quantity, price, reducing)

    def _withheld(self) -> bool:
        """Orders wait while another of the instrument is open, or while the venue shows what nobody can explain."""
        if self.context.unreconciled:
            self._bind("unreconciled", "order", "none until accepted")
        elif self.context.open_order:
            self._bind("open_order", "2", "1")
        else:
            return False
        return True

    def _within_depth(self, quantity: Decimal, side: Side, s: Situation) -> Decimal:
        visible = (self.quote.ask_size if side is Side.BUY else self.quote.bid_size).value
        allowed = floor_to_step(exact(s.limits.depth_share) * max(visible, ZERO), self.instrument.step)
        if quantity > allowed:
            self._bind("depth_share", _digits(quantity), _digits(allowed))
        return min(quantity, allowed)

    def _price(self, s: Situation, side: Side, reducing: bool) -> tuple[OrderKind, Decimal | None]:
        if self.urgent and reducing:
            edge = worst_price(s.mid, side, s.limits.price_collar_bps)
            return OrderKind.IOC, on_tick(edge, side, self.instrument.tick)
        kind = OrderKind(self.execution.order_type)
        if kind is OrderKind.MARKET:
            return kind, None
        wanted = limit_price(self.quote, side, self.proposal.urgency, kind, self.execution)
        return kind, on_tick(wanted, side, self.instrument.tick)

    def _touch(self, side: Side) -> Decimal:
        return (self.quote.ask if side is Side.BUY else self.quote.bid).value

    @staticmethod
    def _each(s: Situation, price: Decimal | None) -> Decimal:
        """What one unit is worth in quote, the currency of the venue's least notional."""
        return s.face if s.face is not None else price or s.mid

    def _worth_it(self, notional: Decimal, *, closing: bool) -> bool:
        least = self.instrument.min_notional.value
        if closing or notional >= least:
            return True
        self._bind("min_notional", _digits(notional), _digits(least))
        return False

    def _in_collar(self, price: Decimal, s: Situation) -> bool:
        if price <= 0:
            raise DataError(f"the price of an order came out as {price}; lower max_slippage_bps or price_collar_bps")
        distance, limit = distance_bps(price, s.mid), exact(s.limits.price_collar_bps)
        if distance <= limit:
            return True
        self._bind("price_collar", _digits(distance), _digits(limit))
        return False

    def _request(
        self, side: Side, kind: OrderKind, quantity: Decimal, price: Decimal | None, reducing: bool
    ) -> OrderRequest:
        p = self.proposal
        return OrderRequest(
            client_order_id=client_order_id(self.context.bot, p.revision, p.decision, p.instrument),
            decision=p.decision,
            time=p.time,
            instrument=p.instrument,
            side=side,
            kind=kind,
            quantity=Quantity(quantity),
            price=None if price is None else Price(price),
            reduce_only=reducing,
        )

    def _bind(self, limit: str, wanted: str, allowed: str) -> None:
        self.bounds.append(Bound(limit=limit, wanted=wanted, allowed=allowed))


def _digits(number: Decimal) -> str:
    """At most ten places, without exponent or trailing zeros."""
    text = format(number.quantize(Decimal("0.0000000001")), "f")
    return text.rstrip("0").rstrip(".") or "0"


def _denial(proposal: object, account: object, instrument: object, error: Exception) -> Verdict:
    """A verdict without an order, made from whatever can still be read."""
    held = Quantity.zero()
    name = instrument.id if isinstance(instrument, Instrument) else "unknown"
    if isinstance(account, AccountView) and isinstance(account.positions, dict):
        held = account.positions.get(name, held)
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return Verdict(
        decision=_count(proposal, "decision"),
        time=_count(proposal, "time"),
        instrument=name,
        current=held if isinstance(held, Quantity) else Quantity.zero(),
        proposed=Quantity.zero(),
        approved=Quantity.zero(),
        bounds=(Bound(limit=DENIED, wanted="an order", allowed=reason),),
        order=None,
    )


def _count(message: object, field: str) -> int:
    value = getattr(message, field, 0)
    return value if type(value) is int and value >= 0 else 0
