"""What one venue knows of its client: the money behind the positions, the volume that sets fees, the order rate.

`venue.SimVenue` keeps one desk for each venue; the exchanges ask it before they take an order and tell it every fill.
The money is an `execution.account.Account`, the very class that the bot keeps its own books with, so both can be
compared. The desk decides what margin is demanded and which position must go; it must never touch an order book.

Initial margin is notional / leverage, where leverage is the configured one, the instrument's or its bracket's,
whichever is least; spot needs all of the notional. Maintenance is that of the bracket, or where brackets are unknown
half of the initial margin at the instrument's largest leverage, as venues set it in their first bracket. A short of
borrowed coins needs a tenth. With isolated margin each position stands alone with its initial margin; funding still
comes from the common money.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from cryptoai.core.clock import SECOND
from cryptoai.core.config import BacktestConfig
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import Fill, Liquidation, OrderRequest, Side
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.execution.account import Account, Position

__all__ = ["Breach", "Desk", "bankruptcy_ticks", "initial_margin", "maintenance_margin"]

_ORDER_WINDOW = 10 * SECOND
_VOLUME_WINDOW = 30 * 86_400 * SECOND
_BORROWED = Decimal("0.1")
_UP, _DOWN = Context(prec=40, rounding=ROUND_CEILING), Context(prec=40, rounding=ROUND_FLOOR)
_PLACES = Decimal("1E-18")


def initial_margin(made: Instrument, price: Price, quantity: Quantity, leverage: Decimal) -> Money:
    """What opening `quantity` at `price` takes, in the settlement currency, rounded up at 18 places."""
    notional = made.notional(price, quantity)
    if made.contract is Contract.SPOT:
        return notional
    bracket = made.bracket(notional)
    limit = made.max_leverage if bracket is None else min(made.max_leverage, bracket.max_leverage)
    return Money(_UP.quantize(_UP.divide(notional.value, min(leverage, Decimal(limit))), _PLACES))


def maintenance_margin(made: Instrument, mark: Price, quantity: Quantity) -> Money:
    """The equity below which a position is liquidated; above the last bracket, at the last bracket's rate."""
    notional = made.notional(mark, quantity)
    if made.contract is Contract.SPOT:
        return notional.times(_BORROWED) if quantity < Quantity.zero() else Money.zero()
    if made.brackets:
        return (made.bracket(notional) or made.brackets[-1]).maintenance(notional)
    return Money(_UP.quantize(_UP.divide(notional.value, Decimal(2 * made.max_leverage)), _PLACES))


def bankruptcy_ticks(made: Instrument, mark: Price, quantity: Quantity, behind: Money) -> int:
    """The worst price in ticks at which closing `quantity` (signed) leaves what stands `behind` it at the mark at zero.

    0 where every price leaves something; the mark where none does, so that an insurance fund must add the rest.
    """
    held, money, price = quantity.value, behind.value, mark.value
    away, back = (_UP, _DOWN) if held > 0 else (_DOWN, _UP)
    if made.contract is Contract.INVERSE:
        coin = away.add(back.divide(made.contract_size * held, price), money)
        harmless, hopeless = (False, coin <= 0) if held > 0 else (coin >= 0, False)
        exact = price if harmless or hopeless else away.divide(made.contract_size * held, coin)
    else:
        exact = price - back.divide(money, held)
        harmless, hopeless = held > 0 >= exact, exact < made.tick and held < 0
    if harmless:
        return 0
    return max(1, int(((price if hopeless else exact) / made.tick).to_integral_value(away.rounding)))


@dataclass(frozen=True, slots=True)
class Breach:
    """A position that must shrink: how many steps to close, what stands behind it, and why."""

    instrument: str
    lots: int
    behind: Money
    reason: str


