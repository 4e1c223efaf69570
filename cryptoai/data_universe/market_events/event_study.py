"""What events did to a price: abnormal return and abnormal volatility around them, with confidence intervals.

Used by `cryptoai data news study` and by research; it looks at the past only and must never feed a decision.
Mean-adjusted model (Brown & Warner 1985, Using daily stock returns): expected return and variance of a bar come from an
estimation window that ends before the event window. The interval of the mean over events is Student's t over cumulative
abnormal returns, each weighted equally, which holds when events do not overlap; events that would overlap one kept
before are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import DataError
from cryptoai.data_universe.facts import Facts

__all__ = ["Effect", "Study", "Windows", "study"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Windows:
    """In bars: `estimation` bars, then `gap` bars that nobody uses, then `before` bars, the event's bar, `after`
    bars."""

    estimation: int = 240
    gap: int = 24
    before: int = 0
    after: int = 24
    least_events: int = 5

    def __post_init__(self) -> None:
        if min(self.gap, self.before, self.after) < 0 or self.least_events < 5:
            raise DataError("an event study needs windows of 0 bars or more, and 5 events or more")
        if self.estimation < max(20, 4 * self.event):
            raise DataError("an event study needs 20 estimation bars, and 4 times as many as the event window has")

    @property
    def event(self) -> int:
        """Bars of the event window."""
        return self.before + 1 + self.after


@dataclass(frozen=True, slots=True)
class Effect:
    """A mean over events with its 95 % interval; NaN bounds where there are too few events to tell."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Study:
    """`abnormal_return`: sum of log returns above expectation in the event window. `volatility`: ln(variance of the
    event window / variance expected). Each row of `returns` float64[events, bars] is the cumulative path of one event.
    """

    abnormal_return: Effect
    volatility: Effect
    returns: Floats
    used: Ints
    """Event times that were used, ns."""
    left_out: dict[str, int]


def study(candles: Facts, events: Sequence[int] | Ints, windows: Windows | None = None) -> Study:
    """Impact of events at these times (ns) on one instrument's candles of one width.

    An event belongs to the bar during which it became known; a bar's return is from the close before to its own close.
    Raises `DataError` if the candles are not of one width. Events without whole windows, too near a hole, or
    overlapping an earlier one are left out and counted.
    """
    chosen = windows or Windows()
    times, returns = _returns(candles)
    width = int(candles.column("interval_s")[0]) * 1_000_000_000 if len(candles) else 1
    rows, left_out = _rows(times, width, np.sort(np.asarray(events, np.int64)), chosen)
    paths, ratios, used = [], [], []
    for event, place in rows:
        past = returns[place - chosen.before - chosen.gap - chosen.estimation : place - chosen.before - chosen.gap]
        inside = returns[place - chosen.before : place + chosen.after + 1]
        if np.isnan(past).any() or np.isnan(inside).any() or not np.var(past) > 0:
            left_out["a hole in the candles"] = left_out.get("a hole in the candles", 0) + 1
            continue
        abnormal = inside - past.mean()
        paths.append(np.cumsum(abnormal))
        ratios.append(_log_variance(abnormal) - _usual_log_variance(past, chosen.event))
        used.append(event)
    table = np.array(paths).reshape(len(paths), chosen.event)
    least = chosen.least_events
    return Study(
        _effect(table[:, -1], least), _effect(np.array(ratios), least), table, np.array(used, np.int64), left_out
    )


def _log_variance(returns: Floats) -> float:
    return float(np.log(max(float(np.mean(returns**2)), 1e-300)))


def _usual_log_variance(past: Floats, bars: int) -> float:
    """Mean of ln(variance) over windows as long as the event's: the ln of the mean would be larger (Jensen)."""
    whole = len(past) // bars
    windows = (past - past.mean())[len(past) - whole * bars :].reshape(whole, bars)
    return float(np.mean([_log_variance(window) for window in windows]))


def _returns(candles: Facts) -> tuple[Ints, Floats]:
    """Open times and log returns of the bars; NaN after a hole, and for the first bar."""
    order = np.argsort(candles.event_time, kind="stable")
    times, close = candles.event_time[order], candles.column("close")[order]
    widths = candles.column("interval_s")
    if len(candles) and np.any(widths != widths[0]):
        raise DataError("candles of several widths cannot be studied together; choose one interval")
    if np.any(np.diff(times) <= 0):
        raise DataError("two candles start at the same time; choose one source")
    returns = np.full(len(times), np.nan)
    if len(times) > 1:
        whole = np.diff(times) == int(widths[0]) * 1_000_000_000
        returns[1:] = np.where(whole, np.diff(np.log(close)), np.nan)
    return times, returns


def _rows(times: Ints, width: int, events: Ints, windows: Windows) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """(event, its bar) of the events whose windows fit and do not overlap one kept before."""
    rows: list[tuple[int, int]] = []
    left_out: dict[str, int] = {}
    free = 0
    for event in events.tolist():
        place = int(np.searchsorted(times, event, side="right")) - 1
        first = place - windows.before - windows.gap - windows.estimation
        if place < 0 or event >= times[place] + width or first < 1 or place + windows.after >= len(times):
            reason = "outside the candles"
        elif place - windows.before < free:
            reason = "overlaps an earlier event"
        else:
            free = place + windows.after + 1
            rows.append((event, place))
            continue
        left_out[reason] = left_out.get(reason, 0) + 1
    return rows, left_out


def _effect(values: Floats, least: int) -> Effect:
    """Mean and 95 % Student interval."""
    if len(values) < least:
        return Effect(float(np.mean(values)) if len(values) else float("nan"), float("nan"), float("nan"))
    half = float(_student(len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    mean = float(np.mean(values))
    return Effect(mean, mean - half, mean + half)


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, from 4 degrees on good to 0.001 (Abramowitz & Stegun 1964, 26.7.5)."""
    x, n = 1.959963984540054, float(freedom)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92_160,
    )
    return x + sum(term / n**power for power, term in enumerate(terms, 1))
