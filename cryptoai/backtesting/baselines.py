"""What doing little would have earned: flat, buy and hold, volatility target; same tape, fees, funding and latency.

The report compares with them. They trade market orders on the same simulated exchange, with the strategy's risk budget
(`risk.max_position_pct` of the starting cash an instrument), because comparing a bot that may hold a tenth of its money
with all of it in coins compares budgets; holding with all of the equity is given too. They know no limit but the
budget: no judge stands between them and the exchange. Like the strategy they are marked at mid, not sold at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryptoai.backtesting.exchange import Exchange
from cryptoai.backtesting.market import Feed, schedule
from cryptoai.backtesting.run import BacktestResult
from cryptoai.backtesting.settlement import Charges
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import Fill, OrderKind, OrderRequest, Side
from cryptoai.core.money import Price, Quantity
from cryptoai.data_universe.market_microstructure.book import Book

__all__ = ["Baseline", "baselines", "mids"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_DECAY = 0.94
"""RiskMetrics' decay of the variance estimate."""
_BAND = 0.1
"""Share of the budget that a volatility target must move by before it is traded."""
_LEAST = 30
"""Returns before the window that a volatility estimate needs."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """equity: float64[n] at the ledger's times, quote currency."""

    name: str
    equity: Floats
    fees: float
    fills: int

    @property
    def total_return(self) -> float:
        return float(self.equity[-1] / self.equity[0] - 1.0)


@dataclass(frozen=True, slots=True)
class _Leg:
    """One instrument's part of a baseline: profit float64[n] over time, what was paid, how often."""

    profit: Floats
    fees: float
    fills: int


Share = Callable[[int, float], float]
"""(sample, share of the budget held now) -> share wanted."""


def baselines(result: BacktestResult) -> tuple[Baseline, ...]:
    """Flat, buy and hold with the budget, the same with all of the equity, and volatility target.

    The last is left out where the tape has too little before the window to estimate from.
    """
    feeds, ledger, config = result.replay.feeds, result.ledger, result.replay.config
    cash = config.execution.initial_cash
    budget = cash * config.risk.max_position_pct
    found = [
        Baseline("flat", np.full(len(ledger.times), cash), 0.0, 0),
        _joined("buy and hold", cash, [_hold(result, feed, budget) for feed in feeds]),
        _joined("buy and hold, all equity", cash, [_hold(result, feed, cash / len(feeds)) for feed in feeds]),
    ]
    histories = [_history(result, feed) for feed in feeds]
    if all(len(history) >= _LEAST for history in histories):
        legs = [_target(result, feed, budget, past) for feed, past in zip(feeds, histories, strict=True)]
        found.append(_joined("volatility target", cash, legs))
    return tuple(found)


def mids(feed: Feed, times: Ints) -> Floats:
    """Mid prices float64[n] known at `times` (ascending ns); NaN while the book is unknown or one-sided."""
    book, found, read = Book(), np.full(len(times), np.nan), 0
    for at, now in enumerate(times):
        until = feed.events.until(int(now))
        book.apply(feed.events, read, until)
        read = until
        if book.known and 0 < book.best_bid < book.best_ask:
            found[at] = (book.best_bid + book.best_ask) / 2 * float(feed.instrument.tick)
    return found


def _hold(result: BacktestResult, feed: Feed, budget: float) -> _Leg:
    return _trade(result, feed, budget, lambda sample, _held: 1.0 if sample == 0 else np.nan)


def _target(result: BacktestResult, feed: Feed, budget: float, past: Floats) -> _Leg:
    """Long in inverse proportion to the decayed volatility, at most the budget; the target is the volatility before."""
    goal = float(np.sqrt(np.mean(past**2)))
    marks = result.ledger.marks[feed.instrument.id]
    variances = np.full(len(marks), goal**2)
    for at in range(1, len(marks)):
        change = marks[at] / marks[at - 1] - 1.0
        variances[at] = _DECAY * variances[at - 1] + (1 - _DECAY) * (change**2 if np.isfinite(change) else goal**2)

    def share(sample: int, held: float) -> float:
        wanted = min(1.0, goal / max(float(np.sqrt(variances[sample])), 1e-12))
        return wanted if abs(wanted - held) >= _BAND else np.nan

    return _trade(result, feed, budget, share)


