"""The live view of a training: what it shows, and that it follows another process's files until that ends."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.console import Console

from cryptoai.cli.train_watch import follow, running, table
from cryptoai.training.record import Progress, Recorder, locked


def shown(rows: dict[str, dict[str, float]]) -> str:
    console = Console(width=80, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(table(rows))
    return captured.get()


def test_a_row_a_stage_in_eighty_columns() -> None:
    """Step, loss, rate, share of the peak, memory and time left; nothing is cut off, a dash where it is unknown."""
    row = {
        "step": 120, "steps": 9600, "loss": 12.3456, "timesteps_per_s": 28680.0, "memory_bytes": 2**30, "eta_s": 3725,
    }  # fmt: skip
    text = shown({"world_model": row | {"mfu": 0.73}, "policy": row | {"skipped": 2}})
    for part in ("world model", "120/9600", "12.346", "28,680", "73%", "1.0 GiB", "1:02:05"):
        assert part in text
    assert "…" not in text
    assert "2 steps left out in policy" in text


def test_before_the_first_step_it_says_so() -> None:
    """Features are still read: no empty table."""
    assert "preparing" in shown({})


def test_it_finds_the_training_that_runs_and_follows_it_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one whose process lives is found; when the process ends the view ends, with the last state on the screen."""
    for name in ("old", "new"):
        recorder = Recorder(tmp_path / name)
        recorder.write(Progress(f"stage_{name}", 3, 10, 1.0, 2.0, 3.0, {"loss": 0.5}))
        recorder.close()
    with locked(tmp_path / "old"):
        pass
    assert running(tmp_path) is None
    with ExitStack() as process:
        process.enter_context(locked(tmp_path / "new"))
        assert running(tmp_path) == tmp_path / "new"
        follow(tmp_path / "new", wait=lambda _: process.close())
    assert "stage new" in capsys.readouterr().err
