"""Training itself: what is learned does not depend on interruptions, processes or memory, and is not luck.

`cryptoai verify learning --only training` runs it. The market is synthetic, the sizes are small but for the gates of
size, which are measured at the default configuration.
"""

from __future__ import annotations

import math
import multiprocessing
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cryptoai.core.config import Config, ModelConfig, build
from cryptoai.testing.bundles import untrained_bundle
from cryptoai.testing.gates.gate import Check, Gate
from cryptoai.testing.market import synthetic_dataset
from cryptoai.training.checkpoint import Checkpoint, load_newest, save
from cryptoai.training.dataset import Dataset, Part
from cryptoai.training.estimate import estimated
from cryptoai.training.evidence import forecast_evidence, measure_trust
from cryptoai.training.gradient import GradientStage
from cryptoai.training.parallel import Ranks, joined
from cryptoai.training.recipe import Job, encoder_stage, policy_stage, prepare, world_model_stage
from cryptoai.training.trainer import Stage

__all__ = ["CHECKS"]

PART = "training"
STEPS = 4
"""Steps of each stage that are compared."""
LEAST_SKILL = 1e-4
"""Nats that are no skill: where validation trusts nothing, the forecast is the unconditional one up to rounding."""
STAGES = (encoder_stage, world_model_stage, policy_stage)


def _config(**training: object) -> Config:
    small = {"batch_size": 64, "sequence": 8, "horizon": 3, "encoder_epochs": 3, "world_model_epochs": 3}
    return build(
        {
            "data": {"sample_ms": 1000},
            "model": {"hidden_dim": 16, "latent_dim": 16, "layers": 1, "heads": 2, "context": 4},
            "training": small | {"policy_epochs": STEPS} | training,
        }
    )


def _rows(count: int, seed: int = 0) -> Dataset:
    market = synthetic_dataset(seed, count, step_ms=1000)
    return Dataset(market.values, market.mask, market.times, market.mid)


def _run(stage: Stage, first: int, last: int) -> None:
    for step in range(first, last):
        stage.update(step, step / stage.steps)


def _copied(stage: Stage) -> dict[str, Tensor]:
    return {f"{stage.name}.{name}": tensor.detach().clone() for name, tensor in stage.tensors().items()}


