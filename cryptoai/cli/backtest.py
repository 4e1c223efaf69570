"""`cryptoai backtest`: the unseen part of the tapes through the one kernel, with a bundle or a server as the model.

Writes a journal, a report and a summary into its folder; a journal that is there is moved aside, never overwritten.
Grids, walk-forward and capacity curves (`studies`) end in the same report.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptoai.backtesting.evaluate import Evaluation, evaluate, result_lines, result_summary
from cryptoai.backtesting.executor import Executor, ProcessExecutor
from cryptoai.backtesting.grid import SLICES, Selection
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.report import write_report
from cryptoai.backtesting.run import BacktestResult, Replay, run_backtest
from cryptoai.backtesting.study import Study, study_summary
from cryptoai.cli.console import out, progress
from cryptoai.cli.lookahead import run_check
from cryptoai.cli.models import open_model
from cryptoai.cli.studies import Asked, run_capacity, run_grid, run_walk_forward, settled
from cryptoai.cli.tapes import load_feeds, windows
from cryptoai.core.config import Config
from cryptoai.core.errors import ConfigError

__all__ = [
    "Extras",
    "backtest",
    "json_text",
    "replay_unseen",
    "run_studies",
    "set_aside",
    "write_atomically",
    "write_results",
]


@dataclass(frozen=True, slots=True)
class Extras:
    """What is asked for beside one replay; `trials` counts the strategies that were tried elsewhere before."""

    grid: tuple[str, ...] = ()
    walk_forward: int = 0
    retrain: bool = False
    capacity: tuple[float, ...] = ()
    trials: int = 0
    check_lookahead: bool = False
    plant_leak: bool = False
    cuts: int = 5
    workers: int = 0
    spark: str = ""

    def __post_init__(self) -> None:
        if self.retrain and not self.walk_forward:
            raise ConfigError("--retrain goes with --walk-forward: it trains a model for each fold")
        if min(self.walk_forward, self.trials, self.workers) < 0 or self.cuts < 1:
            raise ConfigError("--walk-forward, --trials and --workers are counts from 0, --cuts from 1")


def backtest(
    config: Config, assets: Sequence[str], model: str | None, folder: Path, extras: Extras | None = None
) -> int:
    """Runs, writes journal.jsonl, report.html and summary.json into `folder`, prints the result."""
    wanted = extras or Extras()
    if wanted.check_lookahead or wanted.plant_leak:
        return run_check(config, assets, model, cuts=wanted.cuts, plant=wanted.plant_leak)
    feeds = load_feeds(config, assets)
    if wanted.walk_forward or wanted.grid or wanted.capacity:
        open_model(model, config)  # what cannot be opened must not be found out after hours
    asked = Asked(config, tuple(assets), model, folder)
    study = run_studies(asked, feeds, wanted, _executor(wanted))
    if study.selection is not None:
        config = settled(config, study.selection.best["settings"])
    result = replay_unseen(config, feeds, model, folder / "journal.jsonl")
    evaluation = _judged(result, study.selection, wanted)
    write_results(evaluation, folder, study)
    for line in result_lines(evaluation):
        out.print(line)
    out.print(f"report {folder / 'report.html'}")
    return 0


def _executor(wanted: Extras) -> Executor:
    """The cores of this machine, or the Spark cluster that was named; its workers run this Python."""
    if not wanted.spark:
        return ProcessExecutor(wanted.workers)
    from cryptoai.backtesting.adapters.spark_executor import SparkExecutor

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return SparkExecutor(wanted.spark, wanted.workers)


def _judged(result: BacktestResult, chosen: Selection | None, wanted: Extras) -> Evaluation:
    """By all trials: the variance of their ratios of a slice is brought to one decision interval."""
    if chosen is None:
        return evaluate(result, trials=wanted.trials + 1)
    return evaluate(result, trials=chosen.trials, variance=chosen.variance * SLICES / (len(result.ledger.times) - 1))


def run_studies(asked: Asked, feeds: Sequence[Feed], wanted: Extras, executor: Executor) -> Study:
    """What was asked for beside the one replay."""
    grid = run_grid(asked, feeds, wanted.grid, executor, elsewhere=wanted.trials) if wanted.grid else None
    folds = wanted.walk_forward
    walk = run_walk_forward(asked, feeds, folds, executor, retrain=wanted.retrain) if folds else None
    points = run_capacity(asked, feeds, wanted.capacity, executor) if wanted.capacity else ()
    return Study(grid, walk, points)


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


def write_results(evaluation: Evaluation, folder: Path, study: Study | None = None) -> None:
    """Writes report.html and summary.json."""
    write_report(folder / "report.html", evaluation, study)
    summary = result_summary(evaluation) | study_summary(study or Study())
    write_atomically(folder / "summary.json", json_text(summary))


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