class Desk:
    """One client at one venue. `account` may be read by anyone; the venue and its exchanges change it here only.

    `leverage` is what the client chose: it divides the notional of what opens; brackets may allow less.
    """

    def __init__(self, instruments: Iterable[Instrument], cash: Money, rules: BacktestConfig) -> None:
        self._made = {made.id: made for made in instruments}
        self.account = Account(tuple(self._made.values()), cash)
        self._rules, self.leverage = rules, Decimal(repr(rules.leverage))
        self._orders: deque[int] = deque()
        self._trades: deque[tuple[int, Money]] = deque()
        self._volume = Money.zero()

    def volume(self, now_ns: int) -> Money:
        """Quote units traded here in the last 30 days."""
        while self._trades and self._trades[0][0] <= now_ns - _VOLUME_WINDOW:
            self._volume = self._volume - self._trades.popleft()[1]
        return self._volume

    def took(self, fill: Fill | Liquidation) -> None:
        """Books a fill."""
        self.account.fill(fill)
        made = self._made[fill.instrument]
        if made.fee_tiers:
            amount = made.quote_notional(fill.price, fill.quantity)
            self._trades.append((fill.event_time, amount))
            self._volume = self._volume + amount

    def refuse_rate(self, now_ns: int) -> str:
        """Counts an order; why it is one too many, or nothing."""
        while self._orders and self._orders[0] <= now_ns - _ORDER_WINDOW:
            self._orders.popleft()
        if len(self._orders) >= self._rules.orders_per_10s:
            return f"rate limit: {self._rules.orders_per_10s} orders in 10 s"
        self._orders.append(now_ns)
        return ""

    def refuse_margin(self, request: OrderRequest, price: Price, opening: Quantity) -> str:
        """Why the money does not carry `opening` more at `price`, or nothing; marks are those of the account."""
        if not opening:
            return ""
        made = self._made[request.instrument]
        if made.contract is Contract.SPOT and request.side is Side.BUY:
            need, free = price * opening + made.fee(price, opening, maker=False), self._free()
        else:
            need = initial_margin(made, price, opening, self.leverage) + made.fee(price, opening, maker=False)
            free = self._free()
        if need <= free:
            return ""
        return f"insufficient margin: {_short(need)} {made.settlement} needed, {_short(free)} free"

    def breach(self) -> Breach | None:
        """The position that must shrink first, at the marks of the account; None if margin is kept."""
        held = [p for p in self.account.positions.values() if p.quantity]
        if not held:
            return None
        if self._rules.margin_mode == "isolated":
            return next((b for p in held if (b := self._alone(p)) is not None), None)
        equity = self.account.equity()
        demanded = sum((self._maintenance(p) for p in held), start=Money.zero())
        if equity >= demanded:
            return None
        worst = max(held, key=self._maintenance)
        return self._breach(worst, equity, demanded)

    def _alone(self, position: Position) -> Breach | None:
        mark = self.account.marks[position.made.id]
        margin = initial_margin(position.made, position.entry, position.quantity, self.leverage)
        behind, demanded = margin + position.value(mark) - position.cost, self._maintenance(position)
        return self._breach(position, behind, demanded) if behind < demanded else None

    def _breach(self, position: Position, behind: Money, demanded: Money) -> Breach:
        made, mark = position.made, self.account.marks[position.made.id]
        reason = f"{_short(behind)} {made.settlement} behind it at mark {_short(mark)}, {_short(demanded)} demanded"
        return Breach(made.id, self._step(position, mark), behind, reason)

    def _step(self, position: Position, mark: Price) -> int:
        """Steps to close: down into the next lower bracket, or all in the lowest."""
        made, lots = position.made, abs(position.made.lots(position.quantity))
        notional = made.notional(mark, position.quantity)
        bracket = made.bracket(notional) or (made.brackets[-1] if made.brackets else None)
        if bracket is None or not bracket.floor:
            return lots
        keep = int(_DOWN.divide(_DOWN.multiply(bracket.floor.value, Decimal(lots)), notional.value))
        return max(1, lots - keep + 1) if keep else lots

    def _maintenance(self, position: Position) -> Money:
        return maintenance_margin(position.made, self.account.marks[position.made.id], position.quantity)

    def _free(self) -> Money:
        """Equity that no position uses."""
        used = Money.zero()
        for position in self.account.positions.values():
            if position.quantity:
                mark = self.account.marks[position.made.id]
                used = used + initial_margin(position.made, mark, position.quantity, self.leverage)
        return self.account.equity() - used


def _short(amount: Money | Price) -> str:
    return f"{amount.value:.8g}"
