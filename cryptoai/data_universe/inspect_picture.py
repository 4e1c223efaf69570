"""The lake as a picture: one HTML page without scripts, a lane for each instrument and kind along one axis of time.

`cryptoai data inspect --picture` writes it. Bars are data, gaps in a bar are holes and are marked, dots are refused
rows. It is a pure function from lanes to text, in light and dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape

from cryptoai.core.clock import SECOND, iso
from cryptoai.data_universe.inspect import Lane, Span

__all__ = ["picture"]

_WIDTH, _LEFT, _RIGHT, _LANE, _TOP = 1160, 320, 110, 30, 34
_MOST = 600
_STEPS = [s * SECOND for s in (1, 10, 60, 600, 3_600, 21_600, 86_400, 7 * 86_400)]
_MONTHS = (1, 3, 12, 24, 60, 120)
_MONTH = 30 * 86_400 * SECOND
_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--text:#1c2430;--soft:#5b6675;--line:#dfe4ea;
--bar:#2f6fb5;--hole:#c2410c;--dot:#b3125e}
@media(prefers-color-scheme:dark){:root{--bg:#12161c;--text:#e6eaf0;--soft:#9aa6b5;--line:#2b333e;
--bar:#6aa9e9;--hole:#fb923c;--dot:#f472b6}}
body{background:var(--bg);color:var(--text);font:14px system-ui,sans-serif;margin:24px;max-width:1160px}
h1{font-size:20px;margin:0 0 4px}p{color:var(--soft);margin:0 0 16px}svg{width:100%;height:auto;display:block}
text{fill:var(--text);font:12px system-ui,sans-serif}.soft{fill:var(--soft)}.axis{stroke:var(--line)}
.bar{fill:var(--bar)}.hole{fill:var(--hole)}.dot{fill:var(--dot);stroke:var(--bg)}.bad{fill:var(--hole)}
.key{display:inline-block;width:12px;height:12px;margin:0 5px 0 14px;vertical-align:-1px}.key:first-child{margin-left:0}
"""


def picture(lanes: Sequence[Lane], title: str) -> str:
    """A whole HTML page; also for a lake without data."""
    times = [time for lane in lanes for span in lane.spans for time in span]
    axis = (min(times), max(*times, min(times) + SECOND)) if times else (0, SECOND)
    height = _TOP + _LANE * len(lanes) + 8
    body = "".join([*_axis(axis, height, bool(times)), *(_lane(lane, n, axis) for n, lane in enumerate(lanes))])
    legend = (
        '<span class="key" style="background:var(--bar)"></span>data'
        '<span class="key" style="background:var(--hole)"></span>hole'
        '<span class="key" style="background:var(--dot);border-radius:50%"></span>refused row'
    )
    span = f"{iso(axis[0])[:19]}Z to {iso(axis[1])[:19]}Z" if times else "there are no data"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f'<p>{span}</p><p>{legend}</p><svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"{body}</svg></body></html>\n"
    )


def _lane(lane: Lane, place: int, axis: Span) -> str:
    top = _TOP + place * _LANE
    name = f"{lane.instrument}  {lane.kind}"
    short = name if len(name) <= 46 else f"{name[:45]}…"
    parts = [f'<text x="0" y="{top + 19}">{escape(short)}<title>{escape(name)}</title></text>']
    if lane.damage:
        parts.append(f'<text class="bad" x="{_LEFT}" y="{top + 19}">damaged<title>{escape(lane.damage)}</title></text>')
    parts += [_bar("bar", span, top + 8, 14, axis, _told(span)) for span in _merged(lane.spans, axis)]
    parts += [_bar("hole", span, top + 13, 4, axis, f"hole: {_told(span)}") for span in _merged(lane.holes, axis)]
    inside = [time for time in lane.outliers if axis[0] <= time <= axis[1]]
    for x in sorted({round(_x(time, axis)) for time in inside}):
        parts.append(f'<circle class="dot" cx="{x}" cy="{top + 15}" r="4"><title>{_reasons(lane)}</title></circle>')
    refused = sum(lane.refused.values())
    note = f"{lane.rows:,}" + (f" · {refused:,} refused" if refused else "")
    tip = f"{lane.rows:,} rows, {len(lane.holes):,} holes, lag {lane.lag_s:.3f} s. {_reasons(lane)}"
    parts.append(f'<text class="soft" x="{_WIDTH - _RIGHT + 8}" y="{top + 19}">{note}<title>{tip}</title></text>')
    return "".join(parts)


def _bar(style: str, span: Span, top: int, height: int, axis: Span, tip: str) -> str:
    left, right = _x(span[0], axis), _x(span[1], axis)
    wide = max(right - left, 2.0)
    at = f'x="{min(left, _WIDTH - _RIGHT - wide):.1f}" y="{top}" width="{wide:.1f}" height="{height}"'
    return f'<rect class="{style}" {at}><title>{escape(tip)}</title></rect>'


def _merged(spans: Sequence[Span], axis: Span) -> Iterator[Span]:
    """Spans that would touch on the picture as one, so that a page stays small; a hole stays at least two wide."""
    if not spans:
        return
    least = (axis[1] - axis[0]) / (_WIDTH - _LEFT - _RIGHT)
    start, stop = spans[0]
    for span in spans[1:]:
        if len(spans) > _MOST and span[0] - stop < least:
            stop = span[1]
        else:
            yield start, stop
            start, stop = span
    yield start, stop


def _axis(axis: Span, height: int, there: bool) -> Iterator[str]:
    if not there:
        return
    for time, label in _ticks(axis):
        x = _x(time, axis)
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="22" y2="{height}"/>'
        yield f'<text class="soft" x="{x:.1f}" y="14" text-anchor="middle">{label}</text>'


def _ticks(axis: Span) -> Iterator[tuple[int, str]]:
    """At most eight round times and what they are called."""
    wide = (axis[1] - axis[0]) / 8
    step = next((each for each in _STEPS if each >= wide), 0)
    if step:
        form = "%H:%M:%S" if step < 86_400 * SECOND else "%Y-%m-%d"
        for time in range(-(-axis[0] // step) * step, axis[1] + 1, step):
            yield time, f"{datetime.fromtimestamp(time // SECOND, UTC):{form}}"
        return
    months = next((each for each in _MONTHS if each * _MONTH >= wide), _MONTHS[-1])
    first = datetime.fromtimestamp(axis[0] // SECOND, UTC)
    for month in range(first.year * 12, 9_999 * 12, months):
        date = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
        time = int(date.timestamp()) * SECOND
        if time > axis[1]:
            return
        if time >= axis[0]:
            yield time, f"{date:%Y}" if months >= 12 else f"{date:%Y-%m}"


def _x(time: int, axis: Span) -> float:
    return _LEFT + (time - axis[0]) / (axis[1] - axis[0]) * (_WIDTH - _LEFT - _RIGHT)


def _told(span: Span) -> str:
    return f"{iso(span[0])[:19]}Z to {iso(span[1])[:19]}Z"


def _reasons(lane: Lane) -> str:
    return escape(", ".join(f"{count:,} {reason}" for reason, count in lane.refused.items()))
