"""Remembers a process so that it, and never another one under the same number, is stopped later.

Called by native.py. A number alone is no proof: the kernel gives it away again, so its start time is kept beside it.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Remembered", "recall", "remember", "start_time", "stop"]

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Remembered:
    """A process as it was when we started it: `started` is in clock ticks since boot (proc(5), stat field 22)."""

    pid: int
    started: int
    boot: str

    def save(self, file: Path) -> None:
        file.write_text(f"{self.pid} {self.started} {self.boot}\n")

    @property
    def alive(self) -> bool:
        return self.boot == boot_id() and start_time(self.pid) == self.started


def boot_id() -> str:
    """Differs after every boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot, None if it is gone or only waits to be collected."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def remember(pid: int, file: Path) -> Remembered:
    """Writes down a process that we have just started."""
    found = Remembered(pid, start_time(pid) or 0, boot_id())
    found.save(file)
    return found


def recall(file: Path) -> Remembered | None:
    """What was written down in `file`, if it can be read and still runs."""
    try:
        pid, started, boot = file.read_text().split()
        found = Remembered(int(pid), int(started), boot)
    except (OSError, ValueError):
        return None
    return found if found.alive else None


def stop(process: Remembered) -> bool:
    """Kills the process, if it is still the one remembered; True once it is gone."""
    if process.alive:
        os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while process.alive and time.monotonic() < deadline:
        time.sleep(0.05)
    return not process.alive
