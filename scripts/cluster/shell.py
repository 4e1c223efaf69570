"""Runs programs and says how far we are. Every module of scripts/ that starts a program goes through here.

It must never swallow a failure: a program that fails becomes one sentence and the end of its output.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Problem", "alone", "apt_install", "cache_root", "main", "out", "require_space", "run", "sha256", "step"]

TAIL = 15
CHUNK = 1 << 20
GIGABYTE = 1_000_000_000
FULL = "no space left on device"  # as Go says it; C and Python begin with a capital


class Problem(Exception):  # noqa: N818 - it is what a person reads, not an accident
    """One clear sentence: what is wrong and what to do about it."""


def cache_root() -> Path:
    """Where all that is built or downloaded stays: $CRYPTOAI_CACHE, or else cryptoai in $XDG_CACHE_HOME or ~/.cache."""
    if ours := os.environ.get("CRYPTOAI_CACHE"):
        return Path(ours).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "cryptoai"


@contextmanager
def alone(what: str) -> Iterator[None]:
    """One process at a time gets past here; the next one says that it waits. Its end, however it comes, frees it."""
    file = cache_root() / f"{what}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step(f"waiting for another run that works on the {what}"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def require_space(folder: Path, gigabytes: float, purpose: str) -> None:
    """Raises Problem before the work starts if the disk of `folder`, which must be there, cannot hold it."""
    free = shutil.disk_usage(folder).free / GIGABYTE
    if free < gigabytes:
        raise Problem(
            f"{purpose} needs {gigabytes:.0f} GB, but the disk of {folder} has {free:.1f} GB free;"
            " free some, or set CRYPTOAI_CACHE to a folder on another disk"
        )


def _full() -> Problem:
    free = ", ".join(f"{p} {shutil.disk_usage(p).free / GIGABYTE:.1f} GB" for p in _writes_to() if p.exists())
    return Problem(
        f"the disk is full (free: {free}); free some, or set CRYPTOAI_CACHE to a folder on another disk, and try again"
    )


def _writes_to() -> tuple[Path, ...]:
    return cache_root(), Path(tempfile.gettempdir()), Path("/var/tmp")  # noqa: S108 - looked at, not written


@contextmanager
def step(title: str) -> Iterator[None]:
    """One line of progress: the title at once, the seconds it took when it ends."""
    print(f"  {title} ... ", end="", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print(f"failed after {time.monotonic() - start:.1f} s", flush=True)
        raise
    print(f"{time.monotonic() - start:.1f} s", flush=True)


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> str:
    """Runs to the end and returns what it printed; `env` adds to ours, `log` keeps the output.

    Raises Problem with the last lines of the output if it fails or is not there.
    """
    full = None if env is None else {**os.environ, **env}
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env=full,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise Problem(f"{command[0]} is not installed") from error
    if log is not None:
        log.write_text(done.stdout)
    if done.returncode and FULL in done.stdout.lower():
        raise _full()
    if done.returncode:
        tail = "\n    ".join(done.stdout.strip().splitlines()[-TAIL:])
        raise Problem(f"`{' '.join(map(str, command[:4]))}` failed with status {done.returncode}:\n    {tail}")
    return done.stdout


def out(command: Sequence[str | Path]) -> str | None:
    """What a probe printed, or None if it failed, was too slow or is not installed."""
    try:
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, timeout=20, check=True, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def apt_install(programs: Mapping[str, str], packages: Iterable[str] = ()) -> None:
    """Installs the Debian package of each program that is not on the PATH, and each package that is not installed."""
    missing = {package for program, package in programs.items() if not shutil.which(program)}
    missing |= {name for name in packages if "ok installed" not in (out(["dpkg-query", "-Wf${Status}", name]) or "")}
    if not missing:
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise Problem(f"install these first (Debian names), or run as root: {' '.join(sorted(missing))}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"installing {', '.join(sorted(missing))}"):
        run(["apt-get", "update", "-q"], env=quiet)
        run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *sorted(missing)], env=quiet)


def main(action: Callable[[], None]) -> int:
    """Calls `action` and turns a Problem into one line on stderr and status 1."""
    try:
        action()
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        print(f"error: {_full()}", file=sys.stderr)
        return 1
    return 0
