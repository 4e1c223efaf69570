"""`cryptoai backtest --grid`, `--capacity` and `--walk-forward`: the same replay many times, on every core.

Each worker loads tapes and model once and replays for as many tasks as it gets. What a task found is on disk before the
next one is waited for; the same command started again goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from cryptoai.backtesting.capacity import SizePoint, capacity_curve, sizes
from cryptoai.backtesting.evaluate import signed
from cryptoai.backtesting.executor import Executor, Job, Task, Work
from cryptoai.backtesting.grid import Results, Selection, figures, run_trials, select, trials
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.run import BacktestResult, Replay, run_backtest
from cryptoai.backtesting.walk import FoldRow, Walk, in_sample, plan, walk_of
from cryptoai.backtesting.windows import Split, Window
from cryptoai.cli.console import err, out, progress
from cryptoai.cli.models import bundle_path, open_model
from cryptoai.cli.tapes import fingerprint, load_feeds, windows
from cryptoai.core.bundle import canonical_json, verify_bundle
from cryptoai.core.config import Config, build, keys, merge, nest
from cryptoai.core.errors import ConfigError, CryptoAIError
from cryptoai.core.ids import content_hash
from cryptoai.execution.ports import Model

__all__ = ["Asked", "multiples", "parse_axes", "run_capacity", "run_grid", "run_walk_forward", "settled"]

VARIED = ("risk.", "execution.", "backtest.")
"""Sections that a grid may vary: the rest would change the tapes or the model, and trials would not be comparable."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What all runs of a study share; `model` as on the command line."""

    config: Config
    assets: tuple[str, ...]
    model: str | None
    folder: Path
    open_model: Callable[[str | None, Config], tuple[Model, str]] = open_model

    def identity(self, feeds: Sequence[Feed], *, retrain: bool = False) -> dict[str, Any]:
        """All that a result depends on beside its own settings; with `retrain` no given model is among it."""
        config = {name: part for name, part in self.config.model_dump(mode="json").items() if name in _GOVERNING}
        return {
            "assets": list(self.assets),
            "config": content_hash(canonical_json(config), 16),
            "model": "trained for each fold" if retrain else self._model(),
            "tapes": fingerprint(feeds),
        }

    def _model(self) -> str:
        """The revision that answers: of the bundle, or of a server at this moment."""
        remote = self.model is not None and self.model.startswith(("http://", "https://"))
        if remote or self.open_model is not open_model:
            return self.open_model(self.model, self.config)[1]
        return verify_bundle(bundle_path(self.model, self.config)).revision


_GOVERNING = {"data", "model", "risk", "execution", "backtest", "training"}


def parse_axes(items: Sequence[str]) -> dict[str, list[Any]]:
    """['risk.max_leverage=1,2'] -> {'risk.max_leverage': [1, 2]}; ConfigError names what is wrong."""
    axes: dict[str, list[Any]] = {}
    for item in items:
        key, equals, values = item.partition("=")
        key = key.strip()
        if not equals or not values.strip():
            raise ConfigError(
                f"--grid {item}: write it as section.key=value,value, e.g. --grid risk.max_leverage=1,2,3"
            )
        if key not in set(keys()) or not key.startswith(VARIED):
            allowed = ", ".join(f"{name}*" for name in VARIED)
            raise ConfigError(f"--grid {key}: only keys of {allowed} can be varied; data and model must stay the same")
        if key in axes:
            raise ConfigError(f"--grid {key} is given twice; list all its values in one")
        axes[key] = [yaml.safe_load(value) for value in values.split(",")]
    return axes


def multiples(text: str) -> tuple[float, ...]:
    """'1,4,16' -> (1.0, 4.0, 16.0); ConfigError if they are not numbers."""
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise ConfigError(f"--capacity {text}: write numbers with commas, e.g. --capacity 1,4,16") from None


def settled(config: Config, settings: Mapping[str, Any]) -> Config:
    """The configuration with dotted `settings` laid on it; ConfigError if they are not valid."""
    return build(merge(config.model_dump(), nest(settings)), source="--grid")


@dataclass(frozen=True, slots=True)
class GridJob:
    """One trial: the unseen window under the trial's settings."""

    asked: Asked

    def open(self) -> Work:
        """Tapes and model, loaded once."""
        config = self.asked.config
        with _alone():
            feeds = load_feeds(config, self.asked.assets)
            model, revision = self.asked.open_model(self.asked.model, config)
        window = windows(config, feeds).test

        def work(settings: Mapping[str, Any]) -> dict[str, Any]:
            return figures(_replayed(settled(config, settings), feeds, window, model, revision))

        return work


@dataclass(frozen=True, slots=True)
class FoldJob:
    """One fold: a model of its own if `retrain`, else the one given; in sample and out of sample."""

    asked: Asked
    retrain: bool

    def open(self) -> Work:
        """The tapes, loaded once."""
        asked = self.asked
        with _alone():
            feeds = load_feeds(asked.config, asked.assets)

        def work(body: Mapping[str, Any]) -> dict[str, Any]:
            split = Split(Window(*body["train"]), Window(*body["test"]), body["label_ns"], body["embargo_ns"])
            with _alone():
                spec = _trained(asked, feeds, split, body["number"]) if self.retrain else asked.model
                model, revision = asked.open_model(spec, asked.config)
            inside = _replayed(asked.config, feeds, in_sample(split), model, revision)
            outside = _replayed(asked.config, feeds, split.test, model, revision)
            return {"inside": figures(inside), "outside": figures(outside), "revision": revision}

        return work


