""".ci/run with everything around it played: which stages run, what ends it, and what the last lines say."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / ".ci/run"
MAKE = """#!/bin/sh
echo "make $1" >> "$PLAYED/asked"
[ ! -f "$PLAYED/make-$1" ] || cat "$PLAYED/make-$1"
[ ! -f "$PLAYED/make-$1-fails" ] || exit 2
"""
PYTHON = """#!/bin/sh
[ "$1" = -m ] || exit 0
echo "cluster $3" >> "$PLAYED/asked"
[ ! -f "$PLAYED/cluster-$3" ] || cat "$PLAYED/cluster-$3"
[ ! -f "$PLAYED/cluster-$3-status" ] || exit "$(cat "$PLAYED/cluster-$3-status")"
"""
CHECK = "....\n57 passed, 1 skipped in 75.29s (0:01:15)\nnanobind: leaked 3 functions!\n"
LOOP = "...\n30 passed in 412.08s (0:06:52)\n"


@dataclass
class Played:
    """A checkout that holds nothing but .ci/run, and programs that say what lies in `folder`."""

    folder: Path

    def write(self, name: str, text: str = "") -> None:
        (self.folder / name).write_text(text)

    def run(self) -> tuple[int, list[str], list[str]]:
        """Exit code, lines of output, what was asked for."""
        env = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "PLAYED": str(self.folder), "HOME": str(self.folder)}
        done = subprocess.run(
            ["bash", self.folder / "checkout/.ci/run"],
            env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout.splitlines(), (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def played(tmp_path: Path) -> Played:
    """A machine on which all goes well and no cluster runs yet."""
    (tmp_path / "checkout/.ci").mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / "checkout/.ci/run")
    (tmp_path / "bin").mkdir()
    for name, text in {"make": MAKE, "python3": PYTHON, "chromium": "", "redis-server": ""}.items():
        program = tmp_path / "bin" / name
        program.write_text(text or "#!/bin/sh\n")
        program.chmod(0o755)
    made = Played(tmp_path)
    made.write("make-check", CHECK)
    made.write("make-test-cluster", LOOP)
    made.write("cluster-status-status", "1")
    return made


def test_the_script_is_a_program() -> None:
    """It parses and may be started."""
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    assert os.access(SCRIPT, os.X_OK)


def test_both_suites_run_and_their_summaries_come_last(played: Played) -> None:
    """Tools before the check, whose chart tests need them; the cluster that was started here is stopped."""
    code, lines, asked = played.run()
    assert code == 0
    assert lines[-2:] == ["57 passed, 1 skipped in 75.29s (0:01:15)", "30 passed in 412.08s (0:06:52)"]
    assert asked[0] == "cluster possible"
    assert sorted(asked[1:3]) == ["cluster build", "make tools"]
    assert asked[3:] == ["make check", "cluster status", "make cluster", "make test-cluster", "cluster down"]


def test_a_cluster_that_ran_before_is_left_running(played: Played) -> None:
    """Somebody else started it."""
    (played.folder / "cluster-status-status").unlink()
    code, _, asked = played.run()
    assert code == 0
    assert asked[-1] == "make test-cluster"


def test_without_a_cluster_the_check_alone_decides(played: Played) -> None:
    """One sentence says why, and nothing of a cluster is asked for after it."""
    played.write("cluster-possible", "the native cluster needs Linux and root\n")
    played.write("cluster-possible-status", "3")
    code, lines, asked = played.run()
    assert code == 0
    assert [line for line in lines if "the native cluster needs Linux and root" in line]
    assert lines[-1] == "57 passed, 1 skipped in 75.29s (0:01:15)"
    assert asked == ["cluster possible", "make tools", "make check"]
    played.write("make-check-fails")
    assert played.run()[0] == 2


@pytest.mark.parametrize(
    ("broken", "code", "never"),
    [
        ("cluster-possible-status", 1, "make tools"),
        ("make-tools-fails", 2, "make check"),
        ("make-check-fails", 2, "make test-cluster"),
        ("make-test-cluster-fails", 2, None),
    ],
)
def test_a_failure_is_never_hidden(broken: str, code: int, never: str | None, played: Played) -> None:
    """Whatever fails ends the run with its status, and what comes after it is not tried."""
    played.write(broken, "1")
    played.write("cluster-build", "go: cannot compile\n")
    ended, lines, asked = played.run()
    assert ended == code
    assert never not in asked
    assert ("go: cannot compile" in lines) == ("make check" in asked)


@pytest.mark.parametrize("broken", ["cluster-build-status", "make-cluster-fails"])
def test_a_machine_that_cannot_bring_a_cluster_up_says_so(broken: str, played: Played) -> None:
    """The log is shown, the check has run and decides, and no test of a cluster is pretended."""
    played.write(broken, "1")
    played.write("cluster-build", "go: cannot compile\n")
    code, lines, asked = played.run()
    assert code == 0
    assert "go: cannot compile" in lines
    assert [line for line in lines if "no cluster: it could not be" in line]
    assert lines[-1] == "57 passed, 1 skipped in 75.29s (0:01:15)"
    assert asked.count("make check") == 1
    assert "make test-cluster" not in asked


def test_the_cluster_suite_is_tried_twice(played: Played) -> None:
    """The first failure is shown, the second ends the run."""
    played.write("make-test-cluster-fails", "1")
    code, lines, asked = played.run()
    assert code == 2
    assert asked.count("make test-cluster") == 2
    assert [line for line in lines if "a last try" in line]


@pytest.mark.parametrize("target", ["check", "test-cluster"])
@pytest.mark.parametrize("said", ["12 skipped in 0.10s\n", "no tests ran in 0.02s\n", ""])
def test_a_suite_that_ran_no_test_has_failed(target: str, said: str, played: Played) -> None:
    """A cluster that nobody could reach skips everything, and pytest calls that a success."""
    played.write(f"make-{target}", said)
    code, lines, _ = played.run()
    assert code == 1
    assert f"make {target} ran no test" in lines
