"""The report: one HTML file that needs nothing else, readable on a phone, in light and in dark.

The CLI writes it after a backtest. It shows an `Evaluation` and computes nothing of its own; it must never show a
result without its assumptions and the baselines beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path

from cryptoai.backtesting.evaluate import (
    NO_PROMISE,
    Evaluation,
    assumption_line,
    assumptions,
    count,
    duration,
    signed,
    verdict,
    who,
)
from cryptoai.backtesting.ledger import Ledger
from cryptoai.backtesting.report_charts import charts
from cryptoai.backtesting.report_study import study_panels
from cryptoai.backtesting.study import Study
from cryptoai.core.clock import SECOND

__all__ = ["render_report", "write_report"]

_MONTHS_FROM_DAYS = 60
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STYLE = files("cryptoai.backtesting").joinpath("report.css").read_text(encoding="utf-8")


def write_report(path: Path, evaluation: Evaluation, study: Study | None = None) -> None:
    """Writes the report whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(render_report(evaluation, study), encoding="utf-8")
    draft.replace(path)


def render_report(evaluation: Evaluation, study: Study | None = None) -> str:
    """The whole page; `study` is what many runs said."""
    names = ", ".join(feed.instrument.id for feed in evaluation.result.replay.feeds)
    title = f"Backtest of {names}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(_subtitle(evaluation))}</p>',
        _headline(evaluation),
        f"<p>{escape(verdict(evaluation))}</p>",
        f'<p class="soft small">Assumes {escape(assumption_line(evaluation))}. All assumptions are listed below.</p>',
        _warnings(evaluation),
        f'<div class="two">{"".join(charts(evaluation))}</div>',
        f'<div class="two">{_figures(evaluation)}{_activity(evaluation)}</div>',
        study_panels(study or Study()),
        _monthly(evaluation.result.ledger),
        _banner(evaluation),
        f"<footer><p>{escape(NO_PROMISE)}</p></footer>",
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
    return (
        f'<!doctype html><html lang="en"><head>{head}<title>{escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _subtitle(evaluation: Evaluation) -> str:
    ledger = evaluation.result.ledger
    return (
        f"{duration(int(ledger.times[-1] - ledger.times[0]))} of tape, {ledger.decisions} decisions, "
        f"{ledger.orders} orders, {len(ledger.fills)} fills, {who(evaluation)}"
    )


def _headline(evaluation: Evaluation) -> str:
    cash = float(evaluation.result.ledger.equity[0])
    cards = [_card("Strategy, net of all costs", evaluation.performance.total_return, cash, evaluation.quote, "main")]
    for baseline in evaluation.baselines:
        name = "buy and hold, same budget" if baseline.name == "buy and hold" else baseline.name
        cards.append(_card(name.capitalize(), baseline.total_return, cash, evaluation.quote, ""))
    return f'<div class="cards">{"".join(cards)}</div>'


def _card(name: str, total: float, cash: float, quote: str, style: str) -> str:
    sign = "up" if total > 5e-6 else "down" if total < -5e-6 else ""
    return (
        f'<div class="card {style}"><span class="soft small">{escape(name)}</span>'
        f'<b class="{sign}">{signed(total, ".3%")}</b>'
        f'<span class="soft small">{signed(total * cash, ",.2f")} {escape(quote)}</span></div>'
    )


def _warnings(evaluation: Evaluation) -> str:
    ledger, notes = evaluation.result.ledger, [evaluation.performance.note] if evaluation.performance.note else []
    if ledger.safe:
        notes.append(
            f"{ledger.safe} of {ledger.decisions} decisions took the safe action because the model gave no answer."
        )
    if ledger.liquidations:
        notes.append(f"The venue liquidated a position {len(ledger.liquidations)} times.")
    if ledger.kills:
        notes.append(f"The kill switch was engaged {ledger.kills} times.")
    if evaluation.interval.low < 0 < evaluation.interval.high:
        notes.append("The interval of the net return holds zero: this result cannot be told from luck.")
    return f'<div class="warn">{"".join(f"<p>{escape(note)}</p>" for note in notes)}</div>' if notes else ""


def _figures(evaluation: Evaluation) -> str:
    found, interval = evaluation.performance, evaluation.interval
    rows = [
        ("Net return", signed(found.total_return, ".4%")),
        (f"{interval.level:.0%} interval of it (block bootstrap)", f"{interval.low:+.3%} to {interval.high:+.3%}"),
        ("Maximum drawdown", f"{found.max_drawdown:.4%}"),
        ("Longest time below a peak", duration(found.drawdown_ns)),
        ("Volatility of one decision interval", _bps(found.volatility_period)),
        ("Value at risk 95%, one interval", _bps(found.var_95)),
        ("Expected shortfall 95%, one interval", _bps(found.es_95)),
        ("Skew", _number(found.skew)),
        ("Tail ratio (95th over 5th percentile)", _number(found.tail_ratio)),
        ("Sharpe ratio of one interval", _number(found.sharpe_period)),
        (f"Deflated Sharpe, probability ({count(evaluation.trials, 'trial')})", _number(evaluation.deflated_sharpe)),
        ("CAGR", _share(found.cagr)),
        ("Volatility, yearly", _share(found.volatility)),
        ("Sharpe, yearly", _number(found.sharpe)),
        ("Sortino, yearly", _number(found.sortino)),
        ("Calmar", _number(found.calmar)),
    ]
    return _table("Risk and return", [row for row in rows if row[1]])


def _activity(evaluation: Evaluation) -> str:
    done, ledger = evaluation.trading, evaluation.result.ledger
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(ledger.outcomes.items()))
    bounds = ", ".join(f"{name} {count}" for name, count in sorted(ledger.bounds.items()))
    rows = [
        ("Turnover (traded over equity)", f"{done.turnover:.2f}"),
        ("Orders", outcomes or "none"),
        ("Share that rested (maker)", _share(done.maker_share)),
        ("Round trips", str(done.round_trips)),
        ("Hit rate", _share(done.hit_rate)),
        ("Profit factor", _number(done.profit_factor)),
        ("Mean use of the risk budget", f"{done.exposure:.0%}"),
        ("Time in the market", f"{done.in_market:.0%}"),
        ("Limits that bound", bounds or "none"),
        ("Safe actions", str(ledger.safe)),
    ]
    return _table("Trading", [row for row in rows if row[1]])


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    body = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<section class="card"><h2>{escape(title)}</h2><div class="scroll"><table>{body}</table></div></section>'


