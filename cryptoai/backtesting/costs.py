"""Where the money went: fees, spread and slippage against the mid at decision time, round trips, time in the market.

The report and the summary call it; everything is read from a `Ledger`. The split is exact up to float rounding:
net = gross - slippage - fees + funding, where gross is what the same fills would have earned at their decisions' mids.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cryptoai.backtesting.ledger import Ledger
from cryptoai.core.messages import Fill

__all__ = ["Costs", "RoundTrip", "Trading", "attribute", "round_trips", "trading"]


@dataclass(frozen=True, slots=True)
class Costs:
    """Quote currency. Slippage holds the spread too: signed (fill price - mid when the order was decided) x quantity;
    negative where patience earned the spread."""

    gross: float
    slippage: float
    fees: float
    funding: float
    net: float


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """From flat to flat or through zero, fees included; times in ns."""

    instrument: str
    start_ns: int
    end_ns: int
    profit: float


@dataclass(frozen=True, slots=True)
class Trading:
    """turnover: traded notional over mean equity; exposure: mean of |position| over the risk budget.

    in_market: share of samples with a position; maker_share: share of the fills' notional that rested. A position still
    open at the end is no round trip. hit_rate and profit_factor are None without a round trip (or a losing one).
    """

    fills: int
    turnover: float
    maker_share: float | None
    round_trips: int
    hit_rate: float | None
    profit_factor: float | None
    exposure: float
    in_market: float


def attribute(ledger: Ledger) -> Costs:
    """The split of the ledger's profit."""
    net = float(ledger.equity[-1] - ledger.equity[0])
    fees, funding = float(ledger.last.fees), float(ledger.last.funding)
    slippage = sum(_slippage(ledger, fill) for fill in ledger.fills)
    return Costs(gross=net + fees + slippage - funding, slippage=slippage, fees=fees, funding=funding, net=net)


def trading(ledger: Ledger, max_position_pct: float) -> Trading:
    """How the ledger traded; `max_position_pct` is the risk budget of one instrument as a share of equity."""
    notional = [float(fill.price) * float(fill.quantity) for fill in ledger.fills]
    resting = [amount for amount, fill in zip(notional, ledger.fills, strict=True) if fill.maker]
    trips = round_trips(ledger.fills)
    won, lost = (sum(abs(t.profit) for t in trips if (t.profit > 0) is side) for side in (True, False))
    held = sum(np.abs(ledger.positions[name]) * np.nan_to_num(mark) for name, mark in ledger.marks.items())
    budget = max_position_pct * ledger.equity * max(1, len(ledger.marks))
    return Trading(
        fills=len(ledger.fills),
        turnover=sum(notional) / float(np.mean(ledger.equity)),
        maker_share=sum(resting) / sum(notional) if notional else None,
        round_trips=len(trips),
        hit_rate=sum(t.profit > 0 for t in trips) / len(trips) if trips else None,
        profit_factor=won / lost if lost > 0 else None,
        exposure=float(np.mean(held / budget)),
        in_market=float(np.mean(np.asarray(held) > 0)),
    )


def round_trips(fills: Iterable[Fill]) -> list[RoundTrip]:
    """The closed round trips of the fills, by instrument in order of their end."""
    books: dict[str, _Episode] = {}
    closed: list[RoundTrip] = []
    for fill in fills:
        episode = books.setdefault(fill.instrument, _Episode())
        done = episode.take(fill)
        if done is not None:
            closed.append(done)
    return closed


@dataclass(slots=True)
class _Episode:
    """One instrument between two moments of being flat, at cash flows."""

    lots: float = 0.0
    cash: float = 0.0
    start: int = 0

    def take(self, fill: Fill) -> RoundTrip | None:
        signed, price, fee = float(fill.signed), float(fill.price), float(fill.fee)
        if abs(self.lots) < 1e-12:
            self.start, self.lots, self.cash = fill.known_at, 0.0, 0.0
        closing = signed if abs(signed) <= abs(self.lots) or self.lots * signed >= 0 else -self.lots
        share = closing / signed
        was_open = abs(self.lots) > 1e-12
        self.lots += closing
        self.cash -= closing * price + fee * share
        if not was_open or abs(self.lots) > 1e-12:
            return None
        trip = RoundTrip(fill.instrument, self.start, fill.known_at, self.cash)
        rest = signed - closing
        self.lots, self.cash, self.start = rest, -rest * price - fee * (1 - share), fill.known_at
        return trip


def _slippage(ledger: Ledger, fill: Fill) -> float:
    """Cost of one fill against the mid at which its order was decided; 0 for an entry that no order made."""
    decided = ledger.order_times.get(fill.client_order_id)
    if decided is None:
        return 0.0
    at = int(np.searchsorted(ledger.times, decided, side="right")) - 1
    mid = float(ledger.marks[fill.instrument][at])
    return float(fill.signed) * (float(fill.price) - mid)
