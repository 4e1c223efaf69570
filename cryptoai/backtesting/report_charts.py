"""The report's pictures: each takes an `Evaluation` and gives one panel of HTML with an SVG in it.

`report` puts them on the page. They compute nothing but what a picture needs: units, windows, labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape

import numpy as np
import numpy.typing as npt

from cryptoai.backtesting.calibration import Calibration
from cryptoai.backtesting.evaluate import Evaluation, duration, signed
from cryptoai.backtesting.ledger import Ledger
from cryptoai.backtesting.metrics import MIN_DAYS, YEAR_NS, period_returns, rolling_sharpe
from cryptoai.backtesting.svg import Bar, Dots, Line, columns, line_chart, waterfall
from cryptoai.core.clock import SECOND

__all__ = ["charts", "panel"]

Floats = npt.NDArray[np.float64]

_DAY = 86_400 * SECOND
_COLOURS = {"s1": "c1", "s2": "c2", "s3": "c3", "s4": "c4", "bad": "down", "buy": "up", "sell": "down", "forced": "c3"}


def charts(evaluation: Evaluation) -> list[str]:
    """All panels, in reading order."""
    found = [_equity(evaluation)]
    found += [_price(evaluation.result.ledger, feed.instrument.id) for feed in evaluation.result.replay.feeds]
    found += [_exposure(evaluation), _costs(evaluation), _rolling(evaluation)]
    return [*found, *([_calibration(evaluation.calibration)] if evaluation.calibration else [])]


def panel(title: str, picture: str, lines: Sequence[Line] = (), note: str = "") -> str:
    """A card with a heading, the key of its lines, a picture and a note below."""
    seen = {line.name: _COLOURS[line.style] for line in reversed(lines)}
    keys = "".join(f'<span><i style="background:var(--{c})"></i>{escape(n)}</span>' for n, c in seen.items())
    key = f'<div class="key">{keys}</div>' if keys else ""
    below = f'<p class="soft small">{escape(note)}</p>' if note else ""
    return f'<section class="card"><h2>{escape(title)}</h2>{key}{picture}{below}</section>'


def _equity(evaluation: Evaluation) -> str:
    ledger = evaluation.result.ledger
    x, clock = _x(ledger), _clock(ledger)
    lines = [Line("strategy", "s1", x, _gain(ledger.equity))]
    styles = {"flat": "s2", "buy and hold": "s3", "volatility target": "s4"}
    lines += [Line(b.name, styles[b.name], x, _gain(b.equity)) for b in evaluation.baselines if b.name in styles]
    lines.reverse()
    falls = (ledger.equity / np.maximum.accumulate(ledger.equity) - 1.0) * 100
    fall = [Line("strategy's drawdown", "bad", x, falls, area=True)]
    above = line_chart("Net return over time", lines, _percent, clock, height=190)
    below = line_chart("Drawdown over time", fall, _percent, clock, height=110)
    return panel("Net return and drawdown", above + below, [*fall, *lines])


def _price(ledger: Ledger, name: str) -> str:
    lines = [Line("mid", "s2", _x(ledger), ledger.marks[name])]
    dots = [dot for dot in (_fills(ledger, name, "buy"), _fills(ledger, name, "sell"), _forced(ledger, name)) if dot]
    picture = line_chart(f"Price of {name} with fills", lines, lambda v: f"{v:,.6g}", _clock(ledger), dots=dots)
    key = [*lines, *(Line(f"{dot.name} ({len(dot.x)})", dot.style, dot.x, dot.y) for dot in dots)]
    return panel(f"Price and fills, {name}", picture, key)


def _fills(ledger: Ledger, name: str, side: str) -> Dots:
    fills = [fill for fill in ledger.fills if fill.instrument == name and fill.side == side]
    x = np.array([(fill.event_time - ledger.times[0]) / SECOND for fill in fills])
    return Dots(side, side, x, np.array([float(fill.price) for fill in fills]), up=side == "buy")


def _forced(ledger: Ledger, name: str) -> Dots | None:
    """Liquidations, None if there was none."""
    found = [forced for forced in ledger.liquidations if forced.instrument == name]
    x = np.array([(forced.event_time - ledger.times[0]) / SECOND for forced in found])
    prices = np.array([float(forced.price) for forced in found])
    return Dots("liquidation", "forced", x, prices, up=False) if found else None


def _exposure(evaluation: Evaluation) -> str:
    """Positions over the risk budget: wanted by the model, held."""
    ledger, share = evaluation.result.ledger, evaluation.result.replay.config.risk.max_position_pct
    x = _x(ledger)
    lines: list[Line] = []
    for name, mark in ledger.marks.items():
        scale = mark / (share * ledger.equity)
        if name in ledger.wanted:
            n = min(len(ledger.wanted[name]), len(x))
            lines.append(Line("wanted", "s2", x[:n], ledger.wanted[name][:n] * scale[:n], steps=True))
        lines += [Line("held", "s1", x, ledger.positions[name] * scale, steps=True, area=True)]
    picture = line_chart("Position over time", lines, lambda v: signed(v, ".0%"), _clock(ledger))
    return panel(f"Position, share of the risk budget ({share:.0%} of equity)", picture, lines)


def _costs(evaluation: Evaluation) -> str:
    costs = evaluation.costs
    bars = [
        Bar("gross", float(costs.gross), total=True),
        Bar("spread", -float(costs.spread)),
        Bar("slippage", -float(costs.slippage)),
        Bar("impact", -float(costs.impact)),
        Bar("fees", -float(costs.fees)),
        Bar("funding", float(costs.funding)),
        Bar("net", float(costs.net), total=True),
    ]
    note = "Gross: the same trades at the mids of their decisions. Slippage: what the mid did until the fill."
    return panel(
        f"From gross to net, {evaluation.quote}", waterfall("Costs", bars, lambda v: signed(v, ",.2f")), note=note
    )


def _rolling(evaluation: Evaluation) -> str:
    """Yearly over 30 days where the sample is long enough, else of one interval over a tenth of the sample."""
    ledger = evaluation.result.ledger
    returns = period_returns(ledger.equity)
    span = int(ledger.times[-1] - ledger.times[0])
    step = span / len(returns)
    if span >= 2 * MIN_DAYS * _DAY:
        window, scale, title = round(MIN_DAYS * _DAY / step), YEAR_NS / step, f"Sharpe ratio, rolling {MIN_DAYS} days"
    else:
        window, scale = max(20, len(returns) // 10), 1.0
        title = f"Sharpe ratio of one interval, rolling {duration(round(window * step))}"
    lines = [Line("rolling", "s1", _x(ledger)[1:], rolling_sharpe(returns, window, scale))]
    picture = line_chart(title, lines, lambda v: signed(v, ".3g"), _clock(ledger), height=190)
    return panel(title, picture, note="" if scale > 1 else "Not scaled to a year: the sample is too short.")


def _calibration(found: Calibration) -> str:
    bars = [Bar(_range(part.low, part.high), part.density, total=True) for part in found.bins]
    picture = columns("Observed over expected frequency", bars, lambda v: f"{v:.2f}", reference=1.0)
    rows = "".join(
        f"<tr><td>{part.nominal:.0%} interval held</td><td>{part.observed:.1%}\u00a0±\u00a0{part.error:.1%}</td></tr>"
        for part in found.coverage
    )
    if found.bias_bps is not None and found.median_abs_bps is not None:
        rows += f"<tr><td>Mean of outcome less median forecast</td><td>{found.bias_bps:+.3f} bps</td></tr>"
        rows += (
            "<tr><td>Mean distance from the median forecast (from no change)</td>"
            f"<td>{found.median_abs_bps:.3f} ({found.naive_abs_bps:.3f}) bps</td></tr>"
        )
    note = f"{found.forecasts} forecasts; 1 is calibrated: outcomes fall between two quantiles as often as they say."
    return panel("Calibration of the model", f"{picture}<table>{rows}</table>", note=note)


def _range(low: float, high: float) -> str:
    """In percent of the forecast's own distribution."""
    if low <= 0:
        return f"< {high * 100:g}"
    return f"> {low * 100:g}" if high >= 1 else f"{low * 100:g}–{high * 100:g}"


def _x(ledger: Ledger) -> Floats:
    """Seconds since the first decision."""
    return np.asarray((ledger.times - ledger.times[0]) / SECOND, np.float64)


def _gain(equity: Floats) -> Floats:
    return np.asarray((equity / equity[0] - 1.0) * 100, np.float64)


def _clock(ledger: Ledger) -> Callable[[float], str]:
    """Seconds since the first decision to a UTC time, as fine as the sample needs."""
    start, span = int(ledger.times[0]), int(ledger.times[-1] - ledger.times[0])
    form = "%H:%M:%S" if span < _DAY else "%Y-%m-%d"
    return lambda seconds: f"{datetime.fromtimestamp(start / SECOND + seconds, UTC):{form}}"


def _percent(value: float) -> str:
    return signed(value / 100, ".2%")
