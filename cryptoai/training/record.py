"""What a training leaves for those who watch: a CSV file a stage, one row a step, and a lock while it runs.

    <folder>/encoders.csv   step, steps, seconds, sequences_per_s, timesteps_per_s, mfu, memory_bytes, eta_s, loss, ...
    <folder>/lock           held by the process that trains

Written by the Trainer on the leading rank, read by `cryptoai train --watch` and by any spreadsheet. It must never be a
part of the bundle: it holds the machine's clock.
"""

from __future__ import annotations

import csv
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from cryptoai.core.errors import ConfigError

__all__ = ["COLUMNS", "Progress", "Recorder", "is_running", "locked", "newest_rows"]

COLUMNS = ("step", "steps", "seconds", "sequences_per_s", "timesteps_per_s", "mfu", "memory_bytes", "eta_s")
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a stage is; throughput counts all ranks.

    mfu: share of the time that the step's operations would take at the speed of a matrix product, None where that was
    not measured. memory_bytes: the most in use so far, on the leading rank.
    """

    stage: str
    step: int
    steps: int
    sequences_per_s: float
    timesteps_per_s: float
    eta_s: float
    metrics: dict[str, float]
    seconds: float = 0.0
    mfu: float | None = None
    memory_bytes: int = 0


@dataclass(slots=True)
class Recorder:
    """Appends rows; the columns after COLUMNS are those of the first row of the stage."""

    folder: Path
    _open: dict[str, tuple[IO[str], list[str]]] = field(default_factory=dict, init=False)

    def write(self, now: Progress) -> None:
        if now.stage not in self._open:
            self._open[now.stage] = self._begin(now)
        file, columns = self._open[now.stage]
        row = {name: getattr(now, name) for name in COLUMNS} | now.metrics
        file.write(",".join("" if row.get(name) is None else f"{row[name]:.8g}" for name in columns) + "\n")
        file.flush()

    def close(self) -> None:
        for file, _ in self._open.values():
            file.close()
        self._open.clear()

    def _begin(self, now: Progress) -> tuple[IO[str], list[str]]:
        """Keeps the rows before this step, as a resumed training goes on behind them."""
        path = self.folder / f"{now.stage}.csv"
        self.folder.mkdir(parents=True, exist_ok=True)
        columns = [*COLUMNS, *now.metrics]
        kept = [] if not path.exists() else path.read_text(encoding="utf-8").splitlines()
        if kept and kept[0].split(",") == columns:
            kept = [line for line in kept[1:] if float(line.partition(",")[0]) < now.step]
        else:
            kept = []
        path.write_text("\n".join([",".join(columns), *kept]) + "\n", encoding="utf-8")
        return path.open("a", encoding="utf-8"), columns


def newest_rows(folder: Path) -> dict[str, dict[str, float]]:
    """The last row of each stage of one training, oldest stage first; a half-written one is passed over."""
    found = {}
    for path in sorted(folder.glob("*.csv"), key=lambda path: path.stat().st_mtime_ns):
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if None not in row and None not in row.values()]
        if rows:
            found[path.stem] = {name: float(value) for name, value in rows[-1].items() if value}
    return found


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the training of `folder`; ConfigError if another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"this training is running already; follow it with --watch ({folder}), or stop that process first"
            ) from None
        yield


def is_running(folder: Path) -> bool:
    """Whether a process holds the training of `folder`."""
    try:
        with (folder / _LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
