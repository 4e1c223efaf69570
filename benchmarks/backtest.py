"""Our backtester beside its peers: one file, one core, one run, engines taking turns; ratios by CPU time.

    cryptoai bench backtest                              # makes a venv for each peer once, under the cache folder
    python benchmarks/backtest.py --peers hftbacktest --runs 5 --tiles 12

Every engine is a worker process (peers/) that prepares its own form of the rows before the clock starts. Scenarios: S0
replays and keeps the book, S1 quotes both sides each 100 ms, S2 takes a step each second; compiled strategies and
Python callbacks (P0 to P2) are compared with their like only, candles are a class of their own. A comparison counts
only where the gates hold: the last book equal to twenty levels, actions within 5 %, market orders at the same mean
price. The exit code is 1 where one does not; speed never decides it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import TAPES, report

from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import LEVEL, QUOTE, TRADE
from cryptoai.data_universe.market_microstructure.tape import read_capture

WORKERS = Path(__file__).resolve().parent / "peers"
PINS = {
    "hftbacktest": ("hftbacktest==2.4.4", "numpy==2.2.6", "numba==0.68.1"),
    "nautilus_trader": ("nautilus_trader==1.221.0", "numpy==2.4.6", "pandas==2.3.3"),
    "vectorbt": ("vectorbt==1.2.0", "numpy==2.4.6", "numba==0.68.1", "pandas==3.1.1"),
}
Answer = dict[str, Any]


def tiled(path: Path, tiles: int) -> None:
    """The shipped tape without best quotes, one copy after the other, as the importer corrects its clock."""
    events = read_capture(TAPES / "binance_usdm_btcusdt_20240808.gz", instrument("binance_usdm:BTCUSDT")).events
    keep = events.kind != QUOTE
    names = {"exchange_time": "event_time", **{n: n for n in ("known_at", "kind", "side", "last", "price", "qty")}}
    columns = {name: getattr(events, source)[keep] for name, source in names.items()}
    first = min(columns["exchange_time"].min(), columns["known_at"].min())
    span = int(columns["known_at"].max() - first) + 1_000_000_000
    shift = np.repeat(np.arange(tiles) * span, keep.sum())
    many: dict[str, Any] = {name: np.tile(column, tiles) for name, column in columns.items()}
    many["exchange_time"], many["known_at"] = many["exchange_time"] + shift, many["known_at"] + shift
    rows = int(np.isin(many["kind"], (LEVEL, TRADE)).sum())
    np.savez(path, rows=np.int64(rows), **many)


def candles(path: Path, bars: int = 65_741) -> None:
    """A seeded random walk of five-minute bars, and 25 pairs of windows."""
    generator = np.random.default_rng(1)
    closes = np.round(600_000 * np.exp(np.cumsum(generator.standard_normal(bars) * 1e-3))).astype(np.int64)
    opens = closes.copy()
    opens[1:] = closes[:-1] + generator.integers(-20, 21, bars - 1)
    windows = np.array([(20, 80), *((f, s) for f in (10, 15, 20, 25, 30) for s in (60, 90, 100, 120, 140))][:25])
    np.savez(path, open=opens, close=closes, windows=windows, fee=np.float64(0.001))


def python_of(peer: str, cache: Path) -> Path | None:
    """A peer's own interpreter, made on first use; None, with a line on stderr, where it cannot be."""
    folder = cache / PINS[peer][0].replace("==", "-")
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return python
    steps = ([sys.executable, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", "-q", *PINS[peer]])
    for step in steps:
        if subprocess.run(step, check=False, stdout=subprocess.DEVNULL).returncode:
            sys.stderr.write(f"{peer} is left out: {' '.join(step)} failed\n")
            return None
    (folder / "ready").touch()
    return python


class Worker:
    """One engine's process, pinned to the core it shares with the others, waiting for its turn."""

    def __init__(self, python: Path, script: str, rows: Path, core: int) -> None:
        self._process = subprocess.Popen(
            [str(python), str(WORKERS / script), str(rows)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"},
        )
        os.sched_setaffinity(self._process.pid, {core})
        self.about = self._read()

    def run(self, scenario: str) -> Answer:
        self._ask(scenario + "\n")
        return self._read()

    def close(self) -> None:
        self._process.communicate()

    def _ask(self, text: str) -> None:
        if self._process.stdin:
            self._process.stdin.write(text)
            self._process.stdin.flush()

    def _read(self) -> Answer:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit(f"{self._process.args!r} ended; its message is above")
        answer: Answer = json.loads(line)
        return answer


def turns(workers: Sequence[tuple[Worker, str]], runs: int) -> list[list[Answer]]:
    """`runs` counted answers of each worker after one warm-up, in turn."""
    rounds = [[worker.run(scenario) for worker, scenario in workers] for _ in range(runs + 1)]
    return [list(of_one) for of_one in zip(*rounds[1:], strict=True)]


def figures(worker: Worker, scenario: str, answers: list[Answer], units: int) -> Answer:
    """One engine's line: time, speed, memory (preparing included, imports not), and what it did."""
    cpu, wall, about = [a["cpu_s"] for a in answers], [a["wall_s"] for a in answers], worker.about
    middle, peak = statistics.median(cpu), max(about["peak_mb"], *(a["peak_mb"] for a in answers))
    line = {
        "engine": about["engine"],
        "scenario": scenario,
        "cpu_s": round(middle, 4),
        "cpu_min_s": round(min(cpu), 4),
        "wall_s": round(statistics.median(wall), 4),
        "wall_min_s": round(min(wall), 4),
        "per_cpu_s": round(units / middle),
        "prepare_s": about["prepare_s"],
        "peak_mb": peak,
        "bytes_a_row": round((peak - about["imported_mb"]) * 2**20 / about["rows"], 1),
    }
    return {**line, **{name: answers[0][name] for name in ("actions", "fills", "rejected") if name in answers[0]}}


def gates(scenario: str, ours: Answer, peer: Answer) -> dict[str, bool]:
    """What must hold for the two times to be comparable."""
    if "returns" in ours:
        return {"returns": bool(np.allclose(ours["returns"], peer["returns"], rtol=0, atol=1e-9))}
    if scenario.endswith("0"):
        return {"book": ours["book"] == peer["book"]}
    if scenario.endswith("1"):
        return {"actions": abs(ours["actions"] - peer["actions"]) <= 0.05 * peer["actions"]}
    return {"price": abs(ours["vwap_ticks"] - peer["vwap_ticks"]) <= 1.0}


def compare(ours: Worker, peer: Worker | None, scenario: str, theirs: str, runs: int) -> bool:
    """One comparison, both lines and the ratio; whether its gates hold."""
    pair = [(ours, scenario), *([(peer, theirs)] if peer else [])]
    units = ours.about["rows"] * (25 if scenario == "grid" else 1)
    answers = turns(pair, runs)
    lines = [figures(worker, name, found, units) for (worker, name), found in zip(pair, answers, strict=True)]
    for line in lines:
        report("backtest", unit="bars" if scenario in ("one", "grid") else "rows", units=units, **line)
    if peer is None:
        return True
    held = gates(scenario, answers[0][0], answers[1][0])
    ratios = {name: round(lines[1][f"{name}_s"] / lines[0][f"{name}_s"], 2) for name in ("cpu", "cpu_min", "wall")}
    report("backtest_ratio", scenario=scenario, ours_faster_by=ratios, peer=lines[1]["engine"], gates=held)
    return all(held.values())


def growth(ours: Worker, runs: int) -> None:
    """Ten times the rows in how many times the time."""
    whole, tenth = turns([(ours, "S1"), (ours, "tenth")], runs)
    times = [statistics.median(a["cpu_s"] for a in found) for found in (whole, tenth)]
    report("backtest_growth", rows_factor=10, cpu_factor=round(times[0] / times[1], 2))


def start(rows: Path, core: int) -> None:
    """From a cold process, with warm caches, to the end of a first run over one tape."""
    warm = Worker(Path(sys.executable), "cryptoai_run.py", rows, core)
    warm.run("S1")
    warm.close()
    began, used = time.perf_counter(), os.times()
    worker = Worker(Path(sys.executable), "cryptoai_run.py", rows, core)
    first, second = worker.run("S1"), worker.run("S1")
    worker.close()
    wall, after = time.perf_counter() - began, os.times()
    cpu = after.children_user + after.children_system - used.children_user - used.children_system
    report(
        "backtest_start",
        cpu_s=round(cpu - second["cpu_s"], 2),
        wall_s=round(wall - second["wall_s"], 2),
        of_it_the_run=round(second["cpu_s"], 3),
        of_it_the_strategy=round(first["cpu_s"] - second["cpu_s"], 2),
    )


def measure(options: argparse.Namespace, folder: Path) -> bool:
    """All classes; True if every gate held."""
    rows, one, bars = folder / "rows.npz", folder / "one.npz", folder / "bars.npz"
    tiled(rows, options.tiles)
    tiled(one, 1)
    candles(bars)
    plan = (
        ("hftbacktest", "cryptoai_run.py", rows, [("S0", "S0"), ("S1", "S1"), ("S2", "S2")]),
        ("nautilus_trader", "cryptoai_run.py", rows, [("P0", "S0"), ("P1", "S1"), ("P2", "S2")]),
        ("vectorbt", "sweep_run.py", bars, [("one", "one"), ("grid", "grid")]),
    )
    held = True
    for name, script, file, scenarios in plan:
        python = python_of(name, options.cache) if name in options.peers else None
        ours = Worker(Path(sys.executable), script, file, options.core)
        peer = Worker(python, f"{name.removesuffix('_trader')}_run.py", file, options.core) if python else None
        for mine, theirs in scenarios:
            held = compare(ours, peer, mine, theirs, options.runs) and held
        if name == "hftbacktest":
            growth(ours, options.runs)
        ours.close()
        if peer:
            peer.close()
    start(one, options.core)
    return held


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    chosen = os.environ.get("CRYPTOAI_BENCH_PEERS", ",".join(PINS))
    asked.add_argument("--peers", default=chosen, help="names with commas between them, or none")
    asked.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "cryptoai" / "peers")
    asked.add_argument("--tiles", type=int, default=12)
    asked.add_argument("--runs", type=int, default=5)
    asked.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    options = asked.parse_args()
    options.peers = set(options.peers.split(","))
    with tempfile.TemporaryDirectory() as folder:
        return 0 if measure(options, Path(folder)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