def _monthly(ledger: Ledger) -> str:
    """Returns by calendar month (UTC), a row a year; nothing for a sample that is shorter than two of them."""
    if ledger.times[-1] - ledger.times[0] < _MONTHS_FROM_DAYS * 86_400 * SECOND:
        return ""
    ends: dict[tuple[int, int], float] = {}
    for time, equity in zip(ledger.times.tolist(), ledger.equity.tolist(), strict=True):
        moment = datetime.fromtimestamp(time // SECOND, UTC)
        ends[moment.year, moment.month] = equity
    starts = dict(zip(ends, [float(ledger.equity[0]), *ends.values()], strict=False))
    gains = {month: end / starts[month] - 1 for month, end in ends.items() if starts[month] > 0}
    years = sorted({year for year, _ in ends})
    rows = "".join(_year(year, {month: gain for (y, month), gain in gains.items() if y == year}) for year in years)
    head = "".join(f"<th>{name}</th>" for name in ("", *_MONTHS, "Year"))
    table = f'<div class="scroll"><table class="wide"><tr>{head}</tr>{rows}</table></div>'
    return f'<section class="card"><h2>By month</h2>{table}</section>'


def _year(year: int, gains: dict[int, float]) -> str:
    """The twelve months and what they compound to."""
    whole = math.prod(1 + gain for gain in gains.values()) - 1
    return f"<tr><td>{year}</td>{''.join(_gain(gains.get(month)) for month in range(1, 13))}{_gain(whole)}</tr>"


def _gain(value: float | None) -> str:
    if value is None:
        return "<td></td>"
    return f'<td class="{"up" if value > 0 else "down"}">{signed(value, ".2%")}</td>'


def _banner(evaluation: Evaluation) -> str:
    rows = "".join(f"<dt>{escape(topic)}</dt><dd>{escape(text)}</dd>" for topic, text in assumptions(evaluation))
    return f'<section class="card"><h2>What these numbers assume</h2><dl>{rows}</dl></section>'


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _bps(value: float | None) -> str:
    return "" if value is None else f"{value * 1e4:.3f} bps"
