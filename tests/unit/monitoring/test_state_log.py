"""The state log: what is written is read, torn rows go, the file is bounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryptoai.core.errors import DataError
from cryptoai.core.state import StateVector
from cryptoai.monitoring.state_log import StateLog, States, read_states


def state(i: int) -> StateVector:
    return StateVector.of("a:B", (i, i), "schema", [float(i), 2.0, 3.0], [True, i % 2 == 0, True])


def write(path: Path, *numbers: int, **options: int) -> None:
    with StateLog(path, "schema", 3, **options) as log:
        for i in numbers:
            log.append(state(i))


def read(path: Path, **options: int) -> States:
    found = read_states(path, **options)
    assert found is not None
    return found


def test_states_are_read_as_written(tmp_path: Path) -> None:
    """Values, masks and times; first and newest rows."""
    path = tmp_path / "s"
    write(path, *range(5))
    found = read(path)
    assert found.schema_hash == "schema"
    assert found.times.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(found.values[:, 0], np.arange(5))
    assert found.mask[:, 1].tolist() == [True, False, True, False, True]
    assert read(path, first=2).times.tolist() == [0, 1]
    assert read(path, newest=2).times.tolist() == [3, 4]
    assert len(read(path, first=99)) == 5


def test_a_writer_goes_on_after_a_torn_row(tmp_path: Path) -> None:
    """What kill -9 left is ignored by readers and cut by the next writer."""
    path = tmp_path / "s"
    write(path, 1, 2)
    path.write_bytes(path.read_bytes()[:-4])
    assert read(path).times.tolist() == [1]
    write(path, 3)
    assert read(path).times.tolist() == [1, 3]


def test_another_schema_starts_the_file_anew(tmp_path: Path) -> None:
    """Rows of two meanings never share a file."""
    path = tmp_path / "s"
    with StateLog(path, "older", 3) as log:
        log.append(state(1))
    write(path, 2)
    assert read(path).times.tolist() == [2]


def test_the_file_is_bounded(tmp_path: Path) -> None:
    """The newer half stays when it is full."""
    path = tmp_path / "s"
    write(path, *range(25), max_rows=10)
    found = read(path).times.tolist()
    assert len(found) <= 10
    assert found == list(range(found[0], 25))


def test_what_is_no_state_log_is_refused(tmp_path: Path) -> None:
    """Absent is None, foreign is an error, a wrong width is an error."""
    assert read_states(tmp_path / "none") is None
    (tmp_path / "x").write_bytes(b"hello" * 40)
    with pytest.raises(DataError, match="not a state log"):
        read_states(tmp_path / "x")
    with StateLog(tmp_path / "s", "schema", 4) as log, pytest.raises(DataError, match="bytes a state"):
        log.append(state(1))
