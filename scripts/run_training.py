"""Trains a bundle on several devices: python scripts/run_training.py --config configs/default.yaml --gpus 2

Starts one process a GPU with torch's elastic launcher (what `torchrun` is), or as many CPU processes over gloo where
there is no GPU, and says so. Started by torchrun itself it joins the group it finds. Ctrl-C and SIGTERM reach every
process, each stage leaves a checkpoint, and the same command goes on from there. A group of which a process was
killed is started again from the newest checkpoint, by itself.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cryptoai.cli.console import err, fail_in_one_sentence
from cryptoai.cli.settings import load_config
from cryptoai.cli.train_watch import watching
from cryptoai.core.errors import ConfigError, CryptoAIError, TransientError

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from cryptoai.core.config import Config
    from cryptoai.training.dataset import Dataset
    from cryptoai.training.parallel import Ranks
    from cryptoai.training.recipe import Origin
    from cryptoai.training.record import Progress
    from cryptoai.training.trainer import Report

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
    parser.add_argument("--from", dest="champion", type=Path, help="bundle to train further; promoted only if no worse")
    parser.add_argument("--watch", action="store_true", help="a live table of the stages")
    parser.add_argument("--restarts", type=int, default=3, help="how often a group with a killed process starts anew")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE", help="override a key")
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


def _launch(args: argparse.Namespace) -> int:
    """One process a device; the exit code of the first that fails, 0 when all are done."""
    _config(args)  # a mistake is told once, before anything starts
    if args.gpus < 1:
        raise ConfigError(f"--gpus {args.gpus}: give the number of processes, at least 1")
    logging.disable(logging.CRITICAL)  # the launcher's own words; the processes speak for themselves
    processes = _processes(args.gpus)
    for left in range(max(args.restarts, 0), -1, -1):
        code = _run_group(processes, args.argv)
        if code >= 0:
            return code
        killed = f"a training process was killed by {signal.Signals(-code).name}"
        if left:
            err.print(f"{killed}; all start again from the newest checkpoint ({left} restarts are left)")
    raise CryptoAIError(f"{killed}; free memory or processors, then run the same command to go on")


def _run_group(processes: int, argv: Sequence[str]) -> int:
    """The exit code of the first process that fails, negative if a signal killed it; 0 when all are done."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    plan = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, run_id=f"cryptoai-{os.getpid()}",
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0, monitor_interval=0.2,
        logs_specs=DefaultLogsSpecs(),
    )  # fmt: skip
    try:
        elastic_launch(plan, sys.executable)(str(Path(__file__).resolve()), *argv)
    except ChildFailedError as error:
        return _cause(error)
    except SignalException as stop:
        err.print(f"stopped by {signal.Signals(stop.sigval).name}")
        return 128 + stop.sigval
    return 0


def _cause(error: ChildFailedError) -> int:
    """The exit code that began it: the launcher ends the others by SIGTERM, or they fail for want of a neighbour."""
    codes = [failure.exitcode for failure in error.failures.values()]
    killed = [code for code in codes if code < 0 and code != -signal.SIGTERM]
    return killed[0] if killed else int(error.get_first_failure()[1].exitcode)


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
    config = _config(args)
    torch.set_num_threads(config.training.threads or max(1, (os.cpu_count() or 1) // world))
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
    if "RANK" not in os.environ:
        _fit(args, config, Ranks.current())
        return
    with joined(int(os.environ["RANK"]), world, int(os.environ.get("LOCAL_RANK", "0"))) as ranks:
        if not ranks.leads:
            err.quiet = True  # all ranks fail alike; one says it
        try:
            _fit(args, config, ranks)
        except RuntimeError as error:
            if "onnection" not in str(error):
                raise
            raise TransientError("another training process ended, so this one does") from error


def _fit(args: argparse.Namespace, config: Config, ranks: Ranks) -> None:
    from cryptoai.cli.train import fit

    datasets, origin = _synthetic(args, config) if args.synthetic else _recorded(args, config)
    with watching() if args.watch and ranks.leads else _bars() as told:
        lines = fit(datasets, config, origin, args.champion, told)
    if ranks.leads:
        for line in lines[:-1]:
            err.print(line)
        print(lines[-1].removeprefix("bundle "))


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
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def progress(self, now: Progress) -> None:
        if now.stage not in self._tasks:
            self._tasks[now.stage] = self._bars.add_task(now.stage, total=now.steps, note="")
        note = f"loss {now.metrics['loss']:.3f}  {now.timesteps_per_s:,.0f} timesteps/s  {now.eta_s:.0f} s left"
        self._bars.update(self._tasks[now.stage], completed=now.step, note=note)

    def report(self, done: Report) -> None:
        rates = f"{done.sequences_per_s:,.1f} sequences/s, {done.timesteps_per_s:,.0f} timesteps/s"
        rates += "" if done.mfu is None else f", {done.mfu:.0%} of a matrix product's speed"
        err.print(f"{done.stage}: {done.steps} steps in {done.seconds:.1f} s ({rates})")


@contextmanager
def _bars() -> Iterator[_Show]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Bars(*columns, console=err, disable=not err.is_terminal) as bars:
        yield _Show(bars)


def _die_with_parent() -> None:
    """Linux only: a launcher that is killed outright takes its processes along."""
    if sys.platform == "linux" and "RANK" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
