"""When a venue looks at the mark and when it charges for holding a position: the clocks beside the order book.

`exchange.Exchange` reads the mark, `venue.SimVenue` settles the charges. Funding is a tape of events with their own
times: nothing is joined by time and no interval is assumed, because venues change it when it matters most. A charge is
settled on the mark, at the position of that moment. It must never read a mark that was not there yet, but for the
second by which two stamps of one event may differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Literal

import numpy as np
import numpy.typing as npt

from cryptoai.core.clock import MS, SECOND
from cryptoai.core.config import BacktestConfig
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.data_universe.facts import Facts

__all__ = ["NEVER", "Charges", "Marks", "Payment"]

Ints = npt.NDArray[np.int64]

NEVER = 1 << 62
"""A time that does not come."""
_FRESH = 60 * SECOND
"""Age up to which a mark of the tape is the mark."""
_JITTER = SECOND
"""By how much a mark may be stamped after the payment that it settles."""
_HOUR, _EIGHT_HOURS = 3600 * SECOND, 8 * 3600 * SECOND
_PLACES = Decimal("1E-18")
_WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)


class Marks:
    """The mark price of one instrument from its tape, and when to look at it."""

    def __init__(self, tape: Facts | None, rules: BacktestConfig, moments: Ints | None = None) -> None:
        """`tape` is of kind mark; `moments` (ns, ascending) are those of candles, None for a regular grid."""
        self._interval = rules.mark_interval_ms * MS
        self._moments = moments
        order = np.argsort(tape.event_time, kind="stable") if tape is not None else np.empty(0, np.int64)
        self._times: Ints = tape.event_time[order] if tape is not None else order
        self._prices = tape.column("mark")[order] if tape is not None else np.empty(0)

    def at(self, time: int, ahead: int = 0) -> Price | None:
        """The tape's mark as of `time`, stamped at most `ahead` later; None where it has none that is fresh."""
        newest = int(np.searchsorted(self._times, time + ahead, side="right")) - 1
        if newest < 0 or self._times[newest] < time - _FRESH:
            return None
        return Price(repr(float(self._prices[newest])))

    def settled(self, time: int) -> Price | None:
        """The mark that a payment at `time` is settled on."""
        return self.at(time, _JITTER)

    def next(self, after: int) -> int:
        """When the mark is looked at next: at every mark of the tape, in its gaps at the moments or on the grid."""
        place = int(np.searchsorted(self._times, after, side="right"))
        told = int(self._times[place]) if place < len(self._times) else NEVER
        return told if told - after <= _FRESH and self._moments is None else min(told, self._elsewhere(after))

    def _elsewhere(self, after: int) -> int:
        if self._moments is None:
            return after - after % self._interval + self._interval
        place = int(np.searchsorted(self._moments, after, side="right"))
        return int(self._moments[place]) if place < len(self._moments) else NEVER


@dataclass(frozen=True, slots=True)
class Payment:
    """`amount` > 0 is received; `share` is that of the notional, with our sign."""

    cause: Literal["funding", "borrow"]
    share: Decimal
    amount: Money


class Charges:
    """What holding a position in one instrument costs or earns, and when."""

    def __init__(self, made: Instrument, tape: Facts | None, rules: BacktestConfig) -> None:
        """`tape` is of kind funding; of rows with one event_time the one known last counts."""
        self._made, self._rules = made, rules
        self._rates: dict[int, float] = {}
        if tape is not None:
            self._rates = dict(zip(tape.event_time.tolist(), tape.column("rate").tolist(), strict=True))
        self._times: Ints = np.array(sorted(self._rates), np.int64)
        self._told = tape is not None

    def next(self, after: int) -> int:
        """When the next payment is due."""
        if self._made.contract is Contract.SPOT:
            return after - after % _HOUR + _HOUR if self._rules.spot_short else NEVER
        if not self._told:
            return after - after % _EIGHT_HOURS + _EIGHT_HOURS if self._rules.funding_bps else NEVER
        place = int(np.searchsorted(self._times, after, side="right"))
        return int(self._times[place]) if place < len(self._times) else NEVER

    def payment(self, time: int, position: Quantity, mark: Price) -> Payment | None:
        """What is due at `time` (one of `next`) for a position; None if nothing."""
        worth = self._made.notional(mark, position)
        if self._made.contract is Contract.SPOT:
            hourly = (Decimal(repr(self._rules.borrow_apr)) / (365 * 24)).quantize(_PLACES)
            return _payment("borrow", -hourly, worth) if position < Quantity.zero() else None
        if not position:
            return None
        if not self._told:
            return _payment("funding", -Decimal(repr(self._rules.funding_bps)) / 10_000, worth)
        rate = Decimal(repr(self._rates[time]))
        return _payment("funding", -rate if position > Quantity.zero() else rate, worth)


def _payment(cause: Literal["funding", "borrow"], share: Decimal, worth: Money) -> Payment:
    """To 18 places, half to even: what longs pay is to the last digit what shorts get."""
    exact = worth.times(share).value
    return Payment(cause, share, Money(_WIDE.quantize(exact, _PLACES)))
