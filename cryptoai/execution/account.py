"""The account, exact to the last decimal: cash, positions, fees, funding and what was earned.

The kernel applies every fill, funding payment and liquidation to it, the simulated venue keeps one of its own to reckon
margin with, and replay rebuilds it from the journal. Two identities hold at every event (invariant 8), and a property
test says so:

    equity = cash + sum(value)
    equity = initial + realised + sum(value - cost) - fees + funding

The value of a position is quantity x mark, and for an inverse contract its worth in coin (`Instrument.value`, rounded
to 18 places; everything after that is exact). Cash follows one convention for every contract: a fill moves cash by
-value, as if the whole notional were paid. For a derivative that is bookkeeping (the venue would hold margin instead),
chosen because then the first identity needs no case by contract. One account has one settlement currency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal

from cryptoai.core.errors import ConfigError, InvariantError
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import AccountView, Equity, Fill, Liquidation
from cryptoai.core.money import Money, Price, Quantity

__all__ = ["Account", "Position"]

DAY_NS = 86_400_000_000_000
_PLACES = Decimal("1E-18")
_WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)


def _ratio(numerator: Decimal, denominator: Decimal) -> Decimal:
    """Rounded to 18 places: the only inexact step, and it only splits a sum between realised and unrealised."""
    return _WIDE.quantize(_WIDE.divide(numerator, denominator), _PLACES)


@dataclass(slots=True)
class Position:
    """`cost` is what the open quantity was worth when it was opened (negative for a linear short)."""

    made: Instrument
    quantity: Quantity = field(default_factory=Quantity.zero)
    cost: Money = field(default_factory=Money.zero)

    @property
    def entry(self) -> Price:
        """Average entry price, to 18 places (harmonic for an inverse contract); zero when flat."""
        if not self.quantity:
            return Price.zero()
        if self.made.contract is Contract.INVERSE:
            return Price(_ratio(-self.made.contract_size * self.quantity.value, self.cost.value))
        return Price(_ratio(self.cost.value, self.quantity.value))

    def value(self, mark: Price) -> Money:
        """What it adds to equity beside cash."""
        return self.made.value(mark, self.quantity)

    def trade(self, signed: Quantity, price: Price) -> Money:
        """Applies a trade at average cost; returns the profit that it realised."""
        held, traded, worth = self.quantity.value, signed.value, self.made.value(price, signed)
        if held * traded >= 0:
            self._add(signed, worth)
            return Money.zero()
        if abs(traded) <= abs(held):
            return self._reduce(signed, worth)
        closing = self.made.value(price, -self.quantity)
        rest = signed + self.quantity
        realised = self._reduce(-self.quantity, closing)
        self._add(rest, worth - closing)
        return realised

    def _add(self, signed: Quantity, worth: Money) -> None:
        self.quantity = self.quantity + signed
        self.cost = self.cost + worth

    def _reduce(self, signed: Quantity, worth: Money) -> Money:
        part, whole = abs(signed.value), abs(self.quantity.value)
        released = self.cost if part == whole else Money(_ratio(self.cost.value * part, whole))
        self.quantity = self.quantity + signed
        self.cost = self.cost - released
        return -worth - released


class Account:
    """One settlement currency, many instruments. Marks are the last prices it was told."""

    def __init__(self, instruments: Sequence[Instrument], initial: Money) -> None:
        """ConfigError if the instruments settle in different currencies: their sums would mean nothing."""
        currencies = sorted({instrument.settlement for instrument in instruments})
        if len(currencies) > 1:
            raise ConfigError(f"one account settles in one currency, not in {', '.join(currencies)}; use one bot each")
        self.initial = initial
        self.cash = initial
        self.fees = self.funding = self.realised = Money.zero()
        self.positions = {instrument.id: Position(instrument) for instrument in instruments}
        self.marks: dict[str, Price] = {}
        self.peak = self.day_start = initial
        self.last_fill_time = 0
        self._day = -1

    def mark(self, instrument: str, price: Price) -> None:
        """Values the instrument at `price` from now on."""
        self._position(instrument)
        self.marks[instrument] = price

    def fill(self, fill: Fill | Liquidation) -> None:
        """Moves position, cash, fees and realised profit; the caller has removed duplicates."""
        position = self._position(fill.instrument)
        self.realised = self.realised + position.trade(fill.signed, fill.price)
        self.cash = self.cash - position.made.value(fill.price, fill.signed) - fill.fee
        self.fees = self.fees + fill.fee
        self.marks.setdefault(fill.instrument, fill.price)
        self.last_fill_time = fill.known_at

    def pay_funding(self, instrument: str, amount: Money) -> None:
        """A funding payment, positive is received."""
        self._position(instrument)
        self.cash = self.cash + amount
        self.funding = self.funding + amount

    def equity(self) -> Money:
        """cash + sum(value)."""
        total = self.cash
        for name, position in self.positions.items():
            if position.quantity:
                total = total + position.value(self.marks[name])
        return total

    def unrealised(self) -> Money:
        """sum(value - cost)."""
        total = Money.zero()
        for name, position in self.positions.items():
            if position.quantity:
                total = total + position.value(self.marks[name]) - position.cost
        return total

    def notional(self, instrument: str, extra: Quantity | None = None) -> Money:
        """Of |quantity| (and `extra` more) at the mark; zero while nothing has a price."""
        mark, position = self.marks.get(instrument), self._position(instrument)
        size = abs(position.quantity) + (extra or Quantity.zero())
        return position.made.notional(mark, size) if mark is not None else Money.zero()

    def observe(self, time: int) -> Equity:
        """The account at `time`; moves the peak and, on the first call of a UTC day, the day's start."""
        equity = self.equity()
        self.peak = max(self.peak, equity)
        if time // DAY_NS != self._day:
            self._day, self.day_start = time // DAY_NS, equity
        return Equity(
            time=time,
            cash=self.cash,
            fees=self.fees,
            funding=self.funding,
            positions=self.quantities(),
            marks=dict(self.marks),
            equity=equity,
        )

    def forgive_drawdown(self) -> None:
        """After a person released the kill switch, drawdown is counted from here."""
        self.peak = self.equity()

    def quantities(self) -> dict[str, Quantity]:
        """Open positions only."""
        return {name: p.quantity for name, p in self.positions.items() if p.quantity}

    def view(self, time: int, open_orders: int) -> AccountView:
        """What the judge and the portfolio features see."""
        held = {name: p for name, p in self.positions.items() if p.quantity}
        equity = self.equity()
        return AccountView(
            time=time,
            equity=equity,
            peak_equity=max(self.peak, equity),
            cash=self.cash,
            positions={name: p.quantity for name, p in held.items()},
            entry_prices={name: p.entry for name, p in held.items()},
            open_orders=open_orders,
            last_fill_time=self.last_fill_time,
        )

    def differences(self, venue: Mapping[str, Quantity]) -> dict[str, Quantity]:
        """What the venue holds more than we do, by instrument; empty when both agree."""
        zero, ours = Quantity.zero(), self.quantities()
        names = sorted({*venue, *ours})
        gaps = {name: venue.get(name, zero) - ours.get(name, zero) for name in names}
        return {name: gap for name, gap in gaps.items() if gap}

    def _position(self, instrument: str) -> Position:
        position = self.positions.get(instrument)
        if position is None:
            raise InvariantError(f"the account does not trade {instrument}")
        return position
