"""`cryptoai backtest`: the unseen part of the tapes through the one kernel, with a bundle or a server as the model.

Writes a journal, a report and a summary into its folder; a journal that is there is moved aside, never overwritten.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptoai.backtesting.evaluate import Evaluation, evaluate, result_lines, result_summary
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.report import write_report
from cryptoai.backtesting.run import BacktestResult, Replay, run_backtest
from cryptoai.cli.console import out, progress
from cryptoai.cli.models import open_model
from cryptoai.cli.tapes import load_feeds, windows
from cryptoai.core.config import Config

__all__ = ["backtest", "json_text", "replay_unseen", "set_aside", "write_atomically", "write_results"]


def backtest(config: Config, assets: Sequence[str], model: str | None, folder: Path) -> int:
    """Runs, writes journal.jsonl, report.html and summary.json into `folder`, prints the result."""
    feeds = load_feeds(config, assets)
    evaluation = evaluate(replay_unseen(config, feeds, model, folder / "journal.jsonl"))
    write_results(evaluation, folder)
    for line in result_lines(evaluation):
        out.print(line)
    out.print(f"report {folder / 'report.html'}")
    return 0


def replay_unseen(config: Config, feeds: tuple[Feed, ...], model: str | None, journal: Path) -> BacktestResult:
    """Replays the test window as fast as it can."""
    opened, revision = open_model(model, config)
    window = windows(config, feeds).test
    set_aside(journal)
    with progress("backtest of the unseen part") as advance:
        return run_backtest(
            Replay(config, feeds, window, opened, revision, model_name=f"bundle {revision[:12]}"),
            journal_path=journal,
            on_step=lambda now, kernel: advance(
                now - window.start, window.stop - window.start, f"{kernel.fills} fills"
            ),
        )


def write_results(evaluation: Evaluation, folder: Path) -> None:
    """Writes report.html and summary.json."""
    write_report(folder / "report.html", evaluation)
    write_atomically(folder / "summary.json", json_text(result_summary(evaluation)))


def set_aside(path: Path) -> None:
    """Keeps an earlier journal as journal-1.jsonl, -2, ...: nothing that was written is lost."""
    if not path.exists():
        return
    number = 1
    while (kept := path.with_stem(f"{path.stem}-{number}")).exists():
        number += 1
    path.rename(kept)


def write_atomically(path: Path, text: str) -> None:
    """Readers see the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_text(text)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def json_text(value: dict[str, Any]) -> str:
    """JSON for people and diffs."""
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
