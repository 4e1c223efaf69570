"""What a worker of benchmarks/backtest.py and its driver say to each other; standard library only.

The worker prepares its own form of the rows, says how long that took, and waits. Each line it then reads names a
scenario; it runs it once and answers with one JSON line. The driver lets the engines take turns on one core.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Answer = dict[str, object]
Run = Callable[[], Answer]
"""What a scenario gives: `make()` builds a fresh run, which is not timed; the run it returns is."""
Make = Callable[[], Run]


def memory_mb(field: str) -> float:
    """VmRSS or VmHWM of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def forget_peak() -> None:
    """VmHWM starts again from what is resident now, where the kernel allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def serve(engine: str, prepare: Callable[[str], tuple[int, Mapping[str, Make]]]) -> None:
    """`prepare` gets the path of the rows and returns their number and the scenarios."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer

    def say(answer: Answer) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    before, started = memory_mb("VmRSS"), time.perf_counter()
    rows, scenarios = prepare(sys.argv[1])
    took = time.perf_counter() - started
    say(
        {
            "engine": engine,
            "rows": rows,
            "prepare_s": round(took, 2),
            "imported_mb": before,
            "peak_mb": memory_mb("VmHWM"),
        }
    )
    for line in sys.stdin:
        run = scenarios[line.strip()]()
        forget_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        answer = run()
        taken = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        say({**answer_of(answer), **taken, "peak_mb": memory_mb("VmHWM")})


def answer_of(answer: Answer) -> Answer:
    """An answer may carry work for after the clock has stopped, as a function."""
    late = answer.pop("after", None)
    return {**answer, **(late() if callable(late) else {})}
