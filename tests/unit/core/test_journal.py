"""The journal survives what happens to it, and says so when it was tampered with."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptoai.core.errors import DataError, InvariantError
from cryptoai.core.journal import GENESIS, Journal, Record, decode, encode, read_journal


def write(path: Path, count: int, start: int = 0) -> list[Record]:
    with Journal(path, durable=False) as journal:
        return [
            journal.append("fill", 1_000 + i, {"n": i, "é": "0.5", "f": 1e-07}) for i in range(start, start + count)
        ]


def test_append_and_reopen(tmp_path: Path) -> None:
    """A second writer goes on where the first stopped, and the reader sees one chain."""
    path = tmp_path / "deep" / "journal.jsonl"
    records = write(path, 3) + write(path, 2, start=3)
    assert [record.seq for record in records] == list(range(5))
    assert list(read_journal(path)) == records
    assert [record.seq for record in read_journal(path, start=3)] == [3, 4]
    assert records[0].prev == GENESIS
    assert [record.prev for record in records[1:]] == [record.sum for record in records[:-1]]


def test_format_is_the_documented_one(tmp_path: Path) -> None:
    """Sorted keys, no spaces, one object a line, and equal input gives equal bytes."""
    write(tmp_path / "a", 2)
    write(tmp_path / "b", 2)
    raw = (tmp_path / "a").read_bytes()
    assert raw == (tmp_path / "b").read_bytes()
    line = raw.splitlines()[0]
    assert line.startswith(b'{"body":{"f":1e-07,"n":0,"\\u00e9":"0.5"},"kind":"fill","prev":"000')
    assert sorted(json.loads(line)) == ["body", "kind", "prev", "seq", "sum", "t"]


def test_every_torn_tail_is_cut(tmp_path: Path) -> None:
    """kill -9 after any byte of the last record: whole records stay, the next append continues the chain."""
    path = tmp_path / "journal"
    records = write(path, 3)
    raw = path.read_bytes()
    last = raw.rindex(b"\n", 0, -1) + 1
    for length in range(last, len(raw)):
        path.write_bytes(raw[:length])
        assert list(read_journal(path)) == records[:2]
        assert write(path, 1, start=2) == records[2:]
        assert path.read_bytes() == raw


def test_every_changed_bit_is_found(tmp_path: Path) -> None:
    """One flipped bit in any byte of any whole record names that record; the last newline alone means a torn tail."""
    path = tmp_path / "journal"
    records = write(path, 3)
    raw = bytearray(path.read_bytes())
    for position in range(len(raw) - 1):
        for bit in (0x01, 0x20):
            raw[position] ^= bit
            path.write_bytes(raw)
            number = raw.count(b"\n", 0, position)
            with pytest.raises(DataError, match=f"journal record {number} "):
                list(read_journal(path))
            raw[position] ^= bit
    raw[-1] ^= 0x01
    path.write_bytes(raw)
    assert list(read_journal(path)) == records[:2]


def test_writer_refuses_a_damaged_file(tmp_path: Path) -> None:
    """A damaged journal is neither cut nor continued, and the lock on it is released."""
    path = tmp_path / "journal"
    write(path, 3)
    damaged = path.read_bytes().replace(b'"n":1', b'"n":7')
    path.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(DataError, match="record 1 was changed"):
            Journal(path)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    ("order", "said"),
    [([0, 2], "record 1 does not follow"), ([1, 0, 2], "record 0 does not follow"), ([0, 0, 1], "record 1 does not")],
)
def test_missing_and_moved_lines_are_found(tmp_path: Path, order: list[int], said: str) -> None:
    """A dropped, swapped or doubled line breaks the chain where it is."""
    path = tmp_path / "journal"
    write(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[i] for i in order))
    with pytest.raises(DataError, match=said):
        list(read_journal(path))


@pytest.mark.parametrize(
    "line",
    [b"[]\n", b"1\n", b"{}\n", b"\xff\xfe\n", b'{"body":{"x":NaN},"kind":"k","prev":"p","seq":0,"sum":"s","t":0}\n'],
)
def test_nonsense_is_a_data_error(line: bytes) -> None:
    """Whatever a line holds, the answer is DataError."""
    with pytest.raises(DataError, match="journal record 0 is not readable"):
        decode(line, 0, GENESIS)


def test_an_added_key_is_found() -> None:
    """The checksum does not cover a key that is not of the format, so the form of the line is checked too."""
    _, line = encode(0, 1, "kill", {}, GENESIS)
    with pytest.raises(DataError, match="was changed"):
        decode(line.replace(b'"kind"', b'"extra":1,"kind"'), 0, GENESIS)
    with pytest.raises(DataError, match="was changed"):
        decode(line.replace(b":", b": ", 1), 0, GENESIS)


@pytest.mark.parametrize("body", [{"x": float("nan")}, {"x": {1, 2}}, {2: "b", 10: "a"}, {"x": object()}])
def test_a_body_that_json_cannot_carry_is_our_bug(tmp_path: Path, body: dict[str, object]) -> None:
    """It is refused before a byte is written, and the journal goes on."""
    path = tmp_path / "journal"
    with Journal(path, durable=False) as journal:
        journal.append("start", 1, {})
        with pytest.raises(InvariantError, match="record 1 "):
            journal.append("fill", 2, body)
        journal.append("end", 3, {})
    assert [record.kind for record in read_journal(path)] == ["start", "end"]


def test_the_returned_record_is_what_a_reader_sees(tmp_path: Path) -> None:
    """Tuples become lists on the way out already."""
    with Journal(tmp_path / "journal") as journal:
        record = journal.append("x", 1, {"pair": (1, 2)})
    assert record.body == {"pair": [1, 2]}
    assert list(read_journal(tmp_path / "journal")) == [record]


def test_one_writer(tmp_path: Path) -> None:
    """Two bots on one journal would break its chain: the second is refused while the first is open."""
    path = tmp_path / "journal"
    with Journal(path), pytest.raises(DataError, match="written by another bot"):
        Journal(path)
    Journal(path).close()


def test_two_readers_follow_one_writer(tmp_path: Path) -> None:
    """Each reader goes on where it stopped, at its own pace, and never sees half a record."""
    path = tmp_path / "journal"
    places = {"often": (0, 0, GENESIS), "seldom": (0, 0, GENESIS)}

    def read(reader: str) -> list[int]:
        found = list(read_journal(path, follow_from=places[reader]))
        if found:
            size = sum(len(encode(r.seq, r.time, r.kind, r.body, r.prev)[1]) for r in found)
            places[reader] = (places[reader][0] + size, found[-1].seq + 1, found[-1].sum)
        return [record.seq for record in found]

    with Journal(path, durable=False) as journal:
        for i in range(5):
            journal.append("equity", i, {"i": i})
            assert read("often") == [i]
    _, torn = encode(5, 5, "equity", {"i": 5}, places["often"][2])
    with path.open("ab") as file:
        file.write(torn[:-9])
    assert read("often") == []
    with path.open("ab") as file:
        file.write(torn[-9:])
    assert read("often") == [5]
    assert read("seldom") == [0, 1, 2, 3, 4, 5]
    assert read("seldom") == []


def test_missing_and_unwritable_paths_say_so(tmp_path: Path) -> None:
    """A wrong path is one sentence, not a traceback of the system call."""
    with pytest.raises(DataError, match="cannot be read: No such file"):
        list(read_journal(tmp_path / "none"))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        Journal(tmp_path / "file" / "journal")


def _write_until_killed(path: Path, ready: multiprocessing.synchronize.Event) -> None:
    journal = Journal(path, durable=False)
    for i in range(10**9):
        journal.append("equity", i, {"i": i})
        if i == 200:
            ready.set()


def test_kill_minus_nine(tmp_path: Path) -> None:
    """A writer killed at an arbitrary moment leaves a journal that opens, reads and goes on."""
    path = tmp_path / "journal"
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_write_until_killed, args=(path, ready))
    process.start()
    assert ready.wait(20)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    with Journal(path) as journal:
        survived = journal.next_seq
        journal.append("end", 0, {})
    assert survived > 200
    assert [record.seq for record in read_journal(path)] == list(range(survived + 1))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    place = tmp_path / "tiny"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=False).returncode:
        pytest.skip("this kernel lets no tmpfs be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("torn", [b"", b'{"body":{"half'])
def test_full_disk_loses_nothing(tiny_disk: Path, torn: bytes) -> None:
    """The record that does not fit is refused in one sentence; all before it stay, and freed space is used."""
    path = tiny_disk / "journal"
    ballast = tiny_disk / "ballast"
    write(path, 2)
    with path.open("ab") as file:
        file.write(torn)
    with Journal(path) as journal:
        ballast.write_bytes(b"x" * 40_000)
        with pytest.raises(DataError, match="No space left on device; free space there"):
            journal.append("note", 1, {"text": "y" * 60_000})
        written = [journal.append("note", i, {"text": "z" * 900}) for i in range(4)]
        with pytest.raises(DataError, match="No space left"):
            journal.append("note", 1, {"text": "y" * 60_000})
        ballast.unlink()
        journal.append("end", 9, {"text": "y" * 40_000})
    assert [record.seq for record in read_journal(path)] == list(range(2 + len(written) + 1))
