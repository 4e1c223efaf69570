"""From the columns of a table to facts: which kinds a table holds, and its rows as each of them.

The importer calls this on every piece of a file; it sees one instrument at a time. It only reads and converts: what
cannot be believed is refused by the lake, with its reason. It must never guess where a guess could be wrong: a table
that could be two things is an error that says how to tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe.derivatives.times import nanoseconds
from cryptoai.data_universe.facts import Facts

__all__ = ["How", "kinds_of", "reading"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_DAY_S = 86_400
_BARS = ("open", "high", "low", "close")
_NEEDS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "funding": (("rate",), ("mean_rate",)),
    "funding_predicted": (("predicted", "next_time"), ("rate", "next_time")),
    "mark": (("mark",), _BARS),
    "open_interest": (("contracts",), ("notional_oi",)),
    "liquidations": (("side", "price", "qty"), ("notional",)),
    "positioning": (("ratio",),),
    "candles": (_BARS,),
}
"""The meanings that each kind needs, in alternatives."""


@dataclass(frozen=True, slots=True)
class How:
    """What a user may say about a table that its columns do not."""

    interval_s: float | None = None
    """Width of a bar, or of a funding interval."""
    lag_ns: int = 0
    """From the event to when it could be known, where the table has no receive time."""
    positions: bool = False
    """`side` is the position that was liquidated, not the forced order."""


def kinds_of(columns: Mapping[str, str], name: str) -> list[str]:
    """The kinds that a table with these meanings holds; `name` is the file's. `DataError` says what is missing."""
    has = set(columns)
    if set(_BARS) <= has:
        return ["mark"] if "mark" in name.lower() else ["candles"]
    live = bool(has & {"mark", "contracts", "notional_oi"})
    found = [kind for kind in ("mark", "open_interest", "positioning") if _missing(kind, has) == ()]
    if _missing("funding_predicted", has) == () and (live or "predicted" in has):
        found.append("funding_predicted")
    elif _missing("funding", has) == ():
        found.append("funding")
    if "notional" in has or (_missing("liquidations", has) == () and "liq" in name.lower()):
        found.append("liquidations")
    if not found:
        more = " (side, price and size could be trades: --kind liquidations if they are)" if "side" in has else ""
        raise DataError(
            f"{name} has no columns of a known kind{more}; rename its columns or give --kind: "
            f"{', '.join(f'{kind} needs {_wanted(kind)}' for kind in _NEEDS)}"
        )
    return found


def reading(kind: str, frame: pl.DataFrame, columns: Mapping[str, str], how: How) -> Facts:
    """The rows of one instrument as facts of a kind. `DataError` names a column that is missing or cannot be read."""
    missing = _missing(kind, set(columns))
    if "time" not in columns or missing:
        lacking = ", ".join(missing) or "time"
        raise DataError(f"the table has no column for {lacking} ({kind} needs a time and {_wanted(kind)}); rename one")
    table = _Table(frame, columns)
    event = nanoseconds(frame[columns["time"]])
    rows = {
        "funding": _funding,
        "funding_predicted": _predicted,
        "mark": _mark,
        "open_interest": _interest,
        "liquidations": _liquidations,
        "positioning": _positioning,
        "candles": _candles,
    }[kind](table, event, how)
    known = rows.known
    if "known" in columns:
        known = nanoseconds(frame[columns["known"]])
    return Facts.of(kind, rows.event, known + (0 if "known" in columns else how.lag_ns), rows.values)


@dataclass(frozen=True, slots=True)
class _Rows:
    event: Ints
    known: Ints
    values: Floats


@dataclass(frozen=True, slots=True)
class _Table:
    frame: pl.DataFrame
    columns: Mapping[str, str]

    def number(self, meaning: str) -> Floats:
        """A column of numbers; NaN where it has none, or where there is no such column."""
        if meaning not in self.columns:
            return np.full(len(self.frame), np.nan)
        column = self.frame[self.columns[meaning]]
        text = column.str.strip_chars().str.replace_all(",", "") if column.dtype == pl.String else column
        return text.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy().astype(np.float64)

    def text(self, meaning: str) -> list[str]:
        texts = self.frame[self.columns[meaning]].cast(pl.String).fill_null("")
        return [text.strip().lower() for text in texts.to_list()]


