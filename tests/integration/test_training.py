"""Training as a whole: a bundle from rows, the same one every time, on one process or two, stopped or not."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cryptoai.cli.train import fit
from cryptoai.core.bundle import verify_bundle
from cryptoai.core.config import Config, ModelConfig, build
from cryptoai.core.errors import DataError
from cryptoai.data_universe.schema import SCHEMA_HASH
from cryptoai.testing.market import synthetic_dataset
from cryptoai.training.bundle import BEST
from cryptoai.training.dataset import Dataset
from cryptoai.training.recipe import Origin, train_bundle
from cryptoai.training.record import Progress
from cryptoai.training.trainer import Report, TrainingStoppedError
from cryptoai.world_model import load

SCRIPT = Path(__file__).parents[2] / "scripts" / "run_training.py"
TINY = {
    "data.sample_ms": 1000, "model.hidden_dim": 16, "model.latent_dim": 16, "model.layers": 1, "model.heads": 2,
    "model.context": 4, "training.batch_size": 32, "training.encoder_epochs": 1, "training.world_model_epochs": 1,
    "training.policy_epochs": 2, "training.sequence": 8, "training.horizon": 3,
    "training.threads": 1,
}  # fmt: skip


def tiny(**over: object) -> Config:
    tree: dict[str, dict[str, object]] = {}
    for key, value in (TINY | over).items():
        section, name = key.split(".")
        tree.setdefault(section, {})[name] = value
    return build(tree)


def rows(count: int = 500, seed: int = 0) -> Dataset:
    market = synthetic_dataset(seed, count, step_ms=1000)
    return Dataset(market.values, market.mask, market.times, market.mid)


def command(out: Path, *more: str) -> list[str]:
    sets = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, str(SCRIPT), "--synthetic", *sets, "--set", f"training.checkpoints={out}", *more]


def test_same_data_and_seed_give_a_byte_identical_bundle(tmp_path: Path) -> None:
    """Two trainings, every file equal; another seed is another bundle; what is written verifies and loads."""
    first = train_bundle([rows()], tiny(), tmp_path / "a", origin=Origin(git_sha="x"))
    second = train_bundle([rows()], tiny(), tmp_path / "b", origin=Origin(git_sha="x"))
    assert first.name == second.name
    for path in sorted(first.iterdir()):
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
    other = train_bundle([rows()], tiny(**{"training.seed": 8}), tmp_path / "a", origin=Origin(git_sha="x"))
    assert (other / "policy.safetensors").read_bytes() != (first / "policy.safetensors").read_bytes()
    manifest = verify_bundle(tmp_path / "a" / BEST, schema_hash=SCHEMA_HASH)
    assert manifest.revision.startswith(other.name)
    assert not load(other, ModelConfig(**manifest.config["model"])).training
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted({first.name, other.name, BEST})


def test_stopped_by_a_signal_and_run_again_it_ends_in_the_same_bundle(tmp_path: Path) -> None:
    """SIGTERM in the middle of the world model; the second call goes on; the bundle is the straight run's."""
    straight = train_bundle([rows()], tiny(), tmp_path / "a")

    def stop(now: Progress) -> None:
        if now.stage == "world_model" and now.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingStoppedError, match="stage world_model"):
        train_bundle([rows()], tiny(), tmp_path / "b", on_progress=stop)
    assert not (tmp_path / "b" / BEST).exists()
    assert train_bundle([rows()], tiny(), tmp_path / "b").name == straight.name


def test_a_planted_signal_is_forecast_better_than_knowing_nothing(tmp_path: Path) -> None:
    """On rows that nothing was fitted or chosen on, the forecast beats the unconditional mixture, calibrated."""
    size = {"model.hidden_dim": 32, "model.latent_dim": 32, "training.learning_rate": 0.002, "training.sequence": 16}
    config = tiny(**size, **{"training.world_model_epochs": 3, "model.context": 8})
    folder = train_bundle([rows(3000)], config, tmp_path)
    forecast = json.loads((folder / "evidence.json").read_bytes())["forecast"]
    assert forecast["1"]["gain"] > 2 * forecast["1"]["gain_se"] > 0
    assert 0.35 < forecast["1"]["coverage"]["50%"] < 0.65
    assert forecast["1"]["coverage"]["99%"] > 0.96


def test_noise_is_not_called_a_signal(tmp_path: Path) -> None:
    """With the rows' features shuffled in time nothing can be forecast, and the evidence does not say otherwise."""
    real = rows(1500)
    order = torch.randperm(1500, generator=torch.Generator().manual_seed(0)).numpy()
    noise = Dataset(real.values[order], real.mask[order], real.times, real.mid)
    folder = train_bundle([noise], tiny(**{"training.world_model_epochs": 2}), tmp_path)
    one = json.loads((folder / "evidence.json").read_bytes())["forecast"]["1"]
    assert one["gain"] < 2 * one["gain_se"] + 0.01


def test_data_that_is_too_short_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """Fewer rows than one sequence: the error names the setting, and nothing is left behind."""
    with pytest.raises(DataError, match=r"training\.sequence"):
        train_bundle([rows(40)], tiny(**{"training.sequence": 64}), tmp_path)
    assert not (tmp_path / BEST).exists()


