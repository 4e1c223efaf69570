"""Runs programs and says how far we are. Every module of scripts/ that starts a program goes through here.

It must never swallow a failure: a program that fails becomes one sentence and the end of its output.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Problem", "apt_install", "cache_root", "main", "out", "run", "sha256", "step"]

TAIL = 15
CHUNK = 1 << 20


class Problem(Exception):  # noqa: N818 - it is what a person reads, not an accident
    """One clear sentence: what is wrong and what to do about it."""


def cache_root() -> Path:
    """Where everything that is built or downloaded stays between runs (CRYPTOAI_CACHE overrides it)."""
    return Path(os.environ.get("CRYPTOAI_CACHE", "~/.cache/cryptoai")).expanduser()


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
    return 0
