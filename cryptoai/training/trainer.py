"""The one engine: it drives any stage step by step, and stops, saves, resumes and reports for all of them.

A stage says what one step is; the Trainer knows when. It is called once a stage by `recipe`, on every rank. It must
never draw a random number or touch a gradient: a resumed run has to equal a straight one bit by bit.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from torch import Tensor

from cryptoai.core.clock import SECOND, Clock
from cryptoai.core.errors import CryptoAIError, TransientError
from cryptoai.training.checkpoint import Checkpoint, load_newest, save
from cryptoai.training.parallel import Ranks

__all__ = ["Progress", "Report", "Stage", "Trainer", "TrainingStoppedError"]


class TrainingStoppedError(TransientError):
    """A signal asked training to stop; what was learned so far is in a checkpoint."""


class Stage(Protocol):
    """What the Trainer drives. One step works on `sequences` sequences, over all ranks, of `length` steps each."""

    name: str
    steps: int
    sequences: int
    length: int

    def update(self, step: int, progress: float) -> dict[str, float]:
        """One optimisation step on this rank; `progress` in [0, 1] drives the learning rate. Includes 'loss'."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All that a resume needs."""
        ...

    def load(self, tensors: dict[str, Tensor]) -> None: ...

    def finish(self) -> None:
        """Called once after the last step."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a stage is, for a progress bar; throughput counts all ranks."""

    stage: str
    step: int
    steps: int
    sequences_per_s: float
    timesteps_per_s: float
    eta_s: float
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """What a stage did in this run (a resumed stage counts its own part); metrics are those of its last step."""

    stage: str
    steps: int
    seconds: float
    sequences_per_s: float
    timesteps_per_s: float
    metrics: dict[str, float]


@dataclass(slots=True)
class Trainer:
    """Runs stages; keeps its checkpoints in folder/<stage>.

    max_seconds: cap of each stage, 0 for none. checkpoint_s: seconds between checkpoints. on_progress is called on the
    leading rank after every step.
    """

    folder: Path
    ranks: Ranks
    clock: Clock
    max_seconds: float = 0.0
    checkpoint_s: float = 30.0
    on_progress: Callable[[Progress], None] | None = None
    _asked_to_stop: bool = field(default=False, init=False)

    def fit(self, stage: Stage) -> Report:
        """Runs `stage` from its newest checkpoint to its end.

        TrainingStoppedError after SIGTERM or SIGINT and any error of the stage itself leave a checkpoint of the last
        good step behind.
        """
        with self._listening():
            return self._fit(stage)

    def _fit(self, stage: Stage) -> Report:
        first, before = self._resume(stage)
        began = saved = self.clock.now_ns()
        step, progress, metrics = first, _progress(first, stage.steps, before, self.max_seconds), dict[str, float]()
        while progress < 1.0:
            if self.ranks.any(self._asked_to_stop):
                self._save(stage, step, before + self._since(began))
                raise TrainingStoppedError(
                    f"training was stopped at step {step} of {stage.steps} of stage {stage.name}; "
                    "run the same command to go on from there"
                )
            metrics = self._update(stage, step, progress, before + self._since(began))
            step += 1
            elapsed = self._since(began)
            progress = _progress(step, stage.steps, self._shared(before + elapsed), self.max_seconds)
            self._tell(stage, step, (step - first, elapsed), progress, metrics)
            if self._since(saved) >= self.checkpoint_s:
                self._save(stage, step, before + elapsed)
                saved = self.clock.now_ns()
        if step > first:
            self._save(stage, step, before + self._since(began))
        stage.finish()
        seconds = self._since(began)
        rate = _rate(step - first, stage.sequences, seconds)
        return Report(stage.name, step, seconds, rate, rate * stage.length, metrics)

    def _update(self, stage: Stage, step: int, progress: float, elapsed: float) -> dict[str, float]:
        try:
            return stage.update(step, progress)
        except CryptoAIError:
            self._save(stage, step, elapsed)
            raise

    def _resume(self, stage: Stage) -> tuple[int, float]:
        found = load_newest(self.folder / stage.name)
        if found is None:
            return 0, 0.0
        stage.load(found.tensors)
        return found.step, found.elapsed

    def _save(self, stage: Stage, step: int, elapsed: float) -> None:
        tensors = stage.tensors()
        if self.ranks.leads:
            save(self.folder / stage.name, Checkpoint(step, elapsed, tensors))

    def _shared(self, elapsed: float) -> float:
        return self.ranks.lead(elapsed) if self.max_seconds else elapsed

    def _since(self, began: int) -> float:
        return (self.clock.now_ns() - began) / SECOND

    def _tell(
        self, stage: Stage, step: int, done: tuple[int, float], progress: float, metrics: dict[str, float]
    ) -> None:
        if self.on_progress is None or not self.ranks.leads:
            return
        rate = _rate(done[0], stage.sequences, done[1])
        eta = done[1] / done[0] * (stage.steps - step)
        eta = min(eta, self.max_seconds - done[1]) if self.max_seconds else eta
        eta = max(eta, 0.0) if progress < 1.0 else 0.0
        self.on_progress(Progress(stage.name, step, stage.steps, rate, rate * stage.length, eta, metrics))

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """SIGTERM and SIGINT set a flag inside the block; elsewhere than in the main thread nothing is changed."""
        self._asked_to_stop = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kept = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None, /) -> Any:  # noqa: ARG002
        self._asked_to_stop = True


def _progress(step: int, steps: int, elapsed: float, cap: float) -> float:
    """Share of the stage that is over, by steps or by time, whichever is further."""
    by_steps = step / steps if steps else 1.0
    return min(1.0, max(by_steps, elapsed / cap if cap else 0.0))


def _rate(steps: int, sequences: int, seconds: float) -> float:
    return steps * sequences / seconds if seconds > 0 else 0.0
