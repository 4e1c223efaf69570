"""Work for executors and studies in tests: tasks that fail or kill their worker, a model that follows the order flow.

At module level, because worker processes import what they run by name. Nothing that trades may use it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptoai.backtesting.executor import Job, Outcome, Task, Work
from cryptoai.core.config import Config
from cryptoai.core.errors import CryptoAIError, DataError
from cryptoai.core.messages import Inference
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.execution.ports import Model
from cryptoai.testing.fakes import make_inference

__all__ = ["Chores", "Follower", "SerialExecutor", "open_follower"]

REVISION = "f" * 32


@dataclass(frozen=True, slots=True)
class Chores:
    """{"square": n} squares; {"fail": text} raises; {"die": name} kills its worker while `folder`/name is absent.

    The file is made just before, so that a task dies once; {"die": ""} dies every time.
    """

    folder: Path

    def open(self) -> Work:
        """Nothing to load."""
        return self._do

    def _do(self, body: Mapping[str, Any]) -> dict[str, Any]:
        if "fail" in body:
            raise DataError(str(body["fail"]))
        if "die" in body:
            mark = self.folder / body["die"]
            if not mark.is_file():
                if body["die"]:
                    mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return {"squared": int(body["square"]) ** 2, "pid": os.getpid()}


class SerialExecutor:
    """`executor.Executor` in this process, one task after the other; stops dead after `most` of them."""

    def __init__(self, most: int = 1 << 30) -> None:
        self.done = 0
        self._most = most

    def run(self, job: Job, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """See the port; KeyboardInterrupt after `most` tasks, as if someone had pressed Ctrl-C."""
        work = job.open() if tasks else None
        for task in tasks:
            if work is None or self.done >= self._most:
                raise KeyboardInterrupt
            try:
                outcome = Outcome(task, work(task.body))
            except CryptoAIError as error:
                outcome = Outcome(task, None, str(error))
            self.done += 1
            yield outcome


class Follower:
    """Long where buyers were the aggressors of the last second."""

    _AT = schema.index("trade_imbalance_1s")

    def decide(self, history: Sequence[StateVector]) -> Inference:
        """One feature, one answer."""
        value = max(-1.0, min(1.0, history[-1].floats()[self._AT]))
        return make_inference(value, revision=REVISION, schema_hash=schema.SCHEMA_HASH, timing=0.2)


def open_follower(spec: str | None, config: Config) -> tuple[Model, str]:  # noqa: ARG001 - it needs neither
    """Stands where `cli.models.open_model` does."""
    return Follower(), REVISION
