"""What a bot's journal says, as numbers for Prometheus: names, units and labels, in one place.

Read by `monitoring.adapters.prometheus`, which knows the format, and by the alert rules, which know the names. Base
units only (seconds, ratios, quote currency); every label is bounded: instruments, feature groups, limits, severities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cryptoai.monitoring.health import Source
from cryptoai.monitoring.journal_view import JournalView

__all__ = ["Sample", "samples"]

_BPS = 1e-4


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of one metric; counters are named without `_total`."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def samples(view: JournalView, drift: Mapping[str, Any], source: Source, now_ns: int) -> Iterator[Sample]:
    """Every sample of the page's state at `now_ns`, samples of one name together."""
    yield from _bot(view, source, now_ns)
    yield from _counts(view)
    yield from _money(view)
    yield from _model(view)
    for group in drift.get("groups", ()):
        labels = {"group": group["group"]}
        yield Sample(
            "cryptoai_drift_ratio", "gauge", "Share of a group's features that drifted.", group["share"], labels
        )


def _bot(view: JournalView, source: Source, now_ns: int) -> Iterator[Sample]:
    about = {name: str(view.start.get(name, "")) for name in ("bot", "revision", "mode")}
    yield Sample("cryptoai_bot_info", "gauge", "1 for the bot whose journal this is.", float(bool(view.start)), about)
    yield Sample("cryptoai_journal_records", "counter", "Records read from the journal.", view.records)
    yield Sample("cryptoai_journal_healthy", "gauge", "0 if the journal is missing or damaged.", _healthy(source))
    if source.exists:
        age = max(now_ns - source.changed_ns, 0) / 1e9
        yield Sample("cryptoai_journal_age_seconds", "gauge", "Time since the journal last grew.", age)
    engaged = float(view.kill is not None)
    yield Sample("cryptoai_kill_switch_engaged", "gauge", "1 while only reducing orders pass.", engaged)


def _counts(view: JournalView) -> Iterator[Sample]:
    said = {
        "decisions": ("cryptoai_decisions", "Decisions taken."),
        "safe": ("cryptoai_safe_actions", "Decisions in which the safe action was taken."),
        "bound": ("cryptoai_verdicts_bound", "Verdicts in which a limit bound."),
        "orders": ("cryptoai_orders", "Orders written to the journal."),
        "fills": ("cryptoai_fills", "Executions."),
    }
    for key, (name, text) in said.items():
        yield Sample(name, "counter", text, view.counters[key])
    for key, count in sorted(view.counters.items()):
        if key.startswith("bound:"):
            labels = {"limit": key.removeprefix("bound:")}
            yield Sample("cryptoai_limit_bound", "counter", "Times that a limit bound.", count, labels)
    for (severity, name), count in sorted(view.alert_counts.items()):
        yield Sample("cryptoai_alerts", "counter", "Alerts raised.", count, {"severity": severity, "name": name})


def _money(view: JournalView) -> Iterator[Sample]:
    if not view.equity:
        return
    equity = view.equity
    yield Sample("cryptoai_equity_quote", "gauge", "Equity, quote currency.", float(equity["equity"]))
    yield Sample("cryptoai_fees_paid_quote", "gauge", "Fees paid so far, quote currency.", float(equity["fees"]))
    yield Sample("cryptoai_drawdown_ratio", "gauge", "Fall from peak equity, positive.", -equity["drawdown"])
    for name, quantity in sorted(equity["positions"].items()):
        labels = {"instrument": name}
        yield Sample("cryptoai_position_base", "gauge", "Signed position, base units.", float(quantity), labels)


def _model(view: JournalView) -> Iterator[Sample]:
    texts = {
        "es99_bps": ("cryptoai_tail_loss_ratio", "One-step 99 % expected shortfall as a share of price.", _BPS),
        "anomaly": (
            "cryptoai_anomaly_ratio",
            "Distance from the training states; above 1 is out of distribution.",
            1.0,
        ),
        "alarm": ("cryptoai_black_swan_alarm", "1 while the black-swan alarm is on.", 1.0),
    }
    for key, (name, text, unit) in texts.items():
        for instrument, said in sorted(view.latest.items()):
            yield Sample(name, "gauge", text, float(said[key]) * unit, {"instrument": instrument})


def _healthy(source: Source) -> float:
    return float(source.exists and source.error is None)
