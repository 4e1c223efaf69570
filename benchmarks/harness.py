"""How every benchmark measures: warm up, repeat, print one JSON line with the median and the spread.

Ratios are taken inside one run, so that a busy machine cancels out; absolute times are for reading,
never for asserting.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TAPES = ROOT / "cryptoai" / "testing" / "tapes"


def seconds(work: Callable[[], object], *, repeats: int = 5, warm: int = 1) -> list[float]:
    """Wall-clock seconds of each counted run."""
    for _ in range(warm):
        work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return taken


def each(work: Callable[[], object], *, count: int, warm: int = 20) -> dict[str, float]:
    """p50 and p99 of `count` calls, in microseconds."""
    taken = sorted(seconds(work, repeats=count, warm=warm))
    return {"p50_us": round(taken[count // 2] * 1e6, 1), "p99_us": round(taken[int(count * 0.99)] * 1e6, 1)}


def rate(amount: int, taken: list[float]) -> dict[str, float]:
    """Units per second: median, and best."""
    return {"per_s": round(amount / statistics.median(taken)), "best_per_s": round(amount / min(taken))}


def report(name: str, **figures: object) -> None:
    """The one JSON line."""
    machine = f"{platform.machine()} python {platform.python_version()}"
    sys.stdout.write(json.dumps({"benchmark": name, **figures, "machine": machine}) + "\n")
