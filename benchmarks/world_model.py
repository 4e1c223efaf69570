"""The world model at its default size on one thread: a training step against its floor, and imagination.

The floor is the step's matrix products, counted exactly, at the rate of a square product measured between the steps.
Processor seconds stand beside wall-clock seconds, and the share of the floor is taken of them: on a busy machine they
still compare like with like.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from harness import report
from torch.utils.flop_counter import FlopCounterMode

from cryptoai.core.config import build
from cryptoai.testing.market import synthetic_dataset
from cryptoai.training.dataset import Corpus, Dataset, Timing
from cryptoai.training.gradient import GradientConfig, GradientStage
from cryptoai.training.parallel import Ranks
from cryptoai.training.seeds import initialised
from cryptoai.training.stages import WorldModelObjective
from cryptoai.world_model import WorldModel
from cryptoai.world_model.rollout import imagined_returns

SEQUENCES = LENGTH = 64
SIDE = 1024
ROUNDS = 7
STARTS, IMAGINED = 256, 15


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def step_against_floor(stage: GradientStage, model: WorldModel) -> None:
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    stage.update(0, 0.0)  # scores the validation part too, so it is not the one that is counted
    with FlopCounterMode(display=False) as counter:
        stage.update(1, 0.5)
    flops = counter.get_total_flops()
    steps, products = [], []
    for turn in range(2, ROUNDS + 2):
        products.append(spent(lambda: left @ right))
        steps.append(spent(lambda s=turn: stage.update(s, 0.5)))  # type: ignore[misc]
        products.append(spent(lambda: left @ right))
    rate = 2 * SIDE**3 / min(processor for _, processor in products)
    wall, processor = (statistics.median(column) for column in zip(*steps, strict=True))
    report(
        "world_model.step", parameters=sum(p.numel() for p in model.parameters()), gflop=round(flops / 1e9, 2),
        gemm_gflops=round(rate / 1e9, 1), floor_s=round(flops / rate, 3), wall_s=round(wall, 3),
        processor_s=round(processor, 3), mfu=round(flops / rate / processor, 3),
        best_mfu=round(flops / rate / min(p for _, p in steps), 3),
        timesteps_per_s=round(SEQUENCES * LENGTH / processor), sequences_per_s=round(SEQUENCES / processor, 1),
    )  # fmt: skip


def imagination(model: WorldModel, corpus: Corpus) -> None:
    batch = corpus.sequences(corpus.starts(0, 16)[:STARTS], 16)  # type: ignore[arg-type]
    draws = torch.Generator().manual_seed(0)
    start = model.start(batch.values, batch.mask, room=IMAGINED)
    taken = [spent(lambda: imagined_returns(model, start, (IMAGINED,), 1, draws)) for _ in range(ROUNDS)]
    wall, processor = (statistics.median(column) for column in zip(*taken, strict=True))
    report(
        "world_model.imagination", starts=STARTS, steps=IMAGINED, wall_s=round(wall, 3),
        processor_s=round(processor, 3), latent_steps_per_s=round(STARTS * IMAGINED / processor),
    )  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    settings = build({"data": {"sample_ms": 1000}, "training": {"batch_size": SEQUENCES, "sequence": LENGTH}})
    market = synthetic_dataset(1, 4000, step_ms=1000)
    ranks = Ranks.current()
    data = Dataset(market.values, market.mask, market.times, market.mid)
    corpus = Corpus.of([data], Timing.of(settings), ranks.device)
    with initialised(7, "weights"):
        model = WorldModel(settings.model)
    model.encoder.scaler.fit(market.values, market.mask)
    objective = WorldModelObjective(model, corpus, settings, ranks)
    objective.steps, objective.score_every = 1000, 1000
    step_against_floor(GradientStage(objective, GradientConfig(), ranks, 7), model)
    imagination(model.eval().requires_grad_(False), corpus)


if __name__ == "__main__":
    main()
