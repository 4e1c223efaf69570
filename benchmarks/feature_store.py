"""The feature store: the hot read beside a raw GET and Feast's SDK, writing, materialising, training sets.

The read is measured on a Redis of its own on a private port (and skipped where there is none), the raw GET of as many
bytes in the same loop, so that the ratio means something on a busy machine.
"""

from __future__ import annotations

import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from harness import ROOT, report

from cryptoai.core.clock import MS, SECOND
from cryptoai.core.config import FeaturesConfig
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.adapters.feast_store import FeastStore
from cryptoai.data_universe.adapters.hot_store import RedisAddress
from cryptoai.data_universe.features import Batch
from cryptoai.data_universe.history import History
from cryptoai.data_universe.packed import limits

START = 1_700_000_000 * SECOND
SYMBOLS, ROWS = 100, 10_000
QUESTIONS = 100_000


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _redis() as address:
            _reads(folder / "reads", address)
        _write(folder / "large")
        _join(folder / "large")
        _materialize(folder / "large")


def _reads(folder: Path, address: RedisAddress | None) -> None:
    store = FeastStore(ROOT / "feature_repo", folder, online=address)
    store.apply()
    state = StateVector.of("v:S", (START, START), schema.SCHEMA_HASH, [0.5] * schema.WIDTH, [True] * schema.WIDTH)
    store.push(state)
    work: dict[str, Callable[[], object]] = {"hot": lambda: store.read("v:S", START)}
    if address is not None:
        client = address.client()
        client.set("raw", store.hot.get("v:S"))
        work["raw_get"] = lambda: client.get("raw")
    taken: dict[str, list[float]] = {key: [] for key in work}
    for _ in range(5_000):
        for key, call in work.items():
            taken[key].append(_once(call))
    sdk = [_once(lambda: store.read_sdk("v:S", START)) for _ in range(200)]
    push = [_once(lambda: store.push(state)) for _ in range(200)]
    figures = {f"{key}_p50_us": _half(each) for key, each in {**taken, "sdk": sdk, "push": push}.items()}
    ratio = {"hot_over_raw": round(figures["hot_p50_us"] / figures["raw_get_p50_us"], 2)} if address else {}
    report("feature_store.read", online="redis" if address else "sqlite", **figures, **ratio)


def _write(folder: Path) -> None:
    random = np.random.default_rng(1)
    times = START + np.arange(ROWS) * 100 * MS
    values = random.normal(size=(ROWS, schema.WIDTH))
    mask = random.random(values.shape) > 0.1
    past = History(folder / "offline")
    begun = time.perf_counter()
    for k in range(SYMBOLS):
        past.write(f"v:S{k}", times + k * 1_000, Batch(values + k, mask, times))
    spent = time.perf_counter() - begun
    report("feature_store.write", rows=SYMBOLS * ROWS, features=192, seconds=round(spent, 1))


def _join(folder: Path) -> None:
    """In a process of its own, so that the peak of memory is the join's."""
    here = [str(ROOT), str(ROOT / "benchmarks")]
    script = f"import sys; sys.path[:0] = {here!r}; import feature_store as b; b.joined({str(folder)!r})"
    subprocess.run([sys.executable, "-c", script], check=True)


def joined(folder: str) -> None:
    random = np.random.default_rng(2)
    names = [f"v:S{k}" for k in random.integers(0, SYMBOLS, QUESTIONS)]
    times = START + random.integers(0, ROWS * 100 * MS, QUESTIONS)
    begun, busy = time.perf_counter(), time.process_time()
    found = History(Path(folder) / "offline").join(names, times, limits(FeaturesConfig()))
    spent, busy = time.perf_counter() - begun, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    sizes = {"rows": len(found.values), "source_rows": SYMBOLS * ROWS}
    report("feature_store.join", **sizes, seconds=round(spent, 2), cpu_seconds=round(busy, 2), peak_mb=peak)


def _materialize(folder: Path) -> None:
    store = FeastStore(ROOT / "feature_repo", folder)
    store.apply()
    begun = time.perf_counter()
    moved = store.materialize(None, START + ROWS * 100 * MS)
    spent = time.perf_counter() - begun
    report("feature_store.materialize", rows=SYMBOLS * ROWS, moved=len(moved), seconds=round(spent, 1))


@contextmanager
def _redis() -> Iterator[RedisAddress | None]:
    server = shutil.which("redis-server")
    if server is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    child = subprocess.Popen([server, *options], stdout=subprocess.DEVNULL)
    while child.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.01)
    try:
        yield RedisAddress("127.0.0.1", port, timeout_s=5.0)
    finally:
        child.terminate()
        child.wait(10)


def _once(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _half(taken: list[float]) -> float:
    return round(sorted(taken)[len(taken) // 2] * 1e6, 1)


if __name__ == "__main__":
    main()
