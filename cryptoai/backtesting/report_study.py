"""The report's part on many runs: which trial was best and how much of that is luck, folds, sizes.

`report` puts it between the figures and the assumptions. It shows a `Study` and computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from cryptoai.backtesting.capacity import SizePoint
from cryptoai.backtesting.evaluate import signed
from cryptoai.backtesting.grid import Selection
from cryptoai.backtesting.report_charts import panel
from cryptoai.backtesting.study import Study
from cryptoai.backtesting.svg import Bar, columns
from cryptoai.backtesting.walk import Walk

__all__ = ["ASSUMED", "study_panels"]

ASSUMED = ("backtest.", "execution.order_latency_ms", "execution.initial_cash")
"""Keys that a grid may vary but nobody can choose: assumptions of the simulation."""
_ONE_MODEL = "one model, which saw none of the tests if it was trained on the training window"
_MOST_ROWS = 20
_MOST_COLUMNS = 8


def study_panels(study: Study) -> str:
    """Panels side by side, nothing for an empty study."""
    parts = [
        *([_grid(study.selection)] if study.selection else []),
        *([_walk(study.walk)] if study.walk else []),
        *([_capacity(study.capacity)] if study.capacity else []),
    ]
    return f'<div class="two">{"".join(parts)}</div>' if parts else ""


def _grid(found: Selection) -> str:
    keys = list(found.best["settings"])
    head = [*(key.split(".", 1)[-1] for key in keys), "net", "Sharpe", "worst fall", "fills"]
    rows = [
        [
            *(str(row["settings"][key]) for key in keys),
            signed(row["net_return"], ".3%"),
            signed(row["sharpe_slice"], ".3f"),
            f"{row['max_drawdown']:.3%}",
            str(row["fills"]),
        ]
        for row in found.rows[:_MOST_ROWS]
    ]
    more = f", the best {_MOST_ROWS} of {len(found.rows)} shown" if len(found.rows) > _MOST_ROWS else ""
    note = " ".join([_luck(found), *_warnings(keys)])
    elsewhere = found.trials - found.failed - len(found.rows)
    made = f", {elsewhere} made elsewhere" if elsewhere else ""
    return panel(f"Trials: {found.trials}, {found.failed} failed{made}{more}", _table(head, rows), note=note)


def _luck(found: Selection) -> str:
    deflated = "undefined" if found.deflated_sharpe is None else f"{found.deflated_sharpe:.2f}"
    text = f"Deflated Sharpe probability of the best after {found.trials} trials: {deflated}."
    if found.overfitting is None:
        return text
    fit = found.overfitting
    return (
        f"{text} Probability of backtest overfitting: {fit.probability:.0%} over {fit.splits} splits; the trial chosen "
        f"in one half lost money in the other in {fit.loss:.0%} of them."
    )


def _warnings(keys: Sequence[str]) -> list[str]:
    assumed = [key for key in keys if key.startswith(ASSUMED)]
    if not assumed:
        return []
    return [f"{', '.join(assumed)}: assumed by the simulation, not chosen; the best is the luckiest assumption."]


def _walk(found: Walk) -> str:
    head = ["fold", "in sample", "out of sample", "worst fall", "fills", "Sharpe in", "out"]
    rows = [
        [
            str(fold.number + 1),
            signed(fold.inside["net_return"], ".3%"),
            signed(fold.outside["net_return"], ".3%"),
            f"{fold.outside['max_drawdown']:.3%}",
            str(fold.outside["fills"]),
            _ratio(fold.inside),
            _ratio(fold.outside),
        ]
        for fold in found.folds
    ]
    how = "a model trained anew for each fold" if found.retrained else _ONE_MODEL
    kept = "" if found.kept is None else f" {found.kept:.0%} of the in-sample Sharpe ratio is left out of sample."
    note = (
        f"Out of sample together {signed(found.net_return, '.3%')}, {found.positive:.0%} of the folds earned; "
        f"{how}.{kept} In sample is the end of the training window, as long as the test; an embargo of "
        f"{found.folds[0].split.embargo_ns / 1e9:g} s lies between them."
    )
    return panel(f"Walk-forward, {len(found.folds)} folds", _table(head, rows), note=note)


def _capacity(points: Sequence[SizePoint]) -> str:
    bars = [Bar(f"×{point.multiple:g}", point.net_return * 100) for point in points[:_MOST_COLUMNS]]
    picture = columns("Net return by size", bars, lambda v: signed(v / 100, ".3%"))
    rows = [[f"{p.money:,.0f}", signed(p.profit, ",.2f"), f"{p.turnover:.2f}", _bounds(p.bound)] for p in points]
    table = _table(["money", "profit", "turnover", "bound most often"], rows)
    return panel("Capacity: net return at multiples of the money", picture + table)


def _ratio(side: Mapping[str, Any]) -> str:
    value = side["sharpe_period"]
    return "" if value is None else signed(value, ".3f")


def _bounds(bound: Mapping[str, int]) -> str:
    """The one that bound most often."""
    most = max(bound.items(), key=lambda item: item[1], default=None)
    return "none" if most is None else f"{most[0]} {most[1]}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table class="wide"><tr>{top}</tr>{body}</table></div>'
