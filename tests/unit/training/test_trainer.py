"""The engine: resume equals a straight run, signals leave a checkpoint, a loss that is no number stops it."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cryptoai.core.clock import SECOND, ReplayClock
from cryptoai.core.config import Config
from cryptoai.core.errors import DataError
from cryptoai.training.checkpoint import Checkpoint, load_newest, save
from cryptoai.training.dataset import Corpus, Dataset, Timing
from cryptoai.training.gradient import GradientConfig, GradientStage, learning_rate
from cryptoai.training.guard import DivergedError
from cryptoai.training.parallel import Ranks
from cryptoai.training.record import Progress
from cryptoai.training.seeds import initialised
from cryptoai.training.stages import EncoderObjective, PolicyStage, WorldModelObjective
from cryptoai.training.trainer import Stage, Trainer, TrainingStoppedError
from cryptoai.world_model import WorldModel

ALONE = Ranks()
Market = Callable[..., Dataset]


@dataclass
class Line:
    """Fits y = w x; optionally breaks or is asked to stop at a step."""

    break_at: tuple[int, ...] = ()
    stop_at: int = -1
    steps: int = 12
    name: str = "line"
    sequences: int = 4
    length: int = 1
    shards: int = 4
    score_every: int = 4

    def __post_init__(self) -> None:
        with initialised(0, "line"):
            self.module: nn.Module = nn.Linear(3, 1)

    def batch(self, ranks: Ranks, step: int, shard: int) -> Tensor:  # noqa: ARG002
        if (step, shard) == (self.stop_at, 0):
            os.kill(os.getpid(), signal.SIGTERM)
        return torch.full((4, 3), math.nan if step in self.break_at else 1.0 + shard)

    def loss(self, batch: Tensor, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        noisy = batch + torch.rand(batch.shape, generator=draws)
        loss = (self.module(noisy) - noisy.sum(-1, keepdim=True)).square().mean()
        return loss, {"squared": loss}

    def score(self) -> float | None:
        return None


def stage(line: Line) -> GradientStage:
    return GradientStage(line, GradientConfig(learning_rate=0.05), ALONE, seed=1)


def trainer(folder: Path, **more: object) -> Trainer:
    return Trainer(folder, ALONE, ReplayClock(), **more)  # type: ignore[arg-type]


def test_a_resumed_run_equals_a_straight_one(tmp_path: Path) -> None:
    """Stopped by SIGTERM in the middle and started again, parameters and moments are bitwise equal."""
    straight = stage(Line())
    trainer(tmp_path / "a").fit(straight)
    with pytest.raises(TrainingStoppedError, match="step 6 of 12"):
        trainer(tmp_path / "b").fit(stage(Line(stop_at=5)))
    resumed = stage(Line())
    report = trainer(tmp_path / "b").fit(resumed)
    assert report.steps == 12
    first, second = straight.tensors(), resumed.tensors()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(name.startswith("optimizer.") for name in first)


@pytest.mark.parametrize("kind", ["encoders", "world_model", "policy"])
def test_every_real_stage_resumes_bitwise(tmp_path: Path, market: Market, config: Config, kind: str) -> None:
    """Half a stage, a fresh process's objects, the other half: equal to the whole, best parameters included."""
    corpus = Corpus.of([market(300)], Timing.of(config), ALONE.device)

    def fresh() -> Stage:
        with initialised(0, "t"):
            model = WorldModel(config.model)
            if kind == "policy":
                from cryptoai.decision_engine.critic import Critic
                from cryptoai.decision_engine.policy import Policy

                nets = Policy(model.feature_dim, 16), Critic(model.feature_dim, 16)
                return PolicyStage(model, *nets, corpus, config, ALONE, cost=0.1)
        objective = EncoderObjective(model.encoder, corpus, config, ALONE) if kind == "encoders" else None
        return GradientStage(
            objective or WorldModelObjective(model, corpus, config, ALONE), GradientConfig(), ALONE, seed=1
        )

    whole, half, rest = fresh(), fresh(), fresh()
    steps = min(whole.steps, 6)
    for one in (whole, half, rest):
        one.steps = steps
    for step in range(steps):
        whole.update(step, step / steps)
    for step in range(steps // 2):
        half.update(step, step / steps)
    save(tmp_path, Checkpoint(steps // 2, 0.0, half.tensors()))
    found = load_newest(tmp_path)
    assert found is not None
    rest.load(found.tensors)
    for step in range(steps // 2, steps):
        rest.update(step, step / steps)
    first, second = whole.tensors(), rest.tensors()
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_a_loss_that_is_no_number_is_left_out_and_counted(tmp_path: Path) -> None:
    """Two broken steps that are not neighbours: no parameter moves in them, the rest is trained, the count is told."""
    seen: list[Tensor] = []
    one = stage(Line(break_at=(3, 7)))
    inner = one.update

    def watched(step: int, progress: float) -> dict[str, float]:
        seen.append(one.tensors()["model.weight"].clone())
        return inner(step, progress)

    one.update = watched  # type: ignore[method-assign]
    report = trainer(tmp_path).fit(one)
    assert report.metrics["skipped"] == 2
    assert torch.equal(seen[3], seen[4])
    assert not torch.equal(seen[4], seen[5])


def test_many_broken_steps_in_a_row_stop_it_and_keep_the_last_good_parameters(tmp_path: Path) -> None:
    """The fifth in a row is one too many: the error names stage and step, the checkpoint is finite."""
    with pytest.raises(DivergedError, match=r"stage line: loss nan .* step 7, the 5th in a row"):
        trainer(tmp_path).fit(stage(Line(break_at=(3, 4, 5, 6, 7))))
    kept = load_newest(tmp_path / "line")
    assert kept is not None
    assert kept.step == 7
    model = [tensor for name, tensor in kept.tensors.items() if name.startswith(("model.", "average.", "optimizer."))]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in model)


def test_signals_get_their_handlers_back(tmp_path: Path) -> None:
    """Outside of fit the process listens as before."""
    before = signal.getsignal(signal.SIGTERM)
    trainer(tmp_path).fit(stage(Line()))
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_time_limit_ends_a_stage(tmp_path: Path) -> None:
    """A second a step and three seconds allowed: three steps, and a finished report."""
    clock = ReplayClock()

    class Slow(Line):
        def batch(self, ranks: Ranks, step: int, shard: int) -> Tensor:
            clock.advance_to(clock.now_ns() + SECOND // 4)
            return super().batch(ranks, step, shard)

    report = Trainer(tmp_path, ALONE, clock, max_seconds=3.0).fit(stage(Slow()))
    assert report.steps == 3
    assert report.sequences_per_s == pytest.approx(4.0)


def test_progress_counts_sequences_and_time_left(tmp_path: Path) -> None:
    """One call a step, with throughput in both units."""
    clock, seen = ReplayClock(), list[Progress]()

    class Steady(Line):
        def batch(self, ranks: Ranks, step: int, shard: int) -> Tensor:
            clock.advance_to(clock.now_ns() + SECOND // 8)
            return super().batch(ranks, step, shard)

    Trainer(tmp_path, ALONE, clock, on_progress=seen.append).fit(stage(Steady(length=8)))
    assert [now.step for now in seen] == list(range(1, 13))
    assert (seen[3].sequences_per_s, seen[3].timesteps_per_s, seen[3].eta_s) == (8.0, 64.0, 4.0)
    assert seen[0].metrics["squared"] == seen[0].metrics["loss"]


def test_the_best_parameters_are_the_ones_that_stay(tmp_path: Path) -> None:
    """A score that is best at the second look puts the average of that moment in place at the end."""
    scores = iter([3.0, 1.0, 2.0, 5.0])

    class Scored(Line):
        def score(self) -> float | None:
            return next(scores)

    one = stage(Scored())
    seen: list[Tensor] = []
    inner = one.update

    def watched(step: int, progress: float) -> dict[str, float]:
        seen.append(one.tensors()["average.weight"].clone())
        return inner(step, progress)

    one.update = watched  # type: ignore[method-assign]
    trainer(tmp_path).fit(one)
    assert torch.equal(one.tensors()["model.weight"], seen[4])


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """One flipped byte in the newest: the one before it is read; only two are kept."""
    for step in (1, 2, 3):
        save(tmp_path, Checkpoint(step, float(step), {"x": torch.full((3,), float(step))}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step_00000002", "step_00000003"]
    assert (tmp_path / "latest").resolve().name == "step_00000003"
    newest = tmp_path / "step_00000003" / "model.safetensors"
    raw = bytearray(newest.read_bytes())
    raw[-1] ^= 1
    newest.write_bytes(bytes(raw))
    found = load_newest(tmp_path)
    assert found is not None
    assert (found.step, found.elapsed, found.tensors["x"].tolist()) == (2, 2.0, [2.0, 2.0, 2.0])


def test_a_checkpoint_says_where_it_comes_from(tmp_path: Path) -> None:
    """Step, metrics, origin and the hash of every tensor are in its manifest; a loss that is no number is left out."""
    tensors = {"model.w": torch.ones(2), "optimizer.0.exp_avg": torch.zeros(2)}
    save(tmp_path, Checkpoint(3, 1.5, tensors, {"loss": 0.25, "odd": math.nan}), {"seed": 7, "parent": None})
    said = json.loads((tmp_path / "latest" / "manifest.json").read_bytes())
    assert (said["step"], said["metrics"], said["origin"]) == (3, {"loss": 0.25}, {"seed": 7, "parent": None})
    assert {name: list(found) for name, found in said["tensors"].items()} == {
        "model.safetensors": ["model.w"], "optim.safetensors": ["optimizer.0.exp_avg"],
    }  # fmt: skip


def test_a_checkpoint_of_an_unknown_format_is_refused(tmp_path: Path) -> None:
    """It is neither guessed at nor passed over, which would throw away what was learned."""
    save(tmp_path, Checkpoint(1, 0.0, {"x": torch.ones(1)}))
    path = tmp_path / "latest" / "manifest.json"
    path.write_text(path.read_text().replace('"format":1', '"format":2'))
    with pytest.raises(DataError, match="has format 2, this build reads 1"):
        load_newest(tmp_path)


def test_the_learning_rate_rises_then_falls() -> None:
    """Linear to the peak over the first twentieth, then a cosine to a twentieth of it."""
    config = GradientConfig(learning_rate=1.0)
    rates = [learning_rate(config, step, 100, step / 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[4] or max(rates) == rates[5]
    assert rates[100] == pytest.approx(0.05)
    assert all(late <= early for early, late in pairwise(rates[5:]))
