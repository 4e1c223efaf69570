"""The live view of a training: a row a stage with its loss, rates, memory and time left.

Shows the training of this process, or follows one that runs elsewhere from the files in its folder. It must never write
into that folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from cryptoai.cli.console import err

if TYPE_CHECKING:
    from cryptoai.training.record import Progress
    from cryptoai.training.trainer import Report

__all__ = ["Watch", "follow", "metrics_root", "running", "table", "watching"]

Rows = Mapping[str, Mapping[str, float]]

_POLL_S = 0.5


def metrics_root(checkpoints: str) -> Path:
    """The folder with one folder a training, below training.checkpoints."""
    return Path(checkpoints) / "metrics"


def running(root: Path) -> Path | None:
    """The folder of a training that runs now, the newest if there are several."""
    from cryptoai.training.record import is_running

    folders = sorted(root.glob("*/lock"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return next((path.parent for path in folders if is_running(path.parent)), None)


def follow(folder: Path, *, wait: Callable[[float], None] = time.sleep) -> None:
    """Shows the training of `folder` until its process ends; Ctrl-C ends the view, not the training."""
    from cryptoai.training.record import is_running, newest_rows

    err.print(f"following {folder}; Ctrl-C leaves it running")
    with Live(table(newest_rows(folder)), console=err, refresh_per_second=4) as view:
        while is_running(folder):
            wait(_POLL_S)
            view.update(table(newest_rows(folder)))


@dataclass(slots=True)
class Watch:
    """Takes what the Trainer tells and keeps the view up to date."""

    view: Live
    rows: dict[str, dict[str, float]] = field(default_factory=dict)

    def progress(self, now: Progress) -> None:
        fixed = {
            "step": now.step, "steps": now.steps, "timesteps_per_s": now.timesteps_per_s, "eta_s": now.eta_s,
            "sequences_per_s": now.sequences_per_s, "memory_bytes": now.memory_bytes,
        }  # fmt: skip
        self.rows[now.stage] = fixed | now.metrics | ({} if now.mfu is None else {"mfu": now.mfu})
        self.view.update(table(self.rows))

    def report(self, done: Report) -> None:
        """The view has shown it."""


@contextmanager
def watching() -> Iterator[Watch]:
    """A live view on stderr; where that is no terminal, the last state when the block ends."""
    with Live(table({}), console=err, refresh_per_second=4) as view:
        yield Watch(view)


def table(rows: Rows) -> Table:
    """What is known of each stage; a dash where something was not measured. It fits into 80 columns."""
    made = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for name in ("stage", "progress", "step", "loss", "timesteps/s", "MFU", "memory", "left"):
        made.add_column(name, justify="left" if name in ("stage", "progress") else "right", no_wrap=True)
    for stage, row in rows.items():
        mark = "[green]✓[/] " if row["step"] >= row["steps"] else "[cyan]▸[/] "
        bar = ProgressBar(total=max(row["steps"], 1), completed=row["step"], width=8)
        made.add_row(mark + stage.replace("_", " "), bar, *_cells(row))
    skipped = {stage: int(row["skipped"]) for stage, row in rows.items() if row.get("skipped")}
    if skipped:
        made.caption = ", ".join(f"[red]{count} steps left out in {stage}[/]" for stage, count in skipped.items())
    if not rows:
        made.add_row("[dim]preparing[/]")
    return made


def _cells(row: Mapping[str, float]) -> tuple[str, ...]:
    return (
        f"{row['step']:.0f}/{row['steps']:.0f}",
        f"{row['loss']:.3f}" if "loss" in row else "-",
        f"{row['timesteps_per_s']:,.0f}",
        f"{row['mfu']:.0%}" if "mfu" in row else "-",
        f"{row.get('memory_bytes', 0.0) / 2**30:.1f} GiB",
        _time_left(row["eta_s"]),
    )


def _time_left(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
