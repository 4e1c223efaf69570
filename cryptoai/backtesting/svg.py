"""Charts as SVG text: small pure functions from numbers to markup, for reports without a script or a library.

Colours and fonts are CSS classes of the page (`s1`..`s4`, `up`, `down`, `axis`), so that light and dark need no second
drawing. Nothing here knows what the numbers mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["Bar", "Dots", "Line", "columns", "line_chart", "thin", "ticks", "waterfall"]

Floats = npt.NDArray[np.float64]
Label = Callable[[float], str]

WIDTH, HEIGHT = 540, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 12, 14, 30
_ROW, _NAMES, _VALUES, _COLUMNS = 32, 84, 118, 220
_WIDEST = 90
_MOST = 400


@dataclass(frozen=True, slots=True)
class Line:
    """x, y: float64[n], NaN breaks the line; `style` is a CSS class.

    `area` fills down to zero, `steps` holds each value until the next.
    """

    name: str
    style: str
    x: Floats
    y: Floats
    area: bool = False
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Dots:
    """Triangles at (x, y), pointing up or down."""

    name: str
    style: str
    x: Floats
    y: Floats
    up: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """One step of a waterfall, or a column: a change, or with `total` the level reached."""

    name: str
    value: float
    total: bool = False


@dataclass(frozen=True, slots=True)
class _Frame:
    """From data to picture."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: int

    def at_x(self, value: float) -> float:
        return _LEFT + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - _LEFT - _RIGHT)

    def at_y(self, value: float) -> float:
        return _TOP + (self.y[1] - value) / (self.y[1] - self.y[0]) * (self.height - _TOP - _BOTTOM)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) inside [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def thin(x: Floats, y: Floats, most: int = _MOST) -> tuple[Floats, Floats]:
    """At most about `most` points that keep each bucket's lowest and highest value, so no spike disappears."""
    if len(x) <= most:
        return x, y
    kept: set[int] = {0, len(x) - 1}
    for part in np.array_split(np.arange(len(x)), most // 2):
        values = y[part]
        if np.isfinite(values).any():
            kept |= {int(part[np.nanargmin(values)]), int(part[np.nanargmax(values)])}
    index = np.array(sorted(kept))
    return x[index], y[index]


def line_chart(
    title: str,
    lines: Sequence[Line],
    y_label: Label,
    x_label: Label,
    *,
    dots: Sequence[Dots] = (),
    height: int = HEIGHT,
) -> str:
    """An <svg> with axes, lines and dots; the title is read out by screen readers."""
    frame = _Frame(
        _range([s.x for s in lines], 0.0), _range([*(s.y for s in lines), *(s.y for s in dots)], 0.06), height
    )
    body = [_grid(frame, y_label, x_label)]
    body += [_line(frame, line) for line in lines]
    body += [_dots(frame, mark) for mark in dots]
    return _svg(title, height, body)


def waterfall(title: str, bars: Sequence[Bar], label: Label) -> str:
    """Steps from the first level to the last, one a row: a step that earns is `up`, one that costs is `down`."""
    spans, level = [], 0.0
    for bar in bars:
        start = 0.0 if bar.total else level
        level = bar.value if bar.total else level + bar.value
        spans.append((start, level))
    low, high = _range([np.array([v for span in spans for v in span])], 0.0)
    height = len(bars) * _ROW + 8
    scale = (WIDTH - _NAMES - _VALUES) / (high - low)
    zero = _NAMES + (0.0 - low) * scale
    body = [f'<line class="zero" x1="{zero:.1f}" x2="{zero:.1f}" y1="2" y2="{height - 2}"/>']
    for at, (bar, span) in enumerate(zip(bars, spans, strict=True)):
        left, right = (_NAMES + (value - low) * scale for value in sorted(span))
        body.append(_step(at, bar, (left, right), label))
    return _svg(title, height, body)


def columns(title: str, bars: Sequence[Bar], label: Label, *, reference: float = 0.0) -> str:
    """Upright columns from zero with their values above, and a dashed line at `reference`."""
    values = np.array([0.0, reference, *(bar.value for bar in bars)])
    frame = _Frame((0.0, float(len(bars))), _range([values], 0.14), _COLUMNS)
    y = frame.at_y(reference)
    body = [f'<line class="zero" x1="8" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>']
    body += [_column(frame, at, bar, label) for at, bar in enumerate(bars)]
    return _svg(title, _COLUMNS, body)


def _svg(title: str, height: int, body: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    return "".join([head, f"<title>{escape(title)}</title>", *body, "</svg>"])


def _range(columns: Sequence[Floats], margin: float) -> tuple[float, float]:
    joined = np.concatenate([np.asarray(c, np.float64) for c in columns]) if columns else np.zeros(1)
    joined = joined[np.isfinite(joined)]
    low, high = (float(joined.min()), float(joined.max())) if len(joined) else (0.0, 1.0)
    pad = (high - low) * margin if high > low else max(abs(low) * 1e-3, 1e-6)
    return low - pad, high + pad


def _grid(frame: _Frame, y_label: Label, x_label: Label) -> str:
    parts = []
    for value in ticks(*frame.y, max(2, frame.height // 32)):
        y, style = frame.at_y(value), "zero" if abs(value) < 1e-12 else "grid"
        parts.append(f'<line class="{style}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 8, y + 4, y_label(value), "end"))
    for n, anchor in enumerate(("start", "middle", "end")):
        value = frame.x[0] + (frame.x[1] - frame.x[0]) * n / 2
        parts.append(_text(frame.at_x(value), frame.height - 8, x_label(value), anchor))
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str, style: str = "axis") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(frame: _Frame, line: Line) -> str:
    x, y = thin(line.x, line.y)
    pieces = []
    for part in _unbroken(y):
        points = [(frame.at_x(float(x[i])), frame.at_y(float(y[i]))) for i in part]
        if line.steps:
            points = _stepped(points)
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        if line.area:
            base = frame.at_y(0.0)
            corners = f"{points[0][0]:.1f},{base:.1f} {path} {points[-1][0]:.1f},{base:.1f}"
            pieces.append(f'<polygon class="{line.style} area" points="{corners}"/>')
        pieces.append(f'<polyline class="{line.style}" points="{path}"/>')
    return "".join(pieces)


def _unbroken(y: Floats) -> list[npt.NDArray[np.int64]]:
    """Index runs without NaN."""
    whole = np.flatnonzero(np.isfinite(y)).astype(np.int64)
    return [run for run in np.split(whole, np.flatnonzero(np.diff(whole) > 1) + 1) if len(run)]


def _stepped(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    made = points[:1]
    for before, after in pairwise(points):
        made += [(after[0], before[1]), after]
    return made


def _dots(frame: _Frame, dots: Dots) -> str:
    parts = []
    for x, y in zip(dots.x, dots.y, strict=True):
        px, py, tip = frame.at_x(float(x)), frame.at_y(float(y)), -9 if dots.up else 9
        foot = py - tip
        corners = f"{px:.1f},{py:.1f} {px - 4.5:.1f},{foot:.1f} {px + 4.5:.1f},{foot:.1f}"
        parts.append(f'<polygon class="{dots.style} mark" points="{corners}"/>')
    return "".join(parts)


def _step(at: int, bar: Bar, ends: tuple[float, float], label: Label) -> str:
    """One row of a waterfall: name, bar, value."""
    style = "total" if bar.total else "up" if bar.value >= 0 else "down"
    top, middle = at * _ROW + 8, at * _ROW + _ROW / 2 + 9
    return "".join(
        [
            _text(0, middle, bar.name, "start"),
            f'<rect class="bar {style}" x="{ends[0]:.1f}" y="{top}" width="{max(ends[1] - ends[0], 1.5):.1f}" '
            f'height="{_ROW - 8}" rx="2"/>',
            _text(WIDTH - 2, middle, label(bar.value), "end", "value"),
        ]
    )


def _column(frame: _Frame, at: int, bar: Bar, label: Label) -> str:
    room = (WIDTH - 16) / frame.x[1]
    width = min(room * 0.76, _WIDEST)
    x = 8 + room * (at + 0.5) - width / 2
    top, bottom = sorted((frame.at_y(0.0), frame.at_y(bar.value)))
    style = "total" if bar.total else "up" if bar.value >= 0 else "down"
    above = bar.value >= 0
    return "".join(
        [
            f'<rect class="bar {style}" x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{max(bottom - top, 1.5):.1f}" rx="2"/>',
            _text(x + width / 2, top - 6 if above else bottom + 17, label(bar.value), "middle", "value"),
            _text(x + width / 2, frame.height - 8, bar.name, "middle"),
        ]
    )
