"""What only a CUDA device can show: bfloat16 with float32 losses, real memory, real exhaustion, NCCL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cryptoai.core.bundle import verify_bundle
from cryptoai.core.config import Config, build
from cryptoai.data_universe.schema import SCHEMA_HASH
from cryptoai.testing.market import synthetic_dataset
from cryptoai.training.dataset import Dataset
from cryptoai.training.estimate import estimated
from cryptoai.training.gradient import GradientStage
from cryptoai.training.parallel import Ranks
from cryptoai.training.recipe import prepare, world_model_stage

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

SCRIPT = Path(__file__).parents[2] / "scripts" / "run_training.py"


def rows(count: int = 2000) -> Dataset:
    market = synthetic_dataset(0, count, step_ms=1000)
    return Dataset(market.values, market.mask, market.times, market.mid)


def config(**training: int) -> Config:
    return build({"data": {"sample_ms": 1000}, "training": training})


def stage(chosen: Config) -> GradientStage:
    made = world_model_stage(prepare([rows()], chosen, Ranks.current()))
    assert isinstance(made, GradientStage)
    return made


@pytest.fixture
def fresh() -> Iterator[None]:
    """No memory of another test, and no limit left behind."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.usefixtures("fresh")
def test_losses_and_parameters_are_float32_under_bfloat16() -> None:
    """Autocast computes in bfloat16; the loss, its terms and what is learned stay in float32, and are finite."""
    one = stage(config())
    batch = one.objective.batch(Ranks.current(), 0, 0)
    draws = torch.Generator("cuda").manual_seed(0)
    with torch.autocast("cuda", torch.bfloat16):
        loss, terms = one.objective.loss(batch, draws)
    assert {loss.dtype, *(term.dtype for term in terms.values())} == {torch.float32}
    metrics = one.update(0, 0.0)
    assert metrics["skipped"] == 0
    assert {p.dtype for p in one.objective.module.parameters()} == {torch.float32}


@pytest.mark.usefixtures("fresh")
def test_the_default_configuration_needs_less_than_twelve_gigabytes() -> None:
    """Measured, not estimated; and the estimate is not below what is measured by more than the allocator's slack."""
    one = stage(config())
    for step in range(3):
        one.update(step, 0.0)
    peak = torch.cuda.max_memory_allocated()
    assert peak <= 12e9
    assert peak <= 2 * estimated([rows()], config()).total + 2e9


@pytest.mark.usefixtures("fresh")
def test_a_full_device_makes_smaller_passes_and_learns_the_same() -> None:
    """With the device's memory limited to less than a wide pass needs, the plan shrinks and the loss agrees."""
    chosen = config(batch_size=512, sequence=64)
    wide = stage(chosen)
    before = torch.cuda.memory_allocated()
    expected = wide.update(0, 0.0)["loss"]
    needed = torch.cuda.max_memory_allocated() - before
    plan = wide.memory.together
    del wide
    torch.cuda.empty_cache()
    tight = stage(chosen)
    room = torch.cuda.memory_allocated() + 0.6 * needed
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
    assert tight.update(0, 0.0)["loss"] == pytest.approx(expected, rel=1e-3)
    assert tight.memory.together < plan


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices here")
def test_two_devices_train_over_nccl(tmp_path: Path) -> None:
    """The same command as for two CPU processes; a verified bundle."""
    done = subprocess.run(
        [
            sys.executable, str(SCRIPT), "--synthetic", "--gpus", "2", "--rows", "1500",
            "--set", "data.sample_ms=1000", "--set", "training.encoder_epochs=1",
            "--set", "training.world_model_epochs=1", "--set", "training.policy_epochs=2",
            "--set", f"training.checkpoints={tmp_path}",
        ],
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verify_bundle(Path(done.stdout.strip()), schema_hash=SCHEMA_HASH)
