"""Many independent tasks over many processes: what a grid and a walk-forward are run with.

`Executor` is the port; `ProcessExecutor` uses the cores of this machine, an adapter may use those of a cluster. Results
come back one by one, as they finish. A worker that dies (killed, out of memory) loses nothing: its task is given to
a new one, and after too many deaths comes back as an error. An executor must never drop a task.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from cryptoai.core.errors import InvariantError

__all__ = ["Executor", "Job", "Outcome", "ProcessExecutor", "Task", "Work"]

Work = Callable[[Mapping[str, Any]], dict[str, Any]]


class Job(Protocol):
    """What every worker does; it is pickled once for each worker."""

    def open(self) -> Work:
        """Loads what all tasks share (tapes, model) and returns the function of one task."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """`key` names it, `body` is handed to the worker; both are plain data."""

    key: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`result` is what the work returned; None with the reason in `error`. `deaths` counts the workers it outlived."""

    task: Task
    result: dict[str, Any] | None
    error: str = ""
    deaths: int = 0


class Executor(Protocol):
    """Where tasks run."""

    def run(self, job: Job, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """One outcome for each task, in the order in which they finish."""
        ...


@dataclass(frozen=True, slots=True)
class ProcessExecutor:
    """`workers` processes of this machine, 0 for one a core; a task is given up after `deaths` dead workers."""

    workers: int = 0
    deaths: int = 3

    def run(self, job: Job, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """See `Executor`; leaving the iteration early stops the workers."""
        waiting = deque((task, 0) for task in tasks)
        count = min(self.workers or len(os.sched_getaffinity(0)), len(tasks))
        crew = [_Worker(job) for _ in range(count)]
        try:
            for worker in crew:
                worker.give(waiting)
            while any(worker.task is not None for worker in crew):
                yield from self._collect(crew, waiting)
        finally:
            for worker in crew:
                worker.stop()

    def _collect(self, crew: list[_Worker], waiting: deque[tuple[Task, int]]) -> Iterator[Outcome]:
        """Waits for the next answers or deaths."""
        busy = {worker.pipe: worker for worker in crew if worker.task is not None}
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index]
            outcome = worker.outcome()
            if outcome.error != _DIED:
                yield outcome
            elif outcome.deaths < self.deaths:
                waiting.appendleft((outcome.task, outcome.deaths))
            else:
                yield Outcome(outcome.task, None, f"its worker died {outcome.deaths} times", outcome.deaths)
            worker.give(waiting)


_DIED = "died"


class _Worker:
    """A process, started again after a death, and the task that it holds."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.task: Task | None = None
        self._deaths = 0
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_serve, args=(self._job, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, waiting: deque[tuple[Task, int]]) -> None:
        """The next task, if there is one."""
        self.task = None
        if not waiting:
            return
        if not self._process.is_alive():
            self.stop()
            self._start()
        self.task, self._deaths = waiting.popleft()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # dead already: the pipe's end will say so
            self.pipe.send(self.task.body)

    def outcome(self) -> Outcome:
        """The answer to the task it holds, or that it died over it."""
        if self.task is None:
            raise InvariantError("a worker without a task has no outcome")
        try:
            result, error = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            return Outcome(self.task, None, _DIED, self._deaths + 1)
        return Outcome(self.task, result, error, self._deaths)

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()
        self.pipe.close()


def _serve(job: Job, pipe: Connection) -> None:
    """A worker's life: until the parent closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    work = None
    while True:
        try:
            body = pipe.recv()
        except EOFError:
            return
        try:
            work = work or job.open()
            pipe.send((work(body), ""))
        except Exception as error:  # noqa: BLE001 - one task's failure is its result, not the end of the others
            pipe.send((None, str(error) or type(error).__name__))
