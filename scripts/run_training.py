"""Trains a bundle on several devices: python scripts/run_training.py --config configs/default.yaml --gpus 2

Starts one process a GPU with torch's elastic launcher (what `torchrun` is), or as many CPU processes over gloo where
there is no GPU, and says so. Started by torchrun itself it joins the group it finds. Ctrl-C and SIGTERM reach every
process, each stage leaves a checkpoint, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cryptoai.cli.console import err, fail_in_one_sentence
from cryptoai.cli.settings import load_config
from cryptoai.core.errors import ConfigError, CryptoAIError

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from cryptoai.core.config import Config
    from cryptoai.training.dataset import Dataset
    from cryptoai.training.recipe import Origin
    from cryptoai.training.trainer import Progress, Report

_PR_SET_PDEATHSIG = 1


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    return fail_in_one_sentence(lambda: _train(args) if "RANK" in os.environ or args.gpus == 1 else _launch(args))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train encoders, world model and policy into a verified bundle.")
    parser.add_argument("--config", type=Path, help="YAML file of settings, for example configs/default.yaml")
    parser.add_argument("--gpus", type=int, default=1, help="processes, one a GPU; CPU processes where there is none")
    parser.add_argument("--synthetic", action="store_true", help="train on a synthetic market with a planted signal")
    parser.add_argument("--rows", type=int, default=2000, help="rows of the synthetic market")
    parser.add_argument("--data", type=Path, help="folder of the lake; default: data.lake of the configuration")
    parser.add_argument(
        "--assets", nargs="+", default=["BTCUSDT"], help="what to train on, for example BTCUSDT ETHUSDT"
    )
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE", help="override a key")
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


def _launch(args: argparse.Namespace) -> int:
    """One process a device; the exit code of the first that fails, 0 when all are done."""
    _config(args)  # a mistake is told once, before anything starts
    if args.gpus < 1:
        raise ConfigError(f"--gpus {args.gpus}: give the number of processes, at least 1")
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)  # the launcher's own words; the processes speak for themselves
    plan = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=_processes(args.gpus), run_id=f"cryptoai-{os.getpid()}",
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0, monitor_interval=0.2,
        logs_specs=DefaultLogsSpecs(),
    )  # fmt: skip
    try:
        elastic_launch(plan, sys.executable)(str(Path(__file__).resolve()), *args.argv)
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        if code < 0:
            raise CryptoAIError(f"a training process was killed by {signal.Signals(-code).name}") from None
        return code  # the process has said why
    except SignalException as stop:
        err.print(f"stopped by {signal.Signals(stop.sigval).name}")
        return 128 + stop.sigval
    return 0


def _processes(wanted: int) -> int:
    import torch

    found = torch.cuda.device_count()
    if found == 0:
        err.print(f"no CUDA device here: training in {wanted} CPU processes over gloo")
        return wanted
    if found < wanted:
        err.print(f"{found} CUDA devices here, {wanted} asked for: training on {found}")
    return min(found, wanted)


def _train(args: argparse.Namespace) -> None:
    """One process of the group, or the only one."""
    _die_with_parent()
    import torch

    from cryptoai.training.parallel import Ranks, joined

    world = int(os.environ.get("WORLD_SIZE", "1"))
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // world))
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
    config = _config(args)
    if "RANK" not in os.environ:
        _fit(args, config, Ranks.current())
        return
    with joined(int(os.environ["RANK"]), world, int(os.environ.get("LOCAL_RANK", "0"))) as ranks:
        if not ranks.leads:
            err.quiet = True  # all ranks fail alike; one says it
        _fit(args, config, ranks)


def _fit(args: argparse.Namespace, config: Config, ranks: object) -> None:
    from cryptoai.training.recipe import train_bundle

    datasets, origin = _synthetic(args, config) if args.synthetic else _recorded(args, config)
    with _bars() as bars:
        show = _Show(bars)
        folder = train_bundle(
            datasets, config, Path(config.training.checkpoints),
            origin=origin, on_progress=show.progress, on_report=show.report,
        )  # fmt: skip
    if getattr(ranks, "leads", True):
        print(folder)


def _synthetic(args: argparse.Namespace, config: Config) -> tuple[list[Dataset], Origin]:
    from cryptoai.cli.train import git_sha
    from cryptoai.testing.market import synthetic_dataset
    from cryptoai.training.dataset import Dataset
    from cryptoai.training.recipe import Origin

    market = synthetic_dataset(config.training.seed, args.rows, step_ms=config.data.sample_ms)
    rows = Dataset(market.values, market.mask, market.times, market.mid)
    return [rows], Origin(git_sha=git_sha(), data_fingerprint=f"synthetic-{rows.fingerprint()}")


def _recorded(args: argparse.Namespace, config: Config) -> tuple[list[Dataset], Origin]:
    from cryptoai.cli.tapes import fingerprint, load_feeds
    from cryptoai.cli.train import git_sha, training_rows
    from cryptoai.training.recipe import Origin

    feeds = load_feeds(config, args.assets)
    rows = [training_rows(config, feed, feeds) for feed in feeds]
    return rows, Origin(git_sha=git_sha(), data_fingerprint=fingerprint(feeds))


def _config(args: argparse.Namespace) -> Config:
    lake = [] if args.data is None else [f"data.lake={args.data}"]
    return load_config(args.config, [*lake, *args.sets])


class _Show:
    """A bar for each stage, and one line with its throughput when it is done."""

    def __init__(self, bars: Bars) -> None:
        self._bars, self._tasks = bars, dict[str, object]()

    def progress(self, now: Progress) -> None:
        if now.stage not in self._tasks:
            self._tasks[now.stage] = self._bars.add_task(now.stage, total=now.steps, note="")
        note = f"loss {now.metrics['loss']:.3f}  {now.timesteps_per_s:,.0f} steps/s  {now.eta_s:.0f} s left"
        self._bars.update(self._tasks[now.stage], completed=now.step, note=note)  # type: ignore[arg-type]

    def report(self, done: Report) -> None:
        rates = f"{done.sequences_per_s:,.0f} sequences/s, {done.timesteps_per_s:,.0f} timesteps/s"
        err.print(f"{done.stage}: {done.steps} steps in {done.seconds:.1f} s ({rates})")


def _bars() -> Bars:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    return Bars(*columns, console=err, disable=not err.is_terminal)


def _die_with_parent() -> None:
    """Linux only: a launcher that is killed outright takes its processes along."""
    if sys.platform == "linux" and "RANK" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
