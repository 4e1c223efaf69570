"""Where the money went: fees, spread, slippage, impact and funding, round trips, time in the market.

The report and the summary call it; everything is read from a `Ledger` and from what `touch` found around each fill.
The split is a Decimal identity, to the last digit:

    net = gross - spread - slippage - impact - fees + funding

Each fill is worth its quantity x price; it is followed from the mid at which its order was decided to the price paid:

    slippage   mid at decision -> mid at the fill     what the market did while the order travelled and waited
    spread     mid at the fill -> the touch           half the spread, or minus it where our order rested and was hit
    impact     the touch -> the price                 levels walked beyond the touch, and the simulated impact

and gross is what the same quantities would have earned at the mids of their decisions (the implementation shortfall of
Perold 1988, split as by Kissell and Glantz 2003).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from cryptoai.backtesting.ledger import Ledger
from cryptoai.backtesting.touch import Touch
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import Fill, Liquidation
from cryptoai.core.money import Money, Price

__all__ = ["Costs", "RoundTrip", "Trading", "attribute", "round_trips", "trading"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Costs:
    """Exact amounts in the settlement currency; costs are positive, funding is positive where it was received.

    `fees` holds those of liquidations; `liquidation_fees` says how much of it that is. `funding` holds interest on
    borrowed coins and what an insurance fund paid.
    """

    gross: Decimal
    spread: Decimal
    slippage: Decimal
    impact: Decimal
    fees: Decimal
    funding: Decimal
    net: Decimal
    liquidation_fees: Decimal = Decimal(0)

    def figures(self) -> dict[str, float]:
        """For JSON and charts."""
        return {field.name: float(getattr(self, field.name)) for field in fields(self)}


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


def attribute(
    ledger: Ledger, instruments: Sequence[Instrument] = (), around: Mapping[int, Touch] | None = None
) -> Costs:
    """The split of the ledger's profit; `around` is what `touch.touches` found, by id of the fill.

    Without it (no tape at hand) a fill's whole distance from the mid of its decision counts as slippage. Instruments
    that are not given are taken to be linear.
    """
    made = {instrument.id: instrument for instrument in instruments}
    parts = [_parts(ledger, trade, made.get(trade.instrument), around or {}) for trade in ledger.trades]
    slippage, spread, impact = (sum((part[at] for part in parts), Decimal(0)) for at in range(3))
    first, last = ledger.first, ledger.last
    net = (last.equity - first.equity).value
    fees, funding = (last.fees - first.fees).value, (last.funding - first.funding).value
    return Costs(
        gross=net + fees + spread + slippage + impact - funding,
        spread=spread,
        slippage=slippage,
        impact=impact,
        fees=fees,
        funding=funding,
        net=net,
        liquidation_fees=sum((forced.fee.value for forced in ledger.liquidations), Decimal(0)),
    )


def trading(ledger: Ledger, max_position_pct: float, instruments: Sequence[Instrument] = ()) -> Trading:
    """How the ledger traded; `max_position_pct` is the risk budget of one instrument as a share of equity."""
    made = {instrument.id: instrument for instrument in instruments}
    trades = ledger.trades
    notional = [abs(float(_worth(trade, trade.price, made.get(trade.instrument)))) for trade in trades]
    resting = [
        amount for amount, trade in zip(notional, trades, strict=True) if isinstance(trade, Fill) and trade.maker
    ]
    trips = round_trips(trades, instruments)
    won, lost = (sum(abs(t.profit) for t in trips if (t.profit > 0) is side) for side in (True, False))
    held = np.sum([_held(ledger, name, made.get(name)) for name in ledger.marks], axis=0)
    budget = max_position_pct * ledger.equity * max(1, len(ledger.marks))
    use = np.divide(held, budget, out=np.zeros(len(budget)), where=budget > 0)
    return Trading(
        fills=len(ledger.fills),
        turnover=sum(notional) / float(np.mean(ledger.equity)),
        maker_share=sum(resting) / sum(notional) if sum(notional) > 0 else None,
        round_trips=len(trips),
        hit_rate=sum(t.profit > 0 for t in trips) / len(trips) if trips else None,
        profit_factor=won / lost if lost > 0 else None,
        exposure=float(np.mean(use)),
        in_market=float(np.mean(held > 0)),
    )


def round_trips(trades: Iterable[Fill | Liquidation], instruments: Sequence[Instrument] = ()) -> list[RoundTrip]:
    """The closed round trips of fills and liquidations, in order of their end."""
    made = {instrument.id: instrument for instrument in instruments}
    books: dict[str, _Episode] = {}
    closed: list[RoundTrip] = []
    for trade in trades:
        episode = books.setdefault(trade.instrument, _Episode())
        done = episode.take(trade, float(_worth(trade, trade.price, made.get(trade.instrument))))
        if done is not None:
            closed.append(done)
    return closed


def _held(ledger: Ledger, name: str, made: Instrument | None) -> Floats:
    """Notional of the position at each sample, float64[n] in the settlement currency."""
    size, mark = np.abs(ledger.positions[name]), np.nan_to_num(ledger.marks[name])
    if made is None or made.contract is not Contract.INVERSE:
        return np.asarray(size * mark)
    return np.divide(float(made.contract_size) * size, mark, out=np.zeros(len(mark)), where=mark > 0)


@dataclass(slots=True)
class _Episode:
    """One instrument between two moments of being flat, at cash flows."""

    lots: float = 0.0
    cash: float = 0.0
    start: int = 0

    def take(self, trade: Fill | Liquidation, worth: float) -> RoundTrip | None:
        """`worth` is the signed value of the trade; a trade through zero is split by quantity."""
        signed, fee = float(trade.signed), float(trade.fee)
        if abs(self.lots) < 1e-12:
            self.start, self.lots, self.cash = trade.known_at, 0.0, 0.0
        closing = signed if abs(signed) <= abs(self.lots) or self.lots * signed >= 0 else -self.lots
        share = closing / signed
        was_open = abs(self.lots) > 1e-12
        self.lots += closing
        self.cash -= (worth + fee) * share
        if not was_open or abs(self.lots) > 1e-12:
            return None
        trip = RoundTrip(trade.instrument, self.start, trade.known_at, self.cash)
        self.lots, self.start = signed - closing, trade.known_at
        self.cash = -(worth + fee) * (1 - share)
        return trip


def _parts(
    ledger: Ledger, trade: Fill | Liquidation, made: Instrument | None, around: Mapping[int, Touch]
) -> tuple[Decimal, Decimal, Decimal]:
    """(slippage, spread, impact) of one trade."""
    touch, wanted = around.get(id(trade)), _decided(ledger, trade)
    if touch is None:
        start = trade.price if wanted is None else wanted
        return _worth(trade, trade.price, made) - _worth(trade, start, made), Decimal(0), Decimal(0)
    before = wanted if wanted is not None else touch.mid
    rested = isinstance(trade, Fill) and trade.maker
    near = trade.price if rested else touch.ask if trade.signed.value > 0 else touch.bid
    levels = [_worth(trade, price, made) for price in (before, touch.mid, near, trade.price)]
    return levels[1] - levels[0], levels[2] - levels[1], levels[3] - levels[2]


def _worth(trade: Fill | Liquidation, price: Price, made: Instrument | None) -> Decimal:
    worth: Money = price * trade.signed if made is None else made.value(price, trade.signed)
    return worth.value


def _decided(ledger: Ledger, trade: Fill | Liquidation) -> Price | None:
    """The mid at which the order was decided; None for a liquidation, or an entry that no order of ours made."""
    decided = ledger.order_times.get(trade.client_order_id) if isinstance(trade, Fill) else None
    if decided is None:
        return None
    at = int(np.searchsorted(ledger.times, decided, side="right")) - 1
    mid = float(ledger.marks[trade.instrument][max(at, 0)])
    return Price(repr(mid)) if np.isfinite(mid) else None
