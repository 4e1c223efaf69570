"""A Spark cluster as an `executor.Executor`: a grid whose trials run on other machines.

`cryptoai backtest --spark MASTER` uses it (`local[2,4]`, `spark://host:7077`, `k8s://https://host`); ADR 9 says why
Spark. Every machine needs CryptoAI installed and sees the lake and the bundle under the same paths. Spark gives the
task of a lost worker to another one; what it gives up comes back as an error. It must never judge a trial.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from cryptoai.backtesting.executor import Job, Outcome, Task, Work
from cryptoai.core.errors import ConfigError

__all__ = ["SparkExecutor"]


@dataclass(frozen=True, slots=True)
class SparkExecutor:
    """Tasks under way at once are as many as Spark has cores, or `parallel`; `deaths` is Spark's own limit a task."""

    master: str
    parallel: int = 0
    deaths: int = 3

    def run(self, job: Job, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """See `Executor`; leaving the iteration early cancels what is under way."""
        context = self._context()
        try:
            shared = context.broadcast(job)
            with ThreadPoolExecutor(self.parallel or context.defaultParallelism) as pool:
                asked = [pool.submit(_ask, context, shared, task) for task in tasks]
                try:
                    for answer in as_completed(asked):
                        yield answer.result()
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
                    context.cancelAllJobs()
        finally:
            context.stop()

    def _context(self) -> Any:
        try:
            pyspark = importlib.import_module("pyspark")
        except ImportError:
            raise ConfigError("--spark needs Spark on this machine: pip install pyspark, and Java 17") from None
        settings = pyspark.SparkConf().setMaster(self.master).setAppName("cryptoai")
        settings.set("spark.ui.enabled", "false").set("spark.task.maxFailures", str(self.deaths))
        return pyspark.SparkContext(conf=settings)


def _ask(context: Any, shared: Any, task: Task) -> Outcome:
    """One task as one job of one partition, so that its result comes back when it is done."""
    try:
        run = context.applicationId
        work = context.parallelize([dict(task.body)], 1).map(lambda body: _work(run, shared, body))
        ((result, reason),) = work.collect()
    except Exception as error:  # noqa: BLE001 - whatever Spark says of a task is that task's outcome
        lines = [line for line in str(error).splitlines() if line.strip()]
        return Outcome(task, None, f"Spark gave it up: {lines[0][:200] if lines else type(error).__name__}")
    return Outcome(task, result, reason)


_OPEN: dict[str, Work] = {}
"""The work that this worker process has opened, by run: tapes and model are loaded once, not for each task."""


def _work(run: str, shared: Any, body: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Runs in a worker of the cluster."""
    try:
        if run not in _OPEN:
            _OPEN[run] = shared.value.open()
        return _OPEN[run](body), ""
    except Exception as error:  # noqa: BLE001 - one task's failure is its result, not the end of the others
        return None, str(error) or type(error).__name__
