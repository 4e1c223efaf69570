"""What breaks in the field, through the command as a person runs it: one clear sentence, a code, nothing lost."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import socket
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import psutil
import pytest

from cryptoai.core.bundle import file_hash

TAPE = Path(str(files("cryptoai.testing"))) / "tapes" / "binance_usdm_btcusdt_20240808.gz"
PERP = "binance_usdm:BTCUSDT"
LINES = 3_000

pytestmark = pytest.mark.timeout(120)


def run(*words: str | Path, cwd: Path, module: str = "cryptoai.cli") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=100)


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence that a failed command leaves; no traceback beside it."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, done.stderr
    return errors[0]


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    with gzip.open(TAPE) as tape:
        return [line for line, _ in zip(tape, range(LINES), strict=False)]


def imported(capture: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return run("data", "import", capture, "--instrument", PERP, "--lake", tmp_path / "lake", cwd=tmp_path)


def test_a_truncated_tape_goes_on_degraded_and_says_so(tmp_path: Path, lines: list[bytes]) -> None:
    """What could be read is in the lake, and the report names the damage."""
    whole = gzip.compress(b"".join(lines))
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) * 2 // 3])
    done = imported(tmp_path / "cut.gz", tmp_path)

    assert done.returncode == 0
    assert "the file is damaged" in done.stdout
    assert run("data", "list", "--lake", "lake", cwd=tmp_path).stdout.strip() == PERP


def test_a_corrupt_line_is_refused_and_counted(tmp_path: Path, lines: list[bytes]) -> None:
    """The rest goes on; the line's number is told."""
    (tmp_path / "odd.txt").write_bytes(b"".join([*lines[:500], b'1723161256172216566 {"stream": \xff\n', *lines[500:]]))
    done = imported(tmp_path / "odd.txt", tmp_path)

    assert done.returncode == 0
    assert "refused 1 line(s)" in done.stdout
    assert "line 501" in done.stdout


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    """Nothing is written for it."""
    (tmp_path / "empty.gz").write_bytes(b"")
    assert "empty" in complaint(imported(tmp_path / "empty.gz", tmp_path))
    assert run("data", "list", "--lake", "lake", cwd=tmp_path).stdout == ""


def test_a_sequence_gap_marks_a_hole(tmp_path: Path, lines: list[bytes]) -> None:
    """A depth update is missing: the book is unknown from there, and the report says so."""
    depth = [n for n, line in enumerate(lines) if b"depthUpdate" in line]
    (tmp_path / "gap.txt").write_bytes(b"".join(line for n, line in enumerate(lines) if n != depth[len(depth) // 2]))
    done = imported(tmp_path / "gap.txt", tmp_path)

    assert done.returncode == 0
    assert "hole(s) in the depth stream" in done.stdout


def test_an_asset_without_data_is_named_with_what_there_is(tmp_path: Path, lines: list[bytes]) -> None:
    """By both doors."""
    (tmp_path / "tape.txt").write_bytes(b"".join(lines))
    assert imported(tmp_path / "tape.txt", tmp_path).returncode == 0
    words = ("--mode", "backtest", "--set", "data.lake=lake", "--assets", "BTCUSDT", "DOGEUSDT")
    said = complaint(run(*words, cwd=tmp_path, module="cryptoai.main"))

    assert "DOGEUSDT" in said
    assert PERP in said


@pytest.fixture
def broken(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle with one flipped byte."""
    copy = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, copy)
    target = copy / "policy.safetensors"
    raw = bytearray(target.read_bytes())
    raw[-5] ^= 1
    target.write_bytes(raw)
    assert file_hash(target) != file_hash(tiny_bundle / "policy.safetensors")
    return copy


@pytest.mark.parametrize("words", [("serve",), ("evaluate",)])
def test_a_flipped_byte_in_a_bundle_is_found(broken: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Before a single tensor is used, and the file is named."""
    said = complaint(run(*words, "--model", broken, cwd=tmp_path))

    assert "policy.safetensors" in said


def test_a_port_in_use_is_named_with_the_way_out(tmp_path: Path) -> None:
    """Before minutes of work, not after."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = complaint(run("demo", "--out", tmp_path / "d", "--set", f"serving.port={port}", cwd=tmp_path))

    assert f"port {port}" in said
    assert "--set serving.port=" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(tmp_path: Path, lines: list[bytes]) -> None:
    """The lake is on a file system of 256 kB."""
    small = tmp_path / "lake"
    small.mkdir()
    (tmp_path / "tape.txt").write_bytes(b"".join(lines))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], check=True)
    try:
        said = complaint(imported(tmp_path / "tape.txt", tmp_path))
        left = [path for path in small.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", str(small)], check=True)

    assert "space" in said.lower()
    assert left == []


@pytest.mark.parametrize("seconds", [1.5, 4.0, 9.0])
def test_sigterm_at_any_moment_leaves_nothing(tmp_path: Path, seconds: float) -> None:
    """No process, no half file, a code that says who stopped it."""
    ports = [f"serving.port={18_000 + int(seconds * 10)}", f"dashboard.port={18_500 + int(seconds * 10)}"]
    words = ["demo", "--out", str(tmp_path / "d"), *(part for port in ports for part in ("--set", port))]
    command = [sys.executable, "-m", "cryptoai.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(seconds)
        child.send_signal(signal.SIGTERM)
        try:
            _, said = child.communicate(timeout=60)
        finally:
            child.kill()

    assert child.returncode in (130, 143, -signal.SIGTERM, 75), said
    assert "Traceback" not in said
    assert not list((tmp_path / "d").rglob("*.tmp"))
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "risk.max_levrage=3"), "did you mean risk.max_leverage?"),
        (("--set", "risk.max_leverage=50"), "risk.max_leverage"),
        (("--set", "nonsense"), "section.key=value"),
        (("--config", "nowhere.yaml"), "nowhere.yaml"),
        (("--model", "nowhere"), "nowhere"),
    ],
)
def test_a_bad_option_names_the_field_and_the_fix(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """One sentence each."""
    assert said in complaint(run("backtest" if "--model" not in words else "evaluate", *words, cwd=tmp_path))