def run_grid(
    asked: Asked, feeds: Sequence[Feed], items: Sequence[str], executor: Executor, *, elsewhere: int = 0
) -> Selection:
    """Runs every combination that grid.jsonl does not hold yet, prints the best and what choosing it is worth."""
    tasks = trials(parse_axes(items), asked.identity(feeds))
    for task in tasks:
        settled(asked.config, task.body)
    rows = _run(executor, GridJob(asked), tasks, asked.folder / "grid.jsonl", "trials")
    chosen = select(rows, elsewhere=elsewhere)
    out.print(_grid_table(chosen))
    return chosen


def run_capacity(
    asked: Asked, feeds: Sequence[Feed], multiples: Sequence[float], executor: Executor
) -> tuple[SizePoint, ...]:
    """The curve of net return by size; capacity.jsonl keeps it."""
    if not multiples or min(multiples) <= 0:
        raise ConfigError("--capacity takes multiples of the money above zero, e.g. --capacity 1,4,16")
    money = asked.config.execution.initial_cash
    tasks = trials(sizes(money, multiples), asked.identity(feeds))
    rows = _run(executor, GridJob(asked), tasks, asked.folder / "capacity.jsonl", "sizes")
    points = capacity_curve(rows, money)
    table = Table("size", "net return", "profit", title="capacity")
    for point in points:
        table.add_row(f"x{point.multiple:g}", signed(point.net_return, ".3%"), signed(point.profit, ",.2f"))
    out.print(table)
    return points


def run_walk_forward(
    asked: Asked, feeds: Sequence[Feed], folds: int, executor: Executor, *, retrain: bool = False
) -> Walk:
    """`folds` successive tests, printed as a table of in sample and out of sample; walk.jsonl keeps them."""
    whole = windows(asked.config, feeds)
    splits = plan(Window(whole.train.start, whole.test.stop), asked.config, folds)
    identity = canonical_json(asked.identity(feeds, retrain=retrain))
    bodies = [_fold_body(number, split) for number, split in enumerate(splits)]
    tasks = [Task(content_hash(identity + canonical_json(body), 24), body) for body in bodies]
    found = _run(executor, FoldJob(asked, retrain), tasks, asked.folder / "walk.jsonl", "folds")
    failed = [row["error"] for row in found if row["error"]]
    if failed:
        raise CryptoAIError(f"{len(failed)} of {folds} folds failed: {failed[0]}")
    rows = [
        FoldRow(number, split, row["inside"], row["outside"], row["revision"])
        for number, (split, row) in enumerate(zip(splits, found, strict=True))
    ]
    walk = walk_of(rows, retrained=retrain)
    out.print(_walk_table(walk))
    return walk


def _run(executor: Executor, job: Job, tasks: Sequence[Task], path: Path, what: str) -> list[dict[str, Any]]:
    """The row of every task, in their order; those that the file holds are not run again."""
    results = Results(path)
    known = sum(not results.rows.get(task.key, {"error": "new"})["error"] for task in tasks)
    with progress(f"{len(tasks)} {what}, {known} known" if known else f"{len(tasks)} {what}") as advance:
        for done, row in enumerate(run_trials(executor, job, tasks, results), known + 1):
            advance(done, len(tasks), row["error"][:60])
    return [results.rows[task.key] for task in tasks]


def _replayed(config: Config, feeds: Sequence[Feed], window: Window, model: Model, revision: str) -> BacktestResult:
    return run_backtest(Replay(config, tuple(feeds), window, model, revision))


def _fold_body(number: int, split: Split) -> dict[str, Any]:
    return {
        "number": number,
        "train": [split.train.start, split.train.stop],
        "test": [split.test.start, split.test.stop],
        "label_ns": split.label_ns,
        "embargo_ns": split.embargo_ns,
    }


def _trained(asked: Asked, feeds: Sequence[Feed], split: Split, number: int) -> str:
    """The folder of a bundle trained on the fold's training window and nothing later."""
    from cryptoai.cli.train import train_on

    place = asked.folder / "folds" / str(number)
    own = {"training.checkpoints": str(place / "checkpoints"), "features.data": str(place / "features")}
    return str(train_on(settled(asked.config, own), feeds, split.train))


@contextmanager
def _alone() -> Iterator[None]:
    """One thread a worker, of which there is one on every core, and no word: the parent shows how far all are."""
    import torch

    torch.set_num_threads(1)
    spoke, err.quiet = err.quiet, True
    try:
        yield
    finally:
        err.quiet = spoke


def _grid_table(found: Selection) -> Table:
    names = list(found.best["settings"])
    luck = "undefined" if found.deflated_sharpe is None else f"{found.deflated_sharpe:.2f}"
    fit = "" if found.overfitting is None else f", probability of overfitting {found.overfitting.probability:.0%}"
    title = f"{found.trials} trials, {found.failed} failed; best: deflated Sharpe probability {luck}{fit}"
    table = Table(
        *(name.split(".", 1)[-1] for name in names), "net return", "Sharpe", "worst fall", "fills", title=title
    )
    for row in found.rows[:15]:
        table.add_row(
            *(str(row["settings"][name]) for name in names),
            signed(row["net_return"], ".3%"),
            signed(row["sharpe_slice"], ".3f"),
            f"{row['max_drawdown']:.3%}",
            str(row["fills"]),
        )
    return table


def _walk_table(walk: Walk) -> Table:
    kept = "" if walk.kept is None else f", {walk.kept:.0%} of the Sharpe ratio kept"
    title = f"walk-forward: {signed(walk.net_return, '.3%')} out of sample{kept}"
    table = Table("fold", "in sample", "out of sample", "worst fall", "fills", title=title)
    for fold in walk.folds:
        table.add_row(
            str(fold.number + 1),
            signed(fold.inside["net_return"], ".3%"),
            signed(fold.outside["net_return"], ".3%"),
            f"{fold.outside['max_drawdown']:.3%}",
            str(fold.outside["fills"]),
        )
    return table
