"""A causal graph as one SVG file: nodes on an ellipse, arrows from cause to effect with their lags, a key below.

`cryptoai causal` writes it; its colours are those of the reports. Pure text, no script and no library. It must never
show a doubtful link like a certain one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Node:
    """Centre, half width, and the lags of its own past in words."""

    name: str
    at: Point
    half: float
    own: str


def draw(graph: CausalGraph, title: str = "Causal graph") -> str:
    """The whole <svg>, with its own style.

    An arrow stands for all lags of a pair; its width is the strength of the strongest. Links that stability selection
    found in fewer than half of its halves are counted below and not drawn.
    """
    height = max(420, min(900, 90 + 62 * len(graph.nodes)), 120 + 30 * len(graph.nodes))
    nodes = _nodes(graph, height)
    arrows = defaultdict(list)
    for edge in filter(_stable, graph.cross()):
        arrows[edge.source, edge.target].append(edge)
    drawn = [_arrow(edges, nodes, (WIDTH / 2, height / 2)) for edges in arrows.values()]
    parts = [_pair(pair, nodes) for pair in graph.pairs]
    parts += [line for line, _ in drawn]
    parts += [_pill(node) for node in nodes.values()]
    parts += [label for _, label in drawn]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + KEY}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><style>{_STYLE}</style>'
    )
    return "\n".join([head, *parts, _key(graph, height, title), "</svg>"]) + "\n"


def _stable(edge: Edge) -> bool:
    """Found again in half of the halves, or never asked."""
    return edge.frequency is None or edge.frequency >= 0.5


def _nodes(graph: CausalGraph, height: int) -> dict[str, _Node]:
    """On an ellipse with even steps downwards, so that no node lies on another; the first is on top."""
    own = {name: _own(graph.edges, name) for name in graph.nodes}
    half = {name: max(46.0, len(name) * _LETTER / 2 + 12, len(own[name]) * 3.3 + 14) for name in graph.nodes}
    across, down = WIDTH / 2 - max(half.values()) - _MARGIN, height / 2 - _PILL / 2 - _MARGIN
    made = {}
    for at, name in enumerate(graph.nodes):
        turn = at / len(graph.nodes)
        y = 4 * min(turn, 1 - turn) - 1
        x = math.copysign(math.sqrt(1 - y * y), 0.5 - turn)
        made[name] = _Node(name, (WIDTH / 2 + across * x, height / 2 + down * y), half[name], own[name])
    return made


def _own(edges: Sequence[Edge], name: str) -> str:
    lags = [edge.lag for edge in edges if edge.source == edge.target == name and _stable(edge)]
    return f"own past {_lags(lags)}" if lags else ""


def _pill(node: _Node) -> str:
    (x, y), half = node.at, node.half
    own = f'<text class="small" x="{x:.1f}" y="{y + 15:.1f}" text-anchor="middle">{node.own}</text>'
    return (
        f'<rect class="node" x="{x - half:.1f}" y="{y - _PILL / 2:.1f}" width="{2 * half:.1f}" height="{_PILL}" '
        f'rx="{_PILL / 2}"/><text x="{x:.1f}" y="{y + (-2 if node.own else 5):.1f}" text-anchor="middle">'
        f"{escape(node.name)}</text>{own if node.own else ''}"
    )


def _lags(lags: Sequence[int]) -> str:
    """1, 2, 3, 7 as 1-3, 7."""
    runs: list[list[int]] = []
    for lag in sorted(lags):
        if runs and runs[-1][-1] == lag - 1:
            runs[-1].append(lag)
        else:
            runs.append([lag])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _arrow(edges: Sequence[Edge], nodes: dict[str, _Node], centre: Point) -> tuple[str, str]:
    """One arrow for all lags of a pair, bent towards the centre and to its left, and its label; one doubt dashes it."""
    first = max(edges, key=lambda edge: abs(edge.strength))
    start, end = nodes[first.source], nodes[first.target]
    bend = _bend(start.at, end.at, centre)
    tail, tip = _leave(start, bend, 2), _leave(end, bend, 9)
    side = "up" if first.strength > 0 else "down"
    style = f"edge {side} {DOUBTFUL if any(edge.evidence == DOUBTFUL for edge in edges) else ''}".strip()
    line = (
        f'<path class="{style}" stroke-width="{1.2 + 9 * min(abs(first.strength), 0.6):.1f}" '
        f'd="M{_at(tail)} Q{_at(bend)} {_at(tip)}"/>{_head(bend, tip, side)}'
    )
    x, y = (0.2 * a + 0.5 * b + 0.3 * c for a, b, c in zip(tail, bend, tip, strict=True))
    lags = _lags([edge.lag for edge in edges])
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


def _leave(node: _Node, towards: Point, gap: float) -> Point:
    """Where the line from the node's centre towards a point crosses its outline."""
    dx, dy = towards[0] - node.at[0], towards[1] - node.at[1]
    length = max(math.hypot(dx, dy), 1e-9)
    reach = min(node.half * length / max(abs(dx), 1e-9), _PILL / 2 * length / max(abs(dy), 1e-9)) + gap
    return node.at[0] + dx / length * reach, node.at[1] + dy / length * reach


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


def _pair(pair: Pair, nodes: dict[str, _Node]) -> str:
    return f'<path class="pair" d="M{_at(nodes[pair.first].at)} L{_at(nodes[pair.second].at)}"/>'


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
    rare = sum(not _stable(edge) for edge in graph.cross())
    left_out = f" {rare} links that fewer than half of the halves show again are not drawn." if rare else ""
    note = f"Numbers at arrows are lags in rows; width is strength.{left_out}"
    parts.append(f'<text class="small" x="24" y="{top + 56}">{note}</text>')
    parts.append(f'<text class="small" x="24" y="{top + 78}">{escape(caption)}</text>')
    return "".join(parts)