PROBE = """
import sys, torch
from pathlib import Path
from safetensors.torch import save_file
from test_training import rows, tiny
from cryptoai.training.parallel import Ranks, joined
from cryptoai.training.recipe import encoder_stage, policy_stage, world_model_stage, prepare
rank, out = int(sys.argv[1]), Path(sys.argv[2])
torch.set_num_threads(1)
with joined(rank, 2, rank) as ranks:
    job = prepare([rows(200)], tiny(), ranks)
    tensors = {}
    for make in (encoder_stage, world_model_stage, policy_stage):
        stage = make(job)
        for step in range(3):
            stage.update(step, step / 3)
        tensors |= {f"{stage.name}.{name}": t.clone() for name, t in stage.tensors().items()}
    save_file(tensors, out / f"{rank}.safetensors")
"""


def test_two_ranks_hold_the_same_parameters(tmp_path: Path) -> None:
    """Over gloo, with different batches and draws a rank, all parameters and moments stay bitwise equal."""
    env = os.environ | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "PYTHONPATH": str(Path(__file__).parent),
        "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    ranks = [subprocess.Popen([sys.executable, "-c", PROBE, str(rank), str(tmp_path)], env=env) for rank in (0, 1)]
    try:
        assert [rank.wait(timeout=50) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    assert len(first) > 100
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_the_script_trains_on_two_cpu_processes_and_says_so(tmp_path: Path) -> None:
    """`--gpus 2 --synthetic` without CUDA: one line about gloo, the bundle's folder on stdout, a verified bundle."""
    done = subprocess.run(
        command(tmp_path, "--gpus", "2", "--rows", "300"), capture_output=True, text=True, timeout=55, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "no CUDA device here: training in 2 CPU processes over gloo" in done.stderr
    assert "timesteps/s" in done.stderr
    verify_bundle(Path(done.stdout.strip()), schema_hash=SCHEMA_HASH)


def test_sigterm_to_the_script_leaves_no_process_and_a_checkpoint(tmp_path: Path) -> None:
    """The launcher is told to stop while both processes train: they save, all are gone, the code is not zero."""
    long = command(tmp_path, "--gpus", "2", "--rows", "300", "--set", "training.encoder_epochs=100000")
    script = subprocess.Popen(long, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        workers = _wait_for_checkpointing(script.pid)
        script.send_signal(signal.SIGTERM)
        _, said = script.communicate(timeout=40)
    finally:
        script.kill()
        script.wait()
    assert script.returncode == 128 + signal.SIGTERM
    assert "run the same command to go on" in said
    assert list(tmp_path.glob(".work-*/encoders/step_*/model.safetensors"))
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_group_with_a_killed_process_starts_again_and_learns_what_one_process_learns(tmp_path: Path) -> None:
    """SIGKILL to one of two workers: the launcher starts both anew; every tensor is that of one undisturbed process."""
    size = {"training.batch_size": 64, "training.encoder_epochs": 8}
    more = ["--gpus", "2", "--rows", "300"] + [x for key, value in size.items() for x in ("--set", f"{key}={value}")]
    script = subprocess.Popen(command(tmp_path / "b", *more), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        os.kill(_wait_for_checkpointing(script.pid)[1], signal.SIGKILL)
        told, said = script.communicate(timeout=200)
    finally:
        script.kill()
        script.wait()
    assert "killed by SIGKILL; all start again from the newest checkpoint (3 restarts are left)" in said
    assert script.returncode == 0, said
    alone = train_bundle([rows(300, seed=7)], tiny(**size), tmp_path / "a")
    for part in ("encoders", "world_model", "policy"):
        name = f"{part}.safetensors"
        assert (Path(told.strip()) / name).read_bytes() == (alone / name).read_bytes()


class _Heard:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.stages = dict[str, int]()

    def progress(self, now: Progress) -> None:
        self.stages[now.stage] = now.step

    def report(self, done: Report) -> None:
        assert self.stages[done.stage] == done.steps


def test_a_bundle_is_trained_further_and_the_metrics_are_kept(tmp_path: Path) -> None:
    """What `cryptoai train --from` calls: a verdict, then the new bundle, and a row a step for every stage."""
    small = tiny(**{"training.batch_size": 128, "training.checkpoints": str(tmp_path)})
    first = train_bundle([rows(300)], small, tmp_path)
    heard = _Heard()
    verdict, bundle = fit([rows(800)], small, Origin(), first, heard)
    assert verdict.startswith("verdict: ")
    folder = Path(bundle.removeprefix("bundle "))
    assert verify_bundle(folder, schema_hash=SCHEMA_HASH).parent == verify_bundle(first).revision
    assert len(heard.stages) == 4 * 3
    (metrics,) = (tmp_path / "metrics").iterdir()
    assert {path.stem for path in metrics.glob("*.csv")} == set(heard.stages)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_checkpointing(parent: int) -> list[int]:
    """The two workers, once both have joined their group and train (each then catches SIGTERM)."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    deadline = time.monotonic() + 45
    while time.monotonic() < deadline:
        workers = [int(pid) for pid in children.read_text().split()]
        if len(workers) == 2 and all(_handles_sigterm(pid) for pid in workers):
            return workers
        time.sleep(0.2)
    raise AssertionError("the workers never began to train")


def _handles_sigterm(pid: int) -> bool:
    """Whether the process catches SIGTERM, as the trainer does inside a stage only."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
