"""What a training leaves for those who watch: whole rows, in order, and a lock that dies with its process."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cryptoai.core.errors import ConfigError
from cryptoai.training.record import COLUMNS, Progress, Recorder, is_running, locked, newest_rows


def at(step: int, stage: str = "encoders", **more: float) -> Progress:
    return Progress(stage, step, 10, 2.0, 64.0, 5.0, {"loss": 1.0 / step} | more, seconds=step * 0.5, memory_bytes=7)


def read(folder: Path, stage: str) -> list[dict[str, str]]:
    with (folder / f"{stage}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_step_is_a_row_that_a_spreadsheet_reads(tmp_path: Path) -> None:
    """Columns are the fixed ones and the stage's metrics; what was not measured is empty."""
    recorder = Recorder(tmp_path)
    for step in (1, 2):
        recorder.write(at(step))
    recorder.close()
    rows = read(tmp_path, "encoders")
    assert list(rows[0]) == [*COLUMNS, "loss"]
    assert [row["loss"] for row in rows] == ["1", "0.5"]
    assert rows[0]["mfu"] == ""


def test_a_resumed_training_goes_on_behind_its_checkpoint(tmp_path: Path) -> None:
    """Steps 3 and 4 were done after the last checkpoint and are done again: each step is there once."""
    for steps in ((1, 2, 3, 4), (3, 4, 5)):
        recorder = Recorder(tmp_path)
        for step in steps:
            recorder.write(at(step))
        recorder.close()
    assert [row["step"] for row in read(tmp_path, "encoders")] == ["1", "2", "3", "4", "5"]


def test_a_watcher_gets_the_newest_whole_row(tmp_path: Path) -> None:
    """A row that is being written is passed over; a stage without a row is not there."""
    recorder = Recorder(tmp_path)
    recorder.write(at(1))
    recorder.write(at(2, mfu_note=3.0))
    recorder.close()
    with (tmp_path / "encoders.csv").open("a") as file:
        file.write("3,10,1")
    assert newest_rows(tmp_path)["encoders"]["step"] == 2.0
    assert newest_rows(tmp_path / "none") == {}


def test_one_process_holds_a_training(tmp_path: Path) -> None:
    """A second one is refused in a sentence; outside the block nobody holds it."""
    assert not is_running(tmp_path / "never")
    with locked(tmp_path):
        assert is_running(tmp_path)
        with pytest.raises(ConfigError, match="running already"), locked(tmp_path):
            pass
    assert not is_running(tmp_path)
