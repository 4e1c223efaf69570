"""The journal, folded into what a person wants to see: a pure reduction of records, one at a time.

Fed by the dashboard's follower, read by its page, its API and its metrics. It keeps bounded memory whatever the length
of the journal, takes amounts as the journal's digits (floats only for drawing), and must never read a file or a clock.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptoai.core.journal import Record
from cryptoai.monitoring.decisions import DecisionRow, horizon_seconds
from cryptoai.monitoring.series import Series

__all__ = ["JournalView"]

Body = Mapping[str, Any]
_RECENT = 20
_KEEP = 200
_KEEP_FILLS = 600
_WATCHED = ("direction", "size", "mean_bps", "sd_bps", "var99_bps", "es99_bps", "anomaly", "value")
_OUTPUTS_KEPT = 4096


@dataclass
class JournalView:
    """The page's state after the records so far. `apply` folds one in; `snapshot` and `delta` are JSON-ready."""

    start: dict[str, Any] = field(default_factory=dict)
    first_time: int = 0
    last_time: int = 0
    records: int = 0
    counters: Counter[str] = field(default_factory=Counter)
    alert_counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    equity: dict[str, Any] = field(default_factory=dict)
    kill: dict[str, Any] | None = None
    ended: bool = False
    latest: dict[str, dict[str, Any]] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    fills: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_KEEP_FILLS))
    alerts: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_KEEP))
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: list[tuple[float, ...]] = field(default_factory=list)
    _rows: dict[tuple[int, str], DecisionRow] = field(default_factory=dict)
    _recent_safe: deque[str | None] = field(default_factory=lambda: deque(maxlen=_RECENT))
    _first_equity: float = 0.0
    _peak: float = 0.0
    _worst: float = 0.0
    _changed: set[tuple[int, str]] = field(default_factory=set)
    _new_fills: list[dict[str, Any]] = field(default_factory=list)
    _new_alerts: list[dict[str, Any]] = field(default_factory=list)

    OUTPUTS = _WATCHED
    """Names of the columns of `outputs`: what the model said, for drift."""

    def apply(self, record: Record) -> None:
        """Folds one record in; a kind that this version does not know only counts."""
        self.first_time = self.first_time or record.time
        self.last_time = record.time
        self.records += 1
        handler = getattr(self, f"_on_{record.kind}", None)
        if handler is not None:
            handler(record.time, record.body)

    def head(self) -> dict[str, Any]:
        """Everything but the series and the lists: small enough to send with every change."""
        return {
            **self.start,
            "records": self.records,
            "first_time": self.first_time,
            "last_time": self.last_time,
            "counters": dict(self.counters),
            "equity": self.equity,
            "kill": self.kill,
            "ended": self.ended,
            "latest": self.latest,
            "safe_recent": sum(reason is not None for reason in self._recent_safe),
            "recent": len(self._recent_safe),
            "safe_reason": next((r for r in reversed(self._recent_safe) if r is not None), None),
        }

    def decisions(self) -> list[dict[str, Any]]:
        """The newest decisions, newest first."""
        return [row.body() for row in reversed(self._rows.values())]

    def snapshot(self) -> dict[str, Any]:
        """The whole page."""
        return {
            "head": self.head(),
            "series": {
                name: {"columns": series.columns, "points": series.points} for name, series in self.series.items()
            },
            "fills": list(self.fills),
            "alerts": list(self.alerts),
            "decisions": self.decisions(),
        }

    def delta(self) -> dict[str, Any]:
        """What changed since the last call, in the shape of `snapshot`; decisions are to be replaced by key."""
        changed, fills, alerts = self._changed, self._new_fills, self._new_alerts
        self._changed, self._new_fills, self._new_alerts = set(), [], []
        fresh = {name: (series.columns, series.take()) for name, series in self.series.items()}
        return {
            "head": self.head(),
            "series": {name: {"columns": c, "points": points} for name, (c, points) in fresh.items() if points},
            "fills": fills[-_KEEP_FILLS:],
            "alerts": alerts[-_KEEP:],
            "decisions": [row.body() for key, row in self._rows.items() if key in changed],
        }

    # One method a kind of record; each takes the record's time (ns) and body.

    def _on_start(self, _time: int, body: Body) -> None:
        self.start = dict(body)
        self.counters["starts"] += 1
        self.ended = False

    def _on_end(self, _time: int, _body: Body) -> None:
        self.ended = True

    def _on_decision(self, time: int, body: Body) -> None:
        row = DecisionRow.of(time, body)
        self._remember(row)
        self.counters["decisions"] += 1
        self.counters["safe"] += row.safe is not None
        self._recent_safe.append(row.safe)
        if body.get("inference"):
            self._inferred(time, row.instrument, body["inference"])

    def _on_verdict(self, _time: int, body: Body) -> None:
        row = self._rows.get((body["decision"], body["instrument"]))
        self.counters["verdicts"] += 1
        self.counters["bound"] += bool(body["bounds"])
        for bound in body["bounds"]:
            self.counters[f"bound:{bound['limit']}"] += 1
        if row is not None:
            row.judged(body)
            self._changed.add(row.key)

    def _on_order(self, time: int, body: Body) -> None:
        self.counters["orders"] += 1
        self.orders[body["client_order_id"]] = {**body, "time": time, "status": "new", "reason": ""}
        while len(self.orders) > _KEEP:
            del self.orders[next(iter(self.orders))]

    def _on_update(self, _time: int, body: Body) -> None:
        self.counters[f"order:{body['status']}"] += 1
        if order := self.orders.get(body["client_order_id"]):
            order.update(status=body["status"], reason=body.get("reason", ""))

    def _on_fill(self, time: int, body: Body) -> None:
        self.counters["fills"] += 1
        self.counters["maker_fills"] += bool(body["maker"])
        fill = {k: body[k] for k in ("instrument", "side", "price", "quantity", "fee", "maker", "client_order_id")}
        fill["t"] = time / 1e9
        self.fills.append(fill)
        self._new_fills.append(fill)

    def _on_equity(self, time: int, body: Body) -> None:
        equity = float(body["equity"])
        self._first_equity = self._first_equity or equity
        self._peak = max(self._peak, equity)
        drawdown = equity / self._peak - 1.0 if self._peak > 0 else 0.0
        self._worst = min(self._worst, drawdown)
        change = equity / self._first_equity - 1.0 if self._first_equity else 0.0
        self.equity = {**body, "change": change, "drawdown": drawdown, "max_drawdown": self._worst}
        self._series("equity", "equity", "drawdown").append(time, equity, drawdown)
        for instrument, mark in body["marks"].items():
            quantity = float(body["positions"].get(instrument, "0"))
            share = quantity * float(mark) / equity if equity > 0 else 0.0
            self._series(f"price/{instrument}", "mark").append(time, float(mark))
            self._series(f"position/{instrument}", "quantity", "share").append(time, quantity, share)

    def _on_alert(self, time: int, body: Body) -> None:
        self.alert_counts[body["severity"], body["name"]] += 1
        alert = {"t": time / 1e9, **{k: body[k] for k in ("severity", "name", "message")}}
        self.alerts.append(alert)
        self._new_alerts.append(alert)

    def _on_kill(self, time: int, body: Body) -> None:
        self.kill = {"t": time / 1e9, "reason": body.get("reason", ""), "by": body.get("by", "")}
        self.counters["kills"] += 1

    def _on_release(self, _time: int, _body: Body) -> None:
        self.kill = None

    def _inferred(self, time: int, instrument: str, said: Body) -> None:
        """The newest inference, and its place in the charts and in the record of outputs."""
        self.latest[instrument] = {"t": time / 1e9, **said}
        horizon = min(said["return_bps"], key=horizon_seconds, default=None)
        mean = said["return_bps"].get(horizon, 0.0)
        spread = said["return_sd_bps"].get(horizon, 0.0)
        action = said["action"]
        exposure = action["direction"] * max(action["size"], 0.0)
        forecast = self._series(f"forecast/{instrument}", "mean", "low", "high", "exposure")
        forecast.append(time, mean, mean - spread, mean + spread, exposure)
        risk = self._series(f"risk/{instrument}", "var99", "es99", "anomaly", "alarm")
        risk.append(time, said["var99_bps"], said["es99_bps"], said["anomaly"], float(said["alarm"]))
        tail = (said["var99_bps"], said["es99_bps"], said["anomaly"], said["value"])
        self.outputs.append((action["direction"], action["size"], mean, spread, *tail))
        if len(self.outputs) > _OUTPUTS_KEPT:  # the first stay as the reference, the newest as what is compared
            del self.outputs[_OUTPUTS_KEPT // 4 : _OUTPUTS_KEPT // 2]

    def _remember(self, row: DecisionRow) -> None:
        self._rows[row.key] = row
        self._changed.add(row.key)
        while len(self._rows) > _KEEP:
            gone = next(iter(self._rows))
            del self._rows[gone]
            self._changed.discard(gone)

    def _series(self, name: str, *columns: str) -> Series:
        return self.series.setdefault(name, Series(columns))
