"""`cryptoai evaluate`: a bundle's own evidence, and how its forecasts did on the window that training never saw.

Reads only. What it prints is what a promotion gate may believe: coverage, calibration, skill
against the naive forecast.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.table import Table

from cryptoai.backtesting.evaluate import evaluate, result_lines
from cryptoai.backtesting.run import Replay, run_backtest
from cryptoai.cli.console import out, progress
from cryptoai.cli.models import bundle_path, open_model
from cryptoai.cli.tapes import load_feeds, windows
from cryptoai.core.bundle import verify_bundle
from cryptoai.core.config import Config

__all__ = ["run_evaluation"]


def run_evaluation(config: Config, assets: Sequence[str], model: str | None) -> int:
    """Prints the evidence file, then the result of the unseen window net of costs."""
    folder = bundle_path(model, config)
    manifest = verify_bundle(folder)
    out.print(_evidence(json.loads((folder / "evidence.json").read_text()), manifest.revision))
    feeds = load_feeds(config, assets)
    opened, revision = open_model(str(folder), config)
    with progress("replay of the unseen window"):
        result = run_backtest(Replay(config, feeds, windows(config, feeds).test, opened, revision))
    for line in result_lines(evaluate(result)):
        out.print(line)
    return 0


def _evidence(evidence: dict[str, object], revision: str) -> Table:
    table = Table("evidence", "value", title=f"bundle {revision[:12]}")
    for name, value in _leaves(evidence):
        table.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(value))
    return table


def _leaves(tree: dict[str, object], above: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in tree.items():
        path = f"{above}{name}"
        rows += _leaves(value, f"{path}.") if isinstance(value, dict) else [(path, value)]
    return rows
