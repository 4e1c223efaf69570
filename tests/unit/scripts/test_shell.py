"""What scripts/cluster/shell.py promises: one sentence for a failure, one run at a time, room asked for beforehand."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.cluster import shell
from scripts.cluster.shell import Problem

ROOT = Path(shell.__file__).resolve().parents[2]


def test_a_program_that_fails_becomes_one_sentence() -> None:
    """With the end of what it said; a program that is not there is named."""
    with pytest.raises(Problem, match=r"failed with status 3:\n    broken"):
        shell.run(["sh", "-c", "echo broken; exit 3"])
    with pytest.raises(Problem, match="no-such-program is not installed"):
        shell.run(["no-such-program"])
    assert shell.out(["sh", "-c", "exit 1"]) is None


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"CRYPTOAI_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/cryptoai"),
        ({"XDG_CACHE_HOME": "", "CRYPTOAI_CACHE": ""}, "~/.cache/cryptoai"),
        ({}, "~/.cache/cryptoai"),
    ],
)
def test_the_cache_is_where_the_user_wants_it(
    env: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own variable first, then the desktop's convention, then its default."""
    for name in ("CRYPTOAI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert shell.cache_root() == Path(expected).expanduser()


def test_a_full_disk_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether a program met it or we did; what else goes wrong with a file is not called so."""
    monkeypatch.setenv("CRYPTOAI_CACHE", str(tmp_path))
    for said in ("No space left on device", "write /x: no space left on device"):
        with pytest.raises(Problem, match=r"the disk is full \(free: .*CRYPTOAI_CACHE"):
            shell.run(["sh", "-c", f"echo '{said}' >&2; exit 1"])

    def fail_with(number: int) -> None:
        raise OSError(number, "said by the system")

    assert shell.main(lambda: fail_with(errno.ENOSPC)) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: the disk is full")
    assert told.count("\n") == 1
    with pytest.raises(OSError, match="said by the system"):
        shell.main(lambda: fail_with(errno.EACCES))


def test_room_is_asked_for_before_the_work(tmp_path: Path) -> None:
    """What there is passes; a million gigabytes does not, and the sentence names folder and purpose."""
    shell.require_space(tmp_path, 0, "nothing")
    with pytest.raises(Problem, match=f"building needs 1000000 GB, but the disk of {tmp_path} has"):
        shell.require_space(tmp_path, 1e6, "building")


HOLDER = """
import sys
from scripts.cluster.shell import alone
with alone("images"):
    print("mine", flush=True)
    sys.stdin.readline()
"""


def test_the_second_of_two_runs_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, goes on when the first is killed, and one that works on something else is not held up."""
    monkeypatch.setenv("CRYPTOAI_CACHE", str(tmp_path))

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", HOLDER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    with start() as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "mine\n"
        with start() as second:
            assert second.stdout is not None
            waiting = "  waiting for another run that works on the images ... "
            assert second.stdout.read(len(waiting)) == waiting
            with shell.alone("cluster"):
                assert second.poll() is None
            first.kill()
            assert second.stdout.readline().endswith(" s\n")
            assert second.stdout.readline() == "mine\n"
            second.communicate("\n")
    assert second.returncode == 0
