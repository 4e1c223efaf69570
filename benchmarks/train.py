"""Training: samples a second of each stage, the share of a matrix product's speed, two processes against one, sizes.

One thread a process. Wall-clock and processor time are both told: on a busy machine only the latter is worth reading,
and the share of the matrix product is taken from it. A sample is a timestep; a sequence is `training.sequence` of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from harness import report

from cryptoai.core.config import Config, ModelConfig, build
from cryptoai.testing.bundles import untrained_bundle
from cryptoai.testing.market import synthetic_dataset
from cryptoai.training.dataset import Dataset
from cryptoai.training.estimate import estimated
from cryptoai.training.parallel import Ranks, joined
from cryptoai.training.recipe import encoder_stage, policy_stage, prepare, world_model_stage
from cryptoai.training.trainer import Stage

SIZES = {
    "default": {},
    "64x64, 4 layers": {"model": {"layers": 4, "heads": 8}, "training": {"sequence": 64, "batch_size": 64}},
}
STAGES = (encoder_stage, world_model_stage, policy_stage)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5, help="counted steps of each stage")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    for size, tree in SIZES.items():
        config = _config(tree)
        peak = _peak()
        alone = _timed(config, Ranks(), steps)
        for name, row in alone.items():
            report("train", size=size, stage=name, gemm_gflops=round(peak / 1e9, 1), **_figures(row, peak))
        pair = _two_processes(config, steps)
        gains = {name: _gain(alone[name], pair[name]) for name in alone}
        report("train two processes", size=size, **gains, cores=_cores())
    _sizes()


def _config(tree: dict[str, dict[str, int]]) -> Config:
    return build({"data": {"sample_ms": 1000}, **tree})


def _rows() -> list[Dataset]:
    market = synthetic_dataset(0, 3000, step_ms=1000)
    return [Dataset(market.values, market.mask, market.times, market.mid)]


Row = dict[str, float]


def _timed(config: Config, ranks: Ranks, steps: int) -> dict[str, Row]:
    """Median seconds of a step, by the clock and of this process, with what a step works on."""
    job, found = prepare(_rows(), config, ranks), dict[str, Row]()
    for make in STAGES:
        stage = make(job)
        work = stage.operations()
        stage.update(0, 0.0)
        wall, cpu = _steps(stage, steps)
        found[stage.name] = {
            "wall": wall, "cpu": cpu, "work": work, "sequences": stage.sequences, "length": stage.length,
        }  # fmt: skip
    return found


def _steps(stage: Stage, steps: int) -> tuple[float, float]:
    wall, cpu = [], []
    for step in range(1, steps + 1):
        began, used = time.perf_counter(), time.process_time()
        stage.update(step, step / stage.steps)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return statistics.median(wall), statistics.median(cpu)


def _figures(row: Row, peak: float) -> dict[str, float]:
    per = row["sequences"] / row["cpu"]
    return {
        "sequences_per_cpu_s": round(per, 1),
        "timesteps_per_cpu_s": round(per * row["length"]),
        "sequences_per_s": round(row["sequences"] / row["wall"], 1),
        "timesteps_per_s": round(row["sequences"] * row["length"] / row["wall"]),
        "step_cpu_s": round(row["cpu"], 4),
        "gflop_per_step": round(row["work"] / 1e9, 2),
        "share_of_gemm": round(row["work"] / row["cpu"] / peak, 3),
    }


def _peak() -> float:
    """Operations a processor second of a square matrix product, the best of seven."""
    left = torch.ones(1024, 1024)
    return max(2 * 1024**3 / _cpu(lambda: torch.mm(left, left)) for _ in range(7))


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _two_processes(config: Config, steps: int) -> dict[str, Row]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    told = spawn.SimpleQueue()
    ranks = [spawn.Process(target=_rank, args=(rank, port, config, steps, told)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    found: dict[str, Row] = told.get()
    for process in ranks:
        process.join()
    return found


def _rank(rank: int, port: int, config: Config, steps: int, told: multiprocessing.SimpleQueue[dict[str, Row]]) -> None:
    torch.set_num_threads(1)
    with joined(rank, 2, rank, f"tcp://127.0.0.1:{port}") as ranks:
        found = _timed(config, ranks, steps)
        if ranks.leads:
            told.put(found)


def _gain(alone: Row, pair: Row) -> dict[str, float]:
    """By the clock, and by processor time of one rank, which is what a quiet machine would show at best."""
    return {"wall": round(alone["wall"] / pair["wall"], 2), "cpu": round(alone["cpu"] / pair["cpu"], 2)}


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _sizes() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bundle = untrained_bundle(Path(folder) / "bundle", model=ModelConfig())
        size = sum(path.stat().st_size for path in bundle.iterdir())
    found = estimated(_rows(), _config({}))
    report(
        "train sizes",
        bundle_mb=round(size / 1e6, 2),
        parameters_m=round(found.parameters / 1e6, 3),
        weights_mb=round(found.weights / 1e6, 1),
        world_model_step_mb=round(found.world_model_step / 1e6, 1),
        policy_step_mb=round(found.policy_step / 1e6, 1),
        device_gb=round(found.total / 1e9, 3),
        process_peak_gb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    )


if __name__ == "__main__":
    sys.exit(main())
