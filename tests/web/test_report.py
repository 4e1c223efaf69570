"""The backtest report in a real browser: readable on a phone and a desk, in light and dark, and quiet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cryptoai.backtesting.capacity import SizePoint
from cryptoai.backtesting.evaluate import evaluate
from cryptoai.backtesting.grid import figures, select
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.report import write_report
from cryptoai.backtesting.run import Replay, run_backtest
from cryptoai.backtesting.study import Study
from cryptoai.backtesting.walk import FoldRow, plan, walk_of
from cryptoai.backtesting.windows import Window
from cryptoai.core.clock import SECOND
from cryptoai.core.config import build
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.testing.jobs import REVISION, Follower
from cryptoai.testing.slices import head

pytestmark = [pytest.mark.web, pytest.mark.timeout(120)]

NAME = "binance_usdm:BTCUSDT"
Visits = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every part, on half a minute of the shipped tape."""
    events = head(NAME, 16_000)
    start = int(events.known_at[0]) + 10 * SECOND
    config = build({"execution": {"mode": "backtest", "decision_interval_ms": 500, "order_ttl_ms": 400}})
    window = Window(start, start + 30 * SECOND)
    result = run_backtest(Replay(config, (Feed(instrument(NAME), events),), window, Follower(), REVISION))
    row = {"key": "a", "settings": {"risk.max_leverage": 2, "execution.order_type": "limit"}, "error": ""}
    side = figures(result)
    folds = [FoldRow(n, split, side, side, REVISION) for n, split in enumerate(plan(window, config, 2))]
    study = Study(
        select([row | side, row | side | {"key": "b"}]),
        walk_of(folds, retrained=True),
        tuple(SizePoint(m, m * 1e5, 0.01 / m, 1e3, 1.0, {"depth_share": 3}) for m in (1.0, 4.0, 16.0)),
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, evaluate(result, trials=2), study)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_fits_the_screen_and_complains_of_nothing(
    report: Path, visit: Visits, width: int, scheme: str
) -> None:
    """No sideways scrolling, no chart or card past the edge, no word of a chart outside its picture."""
    with visit(report.as_uri(), width=width, scheme=scheme) as seen:
        page = seen.page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for selector in (".card", "svg"):
            edges = page.eval_on_selector_all(selector, "all => all.map(e => e.getBoundingClientRect().right)")
            assert edges
            assert max(edges) <= width
        outside = page.eval_on_selector_all(
            "svg text",
            """all => all.filter(t => {
                const a = t.getBoundingClientRect(), b = t.ownerSVGElement.getBoundingClientRect();
                return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
            }).map(t => t.textContent)""",
        )
        assert outside == []
        assert seen.complaints == []


def test_small_print_is_large_enough_and_contrasts_in_both_schemes(report: Path, visit: Visits) -> None:
    """Text of charts is at least 10 pixels on a phone; ink and paper change places in the dark."""
    papers = []
    for scheme in ("light", "dark"):
        with visit(report.as_uri(), width=390, scheme=scheme) as seen:
            heights = seen.page.eval_on_selector_all(
                "svg text", "all => all.map(t => t.getBoundingClientRect().height)"
            )
            assert min(heights) >= 10
            papers.append(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers[0] != papers[1]


def test_every_part_is_there(report: Path, visit: Visits) -> None:
    """The headings that a reader looks for."""
    with visit(report.as_uri()) as seen:
        headings = " | ".join(seen.page.eval_on_selector_all("h2", "all => all.map(h => h.textContent)"))
    for part in (
        "Net return",
        "Price and fills",
        "gross to net",
        "rolling",
        "Calibration",
        "Trials",
        "Walk-forward",
        "Capacity",
        "assume",
    ):
        assert part in headings
