"""The report: one HTML file that needs nothing else, readable on a phone, in light and in dark.

The CLI writes it after a backtest. It shows an `Evaluation` and computes nothing of its own; it must never show a
result without its assumptions and the baselines beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryptoai.backtesting.evaluate import NO_PROMISE, Evaluation, assumption_line, assumptions, duration, signed
from cryptoai.backtesting.ledger import Ledger
from cryptoai.backtesting.svg import Bar, Dots, Line, line_chart, waterfall
from cryptoai.core.clock import SECOND

__all__ = ["render_report", "write_report"]

Floats = npt.NDArray[np.float64]

_MONTHS_FROM_DAYS = 60
_STYLE = files("cryptoai.backtesting").joinpath("report.css").read_text(encoding="utf-8")


def write_report(path: Path, evaluation: Evaluation) -> None:
    """Writes the report whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(render_report(evaluation), encoding="utf-8")
    draft.replace(path)


def render_report(evaluation: Evaluation) -> str:
    """The whole page."""
    names = ", ".join(feed.instrument.id for feed in evaluation.result.replay.feeds)
    title = f"Backtest of {names}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(_subtitle(evaluation))}</p>',
        _headline(evaluation),
        f'<p class="soft small">Assumes {escape(assumption_line(evaluation))}. All assumptions are listed below.</p>',
        _warnings(evaluation),
        f'<div class="two">{"".join(_charts(evaluation))}</div>',
        f'<div class="two">{_figures(evaluation)}{_activity(evaluation)}</div>',
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
    ledger, replay = evaluation.result.ledger, evaluation.result.replay
    return (
        f"{duration(int(ledger.times[-1] - ledger.times[0]))} of tape, {ledger.decisions} decisions, "
        f"{ledger.orders} orders, {len(ledger.fills)} fills, {replay.model_name}, revision {replay.revision[:12]}"
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
    if ledger.kills:
        notes.append(f"The kill switch was engaged {ledger.kills} times.")
    if evaluation.interval.low < 0 < evaluation.interval.high:
        notes.append("The interval of the net return holds zero: this result cannot be told from luck.")
    return f'<div class="warn">{"".join(f"<p>{escape(note)}</p>" for note in notes)}</div>' if notes else ""


def _charts(evaluation: Evaluation) -> list[str]:
    ledger = evaluation.result.ledger
    charts = [_equity_chart(evaluation)]
    charts += [_price_chart(ledger, feed.instrument.id) for feed in evaluation.result.replay.feeds]
    return [*charts, _exposure_chart(evaluation), _cost_chart(evaluation)]


def _equity_chart(evaluation: Evaluation) -> str:
    ledger = evaluation.result.ledger
    lines = [Line("strategy", "s1", _x(ledger), _gain(ledger.equity))]
    styles = {"flat": "s2", "buy and hold": "s3", "volatility target": "s4"}
    lines += [
        Line(b.name, styles[b.name], _x(ledger), _gain(b.equity)) for b in evaluation.baselines if b.name in styles
    ]
    lines.reverse()
    falls = (ledger.equity / np.maximum.accumulate(ledger.equity) - 1.0) * 100
    fall = [Line("strategy's drawdown", "bad", _x(ledger), falls, area=True)]
    above = line_chart("Net return over time", lines, _percent, _clock(ledger), height=190)
    below = line_chart("Drawdown over time", fall, _percent, _clock(ledger), height=110)
    return _panel("Net return and drawdown", above + below, [*fall, *lines])


def _price_chart(ledger: Ledger, name: str) -> str:
    lines = [Line("mid", "s2", _x(ledger), ledger.marks[name])]
    dots = [_marks(ledger, name, "buy"), _marks(ledger, name, "sell")]
    picture = line_chart(f"Price of {name} with fills", lines, lambda v: f"{v:,.6g}", _clock(ledger), dots=dots)
    key = [*lines, *(Line(f"{dot.name} ({len(dot.x)})", dot.style, dot.x, dot.y) for dot in dots)]
    return _panel(f"Price and fills, {name}", picture, key)


def _marks(ledger: Ledger, name: str, side: str) -> Dots:
    fills = [fill for fill in ledger.fills if fill.instrument == name and fill.side == side]
    x = np.array([(fill.event_time - ledger.times[0]) / SECOND for fill in fills])
    return Dots(side, side, x, np.array([float(fill.price) for fill in fills]), up=side == "buy")


def _exposure_chart(evaluation: Evaluation) -> str:
    """Positions over the risk budget: wanted by the model, let through by the judge, held."""
    ledger, share = evaluation.result.ledger, evaluation.result.replay.config.risk.max_position_pct
    budget = share * ledger.equity
    x = _x(ledger)
    lines: list[Line] = []
    for name, mark in ledger.marks.items():
        scale = mark / budget
        if name in ledger.wanted:
            lines.append(Line("wanted", "s2", *_decided(x, ledger.wanted[name], scale), steps=True))
        lines += [Line("held", "s1", x, ledger.positions[name] * scale, steps=True, area=True)]
    unit = f"Position, share of the risk budget ({share:.0%} of equity)"
    return _panel(unit, line_chart("Position over time", lines, lambda v: signed(v, ".0%"), _clock(ledger)), lines)


def _decided(x: Floats, target: Floats, scale: Floats) -> tuple[Floats, Floats]:
    n = min(len(target), len(x))
    return x[:n], target[:n] * scale[:n]


def _cost_chart(evaluation: Evaluation) -> str:
    costs = evaluation.costs
    bars = [
        Bar("gross", costs.gross, total=True),
        Bar("slippage", -costs.slippage),
        Bar("fees", -costs.fees),
        Bar("funding", costs.funding),
        Bar("net", costs.net, total=True),
    ]
    return _panel(f"From gross (at decision mids) to net, {evaluation.quote}", waterfall("Costs", bars, _money), [])


def _panel(title: str, picture: str, lines: Sequence[Line]) -> str:
    colours = {"s1": "c1", "s2": "c2", "s3": "c3", "s4": "c4", "bad": "down", "buy": "up", "sell": "down"}
    seen = {line.name: colours[line.style] for line in reversed(lines)}
    keys = "".join(f'<span><i style="background:var(--{c})"></i>{escape(n)}</span>' for n, c in seen.items())
    return f'<section class="card"><h2>{escape(title)}</h2><div class="key">{keys}</div>{picture}</section>'


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
        ("Sharpe ratio of one interval", _number(found.sharpe_period)),
        (f"Deflated Sharpe, probability ({evaluation.trials} trials)", _number(evaluation.deflated_sharpe)),
        ("CAGR", _share(found.cagr)),
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
    """Returns by calendar month (UTC); nothing for a sample that is shorter than two of them."""
    if ledger.times[-1] - ledger.times[0] < _MONTHS_FROM_DAYS * 86_400 * SECOND:
        return ""
    months: dict[str, float] = {}
    for time, equity in zip(ledger.times, ledger.equity, strict=True):
        months[f"{datetime.fromtimestamp(int(time) // SECOND, UTC):%Y-%m}"] = float(equity)
    opening = [float(ledger.equity[0]), *list(months.values())[:-1]]
    rows = [(name, f"{end / start - 1:+.2%}") for start, (name, end) in zip(opening, months.items(), strict=True)]
    return f'<div class="two">{_table("By month", rows)}</div>'


def _banner(evaluation: Evaluation) -> str:
    rows = "".join(f"<dt>{escape(topic)}</dt><dd>{escape(text)}</dd>" for topic, text in assumptions(evaluation))
    return f'<section class="card"><h2>What these numbers assume</h2><dl>{rows}</dl></section>'


def _x(ledger: Ledger) -> Floats:
    """Seconds since the first decision."""
    return np.asarray((ledger.times - ledger.times[0]) / SECOND, np.float64)


def _gain(equity: Floats) -> Floats:
    return np.asarray((equity / equity[0] - 1.0) * 100, np.float64)


def _clock(ledger: Ledger) -> Callable[[float], str]:
    """Seconds since the first decision to a UTC time, as fine as the sample needs."""
    start, span = int(ledger.times[0]), int(ledger.times[-1] - ledger.times[0])
    form = "%H:%M:%S" if span < 86_400 * SECOND else "%Y-%m-%d"
    return lambda seconds: f"{datetime.fromtimestamp(start / SECOND + seconds, UTC):{form}}"


def _percent(value: float) -> str:
    return signed(value / 100, ".2%")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _money(value: float) -> str:
    return signed(value, ",.2f")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _bps(value: float | None) -> str:
    return "" if value is None else f"{value * 1e4:.3f} bps"
