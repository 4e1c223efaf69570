"""A causal graph as one SVG file: nodes on an ellipse, arrows from cause to effect with their lags, a key below.

`cryptoai causal` writes it; its colours are those of the reports. Pure text, no script and no library. It must never
show a doubtful link like a certain one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from html import escape

from cryptoai.world_model.causal_graph import CausalGraph, Edge, Pair
from cryptoai.world_model.exogeneity import DOUBTFUL

__all__ = ["draw"]

Point = tuple[float, float]

WIDTH, KEY = 960, 96
_PILL, _LETTER, _MARGIN = 44, 8.2, 34
_STYLE = """
svg{--bg:#fff;--ink:#16202c;--soft:#5b6878;--rule:#c9d1da;--up:#1f6feb;--down:#c77700;--node:#f1f4f8;
background:var(--bg);font-family:system-ui,"DejaVu Sans",sans-serif}
@media(prefers-color-scheme:dark){svg{--bg:#171e27;--ink:#e6ebf1;--soft:#97a3b3;--rule:#3a4656;--up:#6aa8ff;
--down:#f0a63a;--node:#222c38}}
text{fill:var(--ink);font-size:14px}.small{font-size:12px;fill:var(--soft)}
.lag{font-size:12.5px;font-weight:600;paint-order:stroke;stroke:var(--bg);stroke-width:4px}
.node{fill:var(--node);stroke:var(--rule)}.edge{fill:none}.up{stroke:var(--up)}.down{stroke:var(--down)}
.fup{fill:var(--up)}.fdown{fill:var(--down)}.doubtful{stroke-dasharray:5 5;opacity:.75}
.pair{stroke:var(--soft);stroke-width:2.4;stroke-dasharray:.1 6;stroke-linecap:round;fill:none}
"""


def draw(graph: CausalGraph, title: str = "Causal graph") -> str:
    """The whole <svg>, with its own style.

    An arrow stands for all lags of a pair; its width is the strength of the strongest.
    """
    height = max(420, min(900, 90 + 62 * len(graph.nodes)))
    places = _places(graph.nodes, height)
    arrows = defaultdict(list)
    for edge in graph.cross():
        arrows[edge.source, edge.target].append(edge)
    parts = [_pair(pair, places) for pair in graph.pairs]
    drawn = [_arrow(edges, places, (WIDTH / 2, height / 2)) for edges in arrows.values()]
    parts += [line for line, _ in drawn]
    parts += [_node(name, places[name], graph.edges) for name in graph.nodes]
    parts += [label for _, label in drawn]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + KEY}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><style>{_STYLE}</style>'
    )
    return "\n".join([head, *parts, _key(graph, height, title), "</svg>"]) + "\n"


def _places(nodes: Sequence[str], height: int) -> dict[str, Point]:
    """Evenly on an ellipse, the first on top."""
    widest = max(_half_width(name) for name in nodes)
    across, down = WIDTH / 2 - widest - _MARGIN, height / 2 - _PILL / 2 - _MARGIN
    turns = [2 * math.pi * at / len(nodes) - math.pi / 2 for at in range(len(nodes))]
    return {
        name: (WIDTH / 2 + across * math.cos(turn), height / 2 + down * math.sin(turn))
        for name, turn in zip(nodes, turns, strict=True)
    }


def _half_width(name: str) -> float:
    return max(46.0, len(name) * _LETTER / 2 + 12)


def _node(name: str, at: Point, edges: Sequence[Edge]) -> str:
    half, lags = _half_width(name), sorted(e.lag for e in edges if e.source == e.target == name)
    own = f'<text class="small" x="{at[0]:.1f}" y="{at[1] + 15:.1f}" text-anchor="middle">own past {_lags(lags)}</text>'
    return (
        f'<rect class="node" x="{at[0] - half:.1f}" y="{at[1] - _PILL / 2:.1f}" width="{2 * half:.1f}" '
        f'height="{_PILL}" rx="{_PILL / 2}"/><text x="{at[0]:.1f}" y="{at[1] + (-2 if lags else 5):.1f}" '
        f'text-anchor="middle">{escape(name)}</text>{own if lags else ""}'
    )


def _lags(lags: Sequence[int]) -> str:
    return ", ".join(map(str, lags))


def _arrow(edges: Sequence[Edge], places: dict[str, Point], centre: Point) -> tuple[str, str]:
    """One arrow for all lags of a pair, bent towards the centre and to its left, and its label."""
    first = max(edges, key=lambda edge: abs(edge.strength))
    start, end = places[first.source], places[first.target]
    bend = _bend(start, end, centre)
    tail, tip = _leave(start, bend, first.source, 2), _leave(end, bend, first.target, 9)
    side = "up" if first.strength > 0 else "down"
    style = f"edge {side} {DOUBTFUL if all(edge.evidence == DOUBTFUL for edge in edges) else ''}".strip()
    line = (
        f'<path class="{style}" stroke-width="{1.2 + 9 * min(abs(first.strength), 0.6):.1f}" '
        f'd="M{_at(tail)} Q{_at(bend)} {_at(tip)}"/>{_head(bend, tip, side)}'
    )
    x, y = (0.2 * a + 0.5 * b + 0.3 * c for a, b, c in zip(tail, bend, tip, strict=True))
    lags = _lags(sorted(edge.lag for edge in edges))
    return line, f'<text class="lag" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{lags}</text>'


def _bend(start: Point, end: Point, centre: Point) -> Point:
    """Control point of the curve: two arrows between the same nodes must not lie on each other."""
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    along = (end[0] - start[0], end[1] - start[1])
    length = max(math.hypot(*along), 1.0)
    pull, aside = 0.22, min(0.14 * length, 46.0)
    return (
        x + pull * (centre[0] - x) - aside * along[1] / length,
        y + pull * (centre[1] - y) + aside * along[0] / length,
    )


def _leave(node: Point, towards: Point, name: str, gap: float) -> Point:
    """Where the line from the node's centre towards a point crosses its outline."""
    dx, dy = towards[0] - node[0], towards[1] - node[1]
    length = max(math.hypot(dx, dy), 1e-9)
    half = (_half_width(name), _PILL / 2)
    reach = min(half[0] * length / max(abs(dx), 1e-9), half[1] * length / max(abs(dy), 1e-9)) + gap
    return node[0] + dx / length * reach, node[1] + dy / length * reach


def _head(bend: Point, tip: Point, side: str) -> str:
    turn = math.atan2(tip[1] - bend[1], tip[0] - bend[0])
    points = [(tip[0] + 8 * math.cos(turn), tip[1] + 8 * math.sin(turn))]
    points += [
        (tip[0] + 6 * math.cos(turn + a), tip[1] + 6 * math.sin(turn + a))
        for a in (math.pi / 2 + 0.35, -math.pi / 2 - 0.35)
    ]
    return f'<polygon class="f{side}" points="{" ".join(map(_at, points))}"/>'


def _at(point: Point) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"


def _pair(pair: Pair, places: dict[str, Point]) -> str:
    return f'<path class="pair" d="M{_at(places[pair.first])} L{_at(places[pair.second])}"/>'


def _key(graph: CausalGraph, top: int, title: str) -> str:
    settings = graph.settings
    caption = (
        f"{title}: {settings.method}{' on ranks' if settings.ranks else ''}, {graph.rows:,} rows, lags to "
        f"{settings.max_lag}, false discovery rate {settings.level:g}, data {graph.fingerprint[:12]}"
    )
    entries = (
        ("edge up", "raises"), ("edge down", "lowers"), ("edge up doubtful", "doubtful: a hidden driver is possible"),
        ("pair", "together within a row, no direction"),
    )  # fmt: skip
    parts, x = [], 24.0
    for style, words in entries:
        line = f'<path class="{style}" stroke-width="3" d="M{x:.0f},{top + 26} h34"/>'
        parts.append(f'{line}<text class="small" x="{x + 42:.0f}" y="{top + 30}">{words}</text>')
        x += 72 + 7 * len(words)
    parts.append(
        f'<text class="small" x="24" y="{top + 56}">Numbers at arrows are lags in rows; width is strength.</text>'
    )
    parts.append(f'<text class="small" x="24" y="{top + 78}">{escape(caption)}</text>')
    return "".join(parts)