def _trade(result: BacktestResult, feed: Feed, budget: float, share: Share) -> _Leg:
    """Market orders toward `share` of the budget at every sample (NaN: do nothing), with latency both ways."""
    made, ledger, assume = feed.instrument, result.ledger, result.replay.assumed
    exchange = Exchange(feed, assume)
    marks = ledger.marks[made.id]
    fills: list[Fill] = []
    for at, now in enumerate(ledger.times[:-1]):
        arrival = assume.latency.arrives(int(now))
        exchange.advance(arrival)
        worth = _lots(made, budget, float(marks[at]))
        wanted = share(at, made.lots(exchange.position) / worth) * worth
        lots = int(wanted) - made.lots(exchange.position) if np.isfinite(wanted) else 0
        if lots:
            exchange.place(_order(feed, at, made.quantity(abs(lots)), Side.BUY if lots > 0 else Side.SELL), arrival)
            fills += [answer for answer in exchange.answers() if isinstance(answer, Fill)]
    return _leg(feed, result, fills)


def _lots(made: Instrument, budget: float, mark: float) -> float:
    """How many steps `budget` (settlement currency) is at `mark`; NaN while nothing has a price."""
    if not np.isfinite(mark):
        return np.nan
    return (
        budget
        * (mark / float(made.contract_size) if made.contract is Contract.INVERSE else 1 / mark)
        / float(made.step)
    )


def _order(feed: Feed, at: int, quantity: Quantity, side: Side) -> OrderRequest:
    return OrderRequest(
        client_order_id=f"baseline-{at}",
        decision=at,
        time=0,
        instrument=feed.instrument.id,
        side=side,
        kind=OrderKind.MARKET,
        quantity=quantity,
        price=None,
    )


def _leg(feed: Feed, result: BacktestResult, fills: list[Fill]) -> _Leg:
    """What the fills and the payments for holding made, in the settlement currency."""
    made, times = feed.instrument, result.ledger.times
    marks = result.ledger.marks[made.id]
    profit, held = np.zeros(len(times)), np.zeros(len(times))
    for fill in fills:
        known = times >= fill.known_at
        profit[known] -= float(made.value(fill.price, fill.signed)) + float(fill.fee)
        held[known] += float(fill.signed)
    for time, amount in _payments(feed, result, fills):
        profit[times >= time] += amount
    worth = -float(made.contract_size) * held / marks if made.contract is Contract.INVERSE else held * marks
    return _Leg(
        profit + np.where(held == 0, 0.0, worth),
        fees=sum(float(fill.fee) for fill in fills),
        fills=len(fills),
    )


def _payments(feed: Feed, result: BacktestResult, fills: list[Fill]) -> list[tuple[int, float]]:
    """(time, amount received) of each funding payment, on the mark of the last sample before it."""
    made, ledger = feed.instrument, result.ledger
    charges = Charges(made, feed.facts_of("funding"), result.replay.assumed.rules)
    found, now = [], int(ledger.times[0])
    while (now := charges.next(now)) <= ledger.times[-1]:
        position = sum((fill.signed for fill in fills if fill.event_time <= now), Quantity.zero())
        mark = float(ledger.marks[made.id][int(np.searchsorted(ledger.times, now, side="right")) - 1])
        payment = charges.payment(now, position, Price(repr(mark))) if np.isfinite(mark) else None
        if payment is not None:
            found.append((now, float(payment.amount)))
    return found


def _joined(name: str, cash: float, legs: list[_Leg]) -> Baseline:
    equity = cash + np.sum([leg.profit for leg in legs], axis=0)
    return Baseline(name, equity, sum(leg.fees for leg in legs), sum(leg.fills for leg in legs))


def _history(result: BacktestResult, feed: Feed) -> Floats:
    """Returns of one decision interval each, before the window."""
    interval = result.replay.config.execution.decision_interval_ms
    grid = schedule(int(feed.events.known_at[0]), result.replay.window.start, interval)
    known = mids(feed, np.array(grid, np.int64))
    known = known[np.isfinite(known)]
    return known[1:] / known[:-1] - 1.0
