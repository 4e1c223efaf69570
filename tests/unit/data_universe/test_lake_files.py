"""Files of the lake: whole or not there, also for a writer that was killed."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import IO

import pytest

from cryptoai.core.errors import DataError
from cryptoai.data_universe import lake_files
from cryptoai.data_universe.lake_files import partition, refusals, sweep, write_whole


def test_a_killed_writer_leaves_nothing_that_lasts(tmp_path: Path) -> None:
    """Its hidden file stays where SIGKILL left it, is no Parquet file to anybody, and the next writer removes it."""
    script = f"""
        import os, signal
        from pathlib import Path
        from cryptoai.data_universe.lake_files import write_whole
        def half(raw):
            raw.write(b"half")
            raw.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        write_whole(Path({str(tmp_path)!r}) / "a.parquet", half)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
    assert list(tmp_path.glob("*.parquet")) == []
    write_whole(tmp_path / "b.parquet", lambda raw: raw.write(b"whole") and None)
    assert [path.name for path in tmp_path.iterdir()] == ["b.parquet"]


def test_a_living_writer_keeps_its_file(tmp_path: Path) -> None:
    """A sweep in the middle of a write takes nothing away from it."""

    def write(raw: IO[bytes]) -> None:
        assert sweep(tmp_path) == 0
        raw.write(b"whole")

    write_whole(tmp_path / "a.parquet", write)
    assert (tmp_path / "a.parquet").read_bytes() == b"whole"


def test_a_sweep_before_the_lock_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between making and locking a file a sweep may take it; the writer makes another."""
    swept: list[int] = []

    def lock(raw: IO[bytes], how: int) -> None:
        if not swept:
            swept.append(1)
            for path in tmp_path.glob(".*.tmp"):
                path.unlink()
        real(raw, how)

    real = fcntl.flock
    monkeypatch.setattr(lake_files.fcntl, "flock", lock)
    write_whole(tmp_path / "a.parquet", lambda raw: raw.write(b"whole") and None)
    assert swept
    assert (tmp_path / "a.parquet").read_bytes() == b"whole"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """And nothing beside it."""
    path = tmp_path / "a.parquet"
    path.write_bytes(b"old")

    def broken(_raw: IO[bytes]) -> None:
        raise OSError(28, os.strerror(28))

    with pytest.raises(DataError, match="No space left"), refusals(tmp_path):
        write_whole(path, broken)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"a.parquet": b"old"}


def test_a_partition_needs_an_id(tmp_path: Path) -> None:
    """A path cannot be smuggled into an id."""
    assert partition(tmp_path, "mark", "chain:BTC") == tmp_path / "kind=mark" / "venue=chain" / "symbol=BTC"
    with pytest.raises(DataError, match="not venue:SYMBOL"):
        partition(tmp_path, "mark", "a:../B")