def _funding(table: _Table, event: Ints, how: How) -> _Rows:
    """A mean of a day is known at its end; its payments are eight hours apart unless the user says otherwise."""
    mean = "rate" not in table.columns
    time = event + _DAY_S * SECOND if mean else event
    interval = table.number("interval_s")
    hours = table.number("interval_hours") * 3_600
    interval = np.where(np.isnan(interval), hours, interval)
    told = how.interval_s or (28_800 if mean else None)
    interval = np.where(np.isnan(interval) & (told is not None), told or 0.0, interval)
    return _Rows(time, time, np.column_stack((table.number("mean_rate" if mean else "rate"), interval)))


def _predicted(table: _Table, event: Ints, _how: How) -> _Rows:
    rate = table.number("predicted")
    rate = np.where(np.isnan(rate), table.number("rate"), rate)
    following = nanoseconds(table.frame[table.columns["next_time"]]) / SECOND
    return _Rows(event, event, np.column_stack((rate, np.floor(following))))


def _mark(table: _Table, event: Ints, how: How) -> _Rows:
    """A mark price, or the close of a bar of mark prices, known when the bar closed."""
    if "mark" in table.columns:
        return _Rows(event, event, np.column_stack((table.number("mark"), table.number("index"))))
    if np.nansum(table.number("volume")) > 0:
        raise DataError("the bars have traded volume, so they are contract candles and no mark price: --kind candles")
    closed = event + round((how.interval_s or 0) * SECOND)
    return _Rows(closed, closed, np.column_stack((table.number("close"), np.full(len(event), np.nan))))


def _interest(table: _Table, event: Ints, _how: How) -> _Rows:
    return _Rows(event, event, np.column_stack((table.number("contracts"), table.number("notional_oi"))))


def _liquidations(table: _Table, event: Ints, how: How) -> _Rows:
    """Where only the notional is published, price is 1 and the quantity is the notional."""
    if "qty" not in table.columns or "price" not in table.columns:
        size = np.abs(table.number("notional"))
        return _Rows(event, event, np.column_stack((np.zeros(len(event)), np.ones(len(event)), size)))
    sides = np.array([_SIDES.get(text, np.nan) for text in table.text("side")], np.float64)
    named = np.array([text in ("long", "short") for text in table.text("side")], np.bool_)
    sides = np.where(named | (not how.positions), sides, -sides)
    return _Rows(event, event, np.column_stack((sides, table.number("price"), np.abs(table.number("qty")))))


_SIDES = {
    **dict.fromkeys(("sell", "ask", "s", "a", "-1", "short_order", "long"), -1.0),
    **dict.fromkeys(("buy", "bid", "b", "1", "+1", "long_order", "short"), 1.0),
}
"""Of the forced order; a position called long was sold out."""


def _positioning(table: _Table, event: Ints, _how: How) -> _Rows:
    return _Rows(event, event, table.number("ratio")[:, None])


def _candles(table: _Table, event: Ints, how: How) -> _Rows:
    width = np.full(len(event), how.interval_s or 0.0)
    bars = [table.number(name) for name in (*_BARS, "volume")]
    return _Rows(event, event + np.round(width * SECOND).astype(np.int64), np.column_stack((width, *bars)))


def _missing(kind: str, has: set[str]) -> tuple[str, ...]:
    """What the alternative that comes nearest lacks; nothing if one is there whole."""
    lacking = [tuple(name for name in needs if name not in has) for needs in _NEEDS[kind]]
    return min(lacking, key=len)


def _wanted(kind: str) -> str:
    return " or ".join("+".join(needs) for needs in _NEEDS[kind])
