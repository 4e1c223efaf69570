"""`cryptoai bench`: runs the scripts of benchmarks/, each in a process of its own, one JSON line per figure.

A figure is read, never asserted: machines differ and are shared.
"""

from __future__ import annotations

import os
import subprocess
import sys

from cryptoai.cli.settings import project_root
from cryptoai.core.errors import ConfigError, CryptoAIError

__all__ = ["run_bench"]


def run_bench(name: str, peers: str | None = None) -> int:
    """Runs one benchmark, or all of them; ConfigError lists the names if there is no such one.

    `peers` are those that `backtest` compares us with, names with commas between them; None means every one, but none
    where all benchmarks run: installing them takes minutes.
    """
    folder = project_root() / "benchmarks"
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "harness")
    if name != "all" and name not in names:
        raise ConfigError(f"there is no benchmark {name!r}; there is {', '.join(names)}, or all")
    asked = peers or ("none" if name == "all" else None)
    more = {"OMP_NUM_THREADS": "1"} | ({"CRYPTOAI_BENCH_PEERS": asked} if asked else {})
    for chosen in names if name == "all" else [name]:
        done = subprocess.run([sys.executable, str(folder / f"{chosen}.py")], check=False, env={**os.environ, **more})
        if done.returncode:
            raise CryptoAIError(f"benchmark {chosen} failed with code {done.returncode}")
    return 0
