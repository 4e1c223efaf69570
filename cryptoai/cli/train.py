"""`cryptoai train`: the training window of the tapes into a verified bundle.

Several processes, and the synthetic market, are the business of scripts/run_training.py, which this module launches.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cryptoai.backtesting.baselines import mids
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.windows import Window
from cryptoai.cli.console import out, progress
from cryptoai.cli.history import joined_rows, sample_times
from cryptoai.cli.settings import project_root
from cryptoai.cli.tapes import fingerprint, load_feeds, windows
from cryptoai.core.config import Config

if TYPE_CHECKING:
    from cryptoai.training.dataset import Dataset

__all__ = ["git_sha", "launch_training", "run_training", "train_on", "training_rows"]


def run_training(config: Config, assets: Sequence[str]) -> int:
    """Trains in this process and prints where the bundle is."""
    out.print(f"bundle {train_on(config, load_feeds(config, assets))}")
    return 0


def launch_training(options: Sequence[str]) -> NoReturn:
    """Several processes, or the synthetic market: becomes scripts/run_training.py with `options`."""
    script = project_root() / "scripts" / "run_training.py"
    os.execv(sys.executable, [sys.executable, str(script), *options])  # noqa: S606 - this process becomes the launcher


def train_on(config: Config, feeds: Sequence[Feed], window: Window | None = None) -> Path:
    """The bundle's folder; training sees the rows of `window`, by default the train window, and nothing later."""
    import torch

    from cryptoai.training.recipe import Origin, train_bundle

    torch.set_num_threads(config.training.threads or os.cpu_count() or 1)
    with progress("rows of the training window"):
        datasets = [training_rows(config, feed, feeds, window) for feed in feeds]
    origin = Origin(git_sha=git_sha(), data_fingerprint=fingerprint(feeds))
    with progress("training") as advance:
        return train_bundle(
            datasets,
            config,
            Path(config.training.checkpoints),
            origin=origin,
            on_progress=lambda p: advance(
                p.step, p.steps, f"{p.stage}  {p.timesteps_per_s:,.0f} samples/s  {p.eta_s:.0f} s left"
            ),
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
