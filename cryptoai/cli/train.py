"""`cryptoai train`: the training window of the tapes into a verified bundle, from nothing or from an older bundle.

Several processes, and the synthetic market, are the business of scripts/run_training.py, which this module launches.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

from cryptoai.backtesting.baselines import mids
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.windows import Window
from cryptoai.cli.console import Advance, out, progress
from cryptoai.cli.history import joined_rows, sample_times
from cryptoai.cli.settings import project_root
from cryptoai.cli.tapes import fingerprint, load_feeds, windows
from cryptoai.cli.train_watch import follow, metrics_root, running, watching
from cryptoai.core.config import Config
from cryptoai.core.ids import content_hash

if TYPE_CHECKING:
    from cryptoai.training.dataset import Dataset
    from cryptoai.training.recipe import Origin, Session
    from cryptoai.training.record import Progress
    from cryptoai.training.trainer import Report

__all__ = ["Told", "fit", "git_sha", "launch_training", "run_training", "train_on", "training_rows"]


def run_training(config: Config, assets: Sequence[str], *, champion: Path | None = None, watch: bool = False) -> int:
    """Trains in this process and prints where the bundle is; follows one that runs already if asked to `watch`."""
    found = running(metrics_root(config.training.checkpoints)) if watch else None
    if found is not None:
        follow(found)
        return 0
    import torch

    from cryptoai.training.recipe import Origin

    torch.set_num_threads(config.training.threads or os.cpu_count() or 1)
    feeds = load_feeds(config, assets)
    with progress("rows of the training window"):
        datasets = [training_rows(config, feed, feeds) for feed in feeds]
    origin = Origin(git_sha=git_sha(), data_fingerprint=fingerprint(feeds))
    with watching() if watch else _one_line() as told:
        lines = fit(datasets, config, origin, champion, told)
    for line in lines:
        out.print(line)
    return 0


def launch_training(options: Sequence[str]) -> NoReturn:
    """Several processes, or the synthetic market: becomes scripts/run_training.py with `options`."""
    script = project_root() / "scripts" / "run_training.py"
    os.execv(sys.executable, [sys.executable, str(script), *options])  # noqa: S606 - this process becomes the launcher


class Told(Protocol):
    """Somebody who is told how training goes."""

    def progress(self, now: Progress) -> None: ...

    def report(self, done: Report) -> None: ...


def fit(
    datasets: Sequence[Dataset], config: Config, origin: Origin, champion: Path | None, told: Told
) -> tuple[str, ...]:
    """Trains, or trains `champion` further, on every rank that calls; what to say about it, the bundle last."""
    from cryptoai.training.parallel import Ranks
    from cryptoai.training.recipe import Session, train_bundle
    from cryptoai.training.record import locked

    ranks, root = Ranks.current(), Path(config.training.checkpoints)
    metrics = metrics_root(config.training.checkpoints) / _name(datasets, config, champion)
    with locked(metrics) if ranks.leads else nullcontext():
        if champion is None:
            bundle = train_bundle(
                datasets, config, root,
                origin=origin, on_progress=told.progress, on_report=told.report, metrics=metrics,
            )  # fmt: skip
            return (f"bundle {bundle}",)
        session = Session(root, ranks, on_progress=told.progress, on_report=told.report, metrics=metrics)
        return _challenged(datasets, config, origin, champion, session)


def _challenged(
    datasets: Sequence[Dataset], config: Config, origin: Origin, folder: Path, session: Session
) -> tuple[str, ...]:
    from cryptoai.training.challenge import challenge
    from cryptoai.training.champion import Champion

    outcome = challenge(datasets, config, Champion.read(folder, config), session, origin=origin)
    judged = outcome.judged
    if not judged.promote:
        why = "; ".join(judged.reasons)
    elif outcome.promoted:
        why = "best_model.pt names the new bundle"
    else:
        why = "best_model.pt names a third bundle, which was not compared with, and stays"
    return (
        f"verdict: {judged.verdict} after {judged.decisions} decisions that neither was trained on ({why})",
        f"bundle {outcome.folder}",
    )


def _name(datasets: Sequence[Dataset], config: Config, champion: Path | None) -> str:
    """Of the folder of metrics: one for each data, configuration and parent."""
    parts = [data.fingerprint() for data in datasets]
    chosen = config.model_dump_json(include={"model", "training", "data", "execution"})
    return content_hash("|".join([*parts, chosen, str(champion and champion.resolve())]).encode(), 12)


@contextmanager
def _one_line() -> Iterator[Told]:
    with progress("training") as advance:
        yield _Line(advance)


@dataclass(frozen=True, slots=True)
class _Line:
    """The bar that every long step has."""

    advance: Advance

    def progress(self, now: Progress) -> None:
        note = f"{now.stage}  {now.timesteps_per_s:,.0f} samples/s  {now.eta_s:.0f} s left"
        self.advance(now.step, now.steps, note)

    def report(self, done: Report) -> None:
        """The bar has shown it."""


def train_on(config: Config, feeds: Sequence[Feed], window: Window | None = None) -> Path:
    """The bundle's folder; training sees the rows of `window`, by default the train window, and nothing later."""
    import torch

    from cryptoai.training.recipe import Origin, train_bundle

    torch.set_num_threads(config.training.threads or os.cpu_count() or 1)
    with progress("rows of the training window"):
        datasets = [training_rows(config, feed, feeds, window) for feed in feeds]
    origin = Origin(git_sha=git_sha(), data_fingerprint=fingerprint(feeds))
    with _one_line() as told:
        return train_bundle(
            datasets, config, Path(config.training.checkpoints), origin=origin, on_progress=told.progress
        )


def training_rows(config: Config, feed: Feed, feeds: Sequence[Feed], window: Window | None = None) -> Dataset:
    """The rows of one feed in `window`, by default the train window that all `feeds` share, from its stored history."""
    from cryptoai.training.dataset import Dataset

    window = window or windows(config, feeds).train
    times = sample_times(config, window.start, window.stop)
    rows = joined_rows(config, feed, times)
    return Dataset(rows.values, rows.mask, times, mids(feed, times))


def git_sha() -> str:
    """The commit of the checkout, or 'unknown'."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project_root(), capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