def resume(quick: bool) -> Sequence[Gate]:  # noqa: ARG001 - there is nothing to make shorter
    """Every stage half, written, read into fresh objects, and the rest: against every stage whole."""
    unequal, count = 0, 0
    for make in STAGES:
        whole, half, rest = (make(prepare([_rows(400)], _config(), Ranks())) for _ in range(3))
        _run(whole, 0, STEPS)
        _run(half, 0, STEPS // 2)
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder), Checkpoint(STEPS // 2, 0.0, half.tensors()))
            found = load_newest(Path(folder))
        if found is None:
            raise AssertionError("a checkpoint that was just written is not found")
        rest.load(found.tensors)
        _run(rest, STEPS // 2, STEPS)
        first, second = _copied(whole), _copied(rest)
        unequal += sum(not torch.equal(first[name], second[name]) for name in first)
        count += len(first)
    note = f"parameters, averages and moments of three stages after {STEPS} steps, {count} tensors"
    return [Gate(PART, "tensors that a resumed run gets otherwise", unequal, "0", unequal == 0, note=note)]


def parallel(quick: bool) -> Sequence[Gate]:  # noqa: ARG001
    """Three stages in two processes over gloo, against one process."""
    alone = _learned(Ranks())
    with tempfile.TemporaryDirectory() as folder:
        _two_processes(folder)
        first, second = (load_file(Path(folder) / f"{rank}.safetensors") for rank in (0, 1))
    apart = max(_apart(alone[name], first[name]) for name in alone)
    ranks = max(_apart(second[name], first[name]) for name in alone)
    moved = max(_apart(tensor, alone[name]) for name, tensor in _learned(Ranks(), steps=0).items())
    note = f"{len(alone)} tensors; the largest change by the {STEPS} steps of a stage is {moved:.3g}"
    return [
        Gate(PART, "largest difference, two processes and one", apart, "<= 1e-6", apart <= 1e-6 < moved, note=note),
        Gate(PART, "largest difference between the processes", ranks, "0", ranks == 0.0, note=note),
    ]


def _apart(left: Tensor, right: Tensor) -> float:
    return float((left.double() - right.double()).abs().max()) if left.numel() else 0.0


def _learned(ranks: Ranks, steps: int = STEPS) -> dict[str, Tensor]:
    """The parameters and averages after `steps` steps of each stage."""
    job, found = prepare([_rows(400)], _config(), ranks), dict[str, Tensor]()
    for make in STAGES:
        stage = make(job)
        _run(stage, 0, steps)
        found |= {name: tensor for name, tensor in _copied(stage).items() if tensor.is_floating_point()}
    return {name: tensor for name, tensor in found.items() if bool(torch.isfinite(tensor).all())}


def _two_processes(folder: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    ranks = [spawn.Process(target=_rank, args=(rank, port, folder)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(300)
        if process.exitcode != 0:
            process.kill()
            raise AssertionError(f"a training process ended with {process.exitcode}")


def _rank(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    with joined(rank, 2, rank, f"tcp://127.0.0.1:{port}") as ranks:
        save_file(_learned(ranks), Path(folder) / f"{rank}.safetensors")


def permutation(quick: bool) -> Sequence[Gate]:
    """The same features with the returns in another order: nothing may be forecast, where the true order can be."""
    rows = 5000 if quick else 16_000
    config = _config(sequence=16, learning_rate=0.002, world_model_epochs=3, encoder_epochs=1)
    true = _rows(rows, seed=5)
    real, shuffled = _gain(true, config), _gain(_permuted(true), config)
    limit = max(2 * shuffled["gain_se"], LEAST_SKILL)
    note = f"{shuffled['rows']} test rows; allowed {limit:.4f}; standard error with true labels {real['gain_se']:.4f}"
    passed = shuffled["gain"] <= limit and real["gain"] > 2 * real["gain_se"]
    asked = "<= 2 se or .0001, and the true labels' above 2 of theirs"
    return [
        Gate(PART, "nats won with permuted labels", shuffled["gain"], asked, passed, {"true labels": real["gain"]},
             0.0, note)
    ]  # fmt: skip


def _permuted(data: Dataset) -> Dataset:
    returns = np.diff(np.log(data.mid))
    order = np.random.default_rng(11).permutation(len(returns))
    mid = data.mid[0] * np.exp(np.concatenate([[0.0], np.cumsum(returns[order])]))
    return Dataset(data.values, data.mask, data.times, mid)


def _gain(data: Dataset, config: Config) -> dict[str, Any]:
    """Evidence of the next step's forecast on the test part, after encoders and world model."""
    job = prepare([data], config, Ranks())
    for make in (encoder_stage, world_model_stage):
        stage = make(job)
        _run(stage, 0, stage.steps)
        stage.finish()
    _trust(job)
    found: dict[str, Any] = forecast_evidence(job.model, job.view(Part.TEST), job.corpus.stride)["1"]
    return found


def _trust(job: Job) -> None:
    job.model.eval().requires_grad_(False)
    job.model.set_trust(measure_trust(job.model, job.view(Part.VALIDATE)))


def guard(quick: bool) -> Sequence[Gate]:  # noqa: ARG001
    """Three steps of a world model meet a loss that is no number: left out, counted, and nothing else is."""
    broken = {3, 7, 8}
    stage = world_model_stage(prepare([_rows(600)], _config(), Ranks()))
    if not isinstance(stage, GradientStage):
        raise AssertionError("the world model is not trained by its gradient")
    objective, inner = stage.objective, stage.objective.loss
    step_now = [0]

    def loss(batch: Any, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        value, terms = inner(batch, draws)
        return value * (math.nan if step_now[0] in broken else 1.0), terms

    objective.loss = loss  # type: ignore[method-assign]
    metrics: dict[str, float] = {}
    for step in range(12):
        step_now[0] = step
        metrics = stage.update(step, step / 12)
    finite = all(bool(torch.isfinite(t).all()) for name, t in stage.tensors().items() if name.startswith("model."))
    left_out = metrics["skipped"]
    return [
        Gate(PART, "steps left out of 12, 3 of them broken", left_out, "3, and all parameters finite",
             left_out == len(broken) and finite)
    ]  # fmt: skip


def size(quick: bool) -> Sequence[Gate]:  # noqa: ARG001
    """The bundle on disk and the memory of one device, at the default configuration."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = untrained_bundle(Path(folder) / "bundle", model=ModelConfig())
        megabytes = sum(path.stat().st_size for path in bundle.iterdir()) / 1e6
    found = estimated([_rows(900)], build({"data": {"sample_ms": 1000}}))
    gigabytes = found.total / 1e9
    note = (
        f"{found.parameters / 1e6:.2f} M parameters; weights with gradients, moments and averages "
        f"{found.weights / 1e6:.0f} MB, a step of the world model {found.world_model_step / 1e6:.0f} MB, of the policy "
        f"{found.policy_step / 1e6:.0f} MB, float32"
    )
    return [
        Gate(PART, "bundle, MB", megabytes, "<= 100", megabytes <= 100.0, note=note),
        Gate(PART, "memory of one device, estimated, GB", gigabytes, "<= 12", gigabytes <= 12.0, note=note),
    ]


CHECKS: tuple[Check, ...] = (
    Check("training.resume", resume),
    Check("training.parallel", parallel),
    Check("training.permutation", permutation),
    Check("training.guard", guard),
    Check("training.size", size),
)
