"""What happened, read from the journal alone: the equity curve, marks, exposure, orders and fills as columns.

Report and metrics work on a `Ledger`, never on a running kernel, so a journal of a shadow bot gives the same report as
one of a backtest, and nothing can be reported that was not journalled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.core.journal import Record
from cryptoai.core.messages import (
    Equity,
    Fill,
    Funding,
    Liquidation,
    OrderRequest,
    OrderStatus,
    OrderUpdate,
    Verdict,
)
from cryptoai.core.money import Quantity
from cryptoai.execution import kinds

__all__ = ["Forecast", "Ledger", "read_ledger"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Columns are sampled at the decision times and at the end: times int64[n] ns, equity float64[n] quote currency.

    marks, positions: float64[n] by instrument (a mark is NaN while unknown); wanted, approved: target positions of each
    decision in base units, float64[n - 1] by instrument. `orders` counts those sent, `outcomes` their last statuses,
    `order_times` is when each was decided. `forecasts` are those of the decisions, in order; `first` and `last` are the
    exact account at both ends.
    """

    times: Ints
    equity: Floats
    marks: dict[str, Floats]
    positions: dict[str, Floats]
    wanted: dict[str, Floats]
    approved: dict[str, Floats]
    fills: tuple[Fill, ...]
    decisions: int
    orders: int
    outcomes: dict[str, int]
    safe: int
    bounds: dict[str, int]
    alerts: dict[str, int]
    kills: int
    first: Equity
    last: Equity
    order_times: dict[str, int]
    funding: tuple[Funding, ...] = ()
    liquidations: tuple[Liquidation, ...] = ()
    forecasts: tuple[Forecast, ...] = ()

    @property
    def trades(self) -> list[Fill | Liquidation]:
        """Fills and forced closings, in the order in which they became known."""
        return sorted([*self.fills, *self.liquidations], key=lambda trade: trade.known_at)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a decision at `time` (ns) expected of the return over the `horizon_ns` that follow.

    quantiles: basis points by probability in (0, 1), ascending.
    """

    time: int
    instrument: str
    horizon_ns: int
    quantiles: dict[float, float]


@dataclass(slots=True)
class _Reading:
    times: list[int] = field(default_factory=list)
    samples: list[Equity] = field(default_factory=list)
    wanted: dict[str, list[float]] = field(default_factory=dict)
    approved: dict[str, list[float]] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    funding: list[Funding] = field(default_factory=list)
    liquidations: list[Liquidation] = field(default_factory=list)
    forecasts: list[Forecast] = field(default_factory=list)
    order_times: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    left: dict[str, Quantity] = field(default_factory=dict)
    bounds: Counter[str] = field(default_factory=Counter)
    alerts: Counter[str] = field(default_factory=Counter)
    decisions: int = 0
    safe: int = 0
    kills: int = 0
    newest: Equity | None = None

    def take(self, record: Record) -> None:
        body = record.body
        if record.kind == kinds.EQUITY:
            self.newest = Equity.model_validate(body)
        elif record.kind == kinds.DECISION:
            self.decisions += 1
            self.safe += body["safe"] is not None
            self._sample(record.time)
            self._forecast(record.time, body)
        elif record.kind == kinds.VERDICT:
            self._verdict(Verdict.model_validate(body))
        elif record.kind == kinds.FILL:
            self._fill(Fill.model_validate(body))
        elif record.kind == kinds.FUNDING:
            self.funding.append(Funding.model_validate(body))
        elif record.kind == kinds.LIQUIDATION:
            self.liquidations.append(Liquidation.model_validate(body))
        else:
            self._rest(record)

    def _rest(self, record: Record) -> None:
        body = record.body
        if record.kind == kinds.ORDER:
            request = OrderRequest.model_validate(body)
            self.order_times[request.client_order_id] = request.time
            self.left[request.client_order_id] = request.quantity
        elif record.kind == kinds.UPDATE:
            update = OrderUpdate.model_validate(body)
            self.statuses[update.client_order_id] = update.status
        elif record.kind == kinds.ALERT:
            self.alerts[body["name"]] += 1
        elif record.kind == kinds.KILL:
            self.kills += 1
        elif record.kind == kinds.END:
            self._sample(record.time)

    def _sample(self, time: int) -> None:
        if self.newest is not None and (not self.times or time > self.times[-1]):
            self.times.append(time)
            self.samples.append(self.newest)

    def _forecast(self, time: int, body: dict[str, Any]) -> None:
        said = body.get("inference")
        if not said:
            return
        shortest = min((_horizon_ns(name) for name in said["return_bps"]), default=0)
        quantiles = {_probability(name): float(value) for name, value in said["quantiles_bps"].items()}
        if shortest > 0 and quantiles:
            self.forecasts.append(Forecast(time, body["instrument"], shortest, dict(sorted(quantiles.items()))))

    def _verdict(self, verdict: Verdict) -> None:
        self.bounds.update(bound.limit for bound in verdict.bounds)
        self.wanted.setdefault(verdict.instrument, []).append(float(verdict.proposed))
        self.approved.setdefault(verdict.instrument, []).append(float(verdict.approved))

    def _fill(self, fill: Fill) -> None:
        self.fills.append(fill)
        if fill.client_order_id in self.left:
            self.left[fill.client_order_id] -= fill.quantity

    def outcome(self, order: str) -> OrderStatus:
        """The last status; a fill of the whole order comes without an update of its own."""
        if not self.left[order]:
            return OrderStatus.FILLED
        return OrderStatus(self.statuses.get(order, OrderStatus.SENT))


def read_ledger(records: Iterable[Record]) -> Ledger:
    """The ledger of a journal's records; DataError if it holds fewer than two samples of equity."""
    reading = _Reading()
    for record in records:
        reading.take(record)
    if len(reading.samples) < 2:
        raise DataError("the journal holds fewer than two decisions; there is nothing to report")
    names = sorted({*reading.wanted, *(name for sample in reading.samples for name in sample.marks)})
    return Ledger(
        times=np.array(reading.times, np.int64),
        equity=np.array([float(sample.equity) for sample in reading.samples]),
        marks={name: _column(reading.samples, "marks", name, np.nan) for name in names},
        positions={name: _column(reading.samples, "positions", name, 0.0) for name in names},
        wanted={name: np.array(values) for name, values in reading.wanted.items()},
        approved={name: np.array(values) for name, values in reading.approved.items()},
        fills=tuple(reading.fills),
        decisions=reading.decisions,
        orders=len(reading.order_times),
        outcomes=dict(Counter(str(reading.outcome(order)) for order in reading.left)),
        safe=reading.safe,
        bounds=dict(reading.bounds),
        alerts=dict(reading.alerts),
        kills=reading.kills,
        first=reading.samples[0],
        last=reading.samples[-1] if reading.newest is None else reading.newest,
        order_times=reading.order_times,
        funding=tuple(reading.funding),
        liquidations=tuple(reading.liquidations),
        forecasts=tuple(reading.forecasts),
    )


def _horizon_ns(name: str) -> int:
    """'4s' -> 4,000,000,000."""
    return round(float(name.removesuffix("s")) * SECOND)


def _probability(name: str) -> float:
    """'p05' or '0.05' -> 0.05."""
    return float(f"0.{name[1:]}") if name.startswith("p") else float(name)


def _column(samples: list[Equity], part: str, name: str, missing: float) -> Floats:
    found = (getattr(sample, part).get(name) for sample in samples)
    return np.array([missing if amount is None else float(amount) for amount in found])
