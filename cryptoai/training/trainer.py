"""The one engine: it drives any stage step by step, and stops, saves, resumes and reports for all of them.

A stage says what one step is; the Trainer knows when. It is called once a stage by `recipe`, on every rank. It must
never draw a random number or touch a gradient: a resumed run has to equal a straight one bit by bit.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from torch import Tensor

from cryptoai.core.clock import SECOND, Clock
from cryptoai.core.errors import CryptoAIError, TransientError
from cryptoai.training.checkpoint import Checkpoint, load_newest, save
from cryptoai.training.memory import peak_memory
from cryptoai.training.parallel import Ranks
from cryptoai.training.record import Progress

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

    def operations(self) -> float:
        """Floating-point operations of one step over all ranks; changes nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """What a stage did in this run (a resumed stage counts its own part); metrics are those of its last step."""

    stage: str
    steps: int
    seconds: float
    sequences_per_s: float
    timesteps_per_s: float
    metrics: dict[str, float]
    mfu: float | None = None
    memory_bytes: int = 0


@dataclass(slots=True)
class Trainer:
    """Runs stages; keeps its checkpoints in folder/<stage>.

    max_seconds: cap of each stage, 0 for none. checkpoint_s: seconds between checkpoints. on_progress is called on the
    leading rank after every step. origin: fields of every checkpoint's manifest. peak: operations a second of one
    rank's matrix product, against which a stage is measured; 0 to leave that out.
    """

    folder: Path
    ranks: Ranks
    clock: Clock
    max_seconds: float = 0.0
    checkpoint_s: float = 30.0
    on_progress: Callable[[Progress], None] | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    peak: float = 0.0
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
        work = stage.operations() if self.peak else 0.0
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
            pace = _Pace(step - first, elapsed, self._use(work, step - first, elapsed))
            self._tell(stage, step, pace, progress, metrics)
            if self._since(saved) >= self.checkpoint_s:
                self._save(stage, step, before + elapsed, metrics)
                saved = self.clock.now_ns()
        if step > first:
            self._save(stage, step, before + self._since(began), metrics)
        stage.finish()
        seconds = self._since(began)
        rate = _rate(step - first, stage.sequences, seconds)
        use, memory = self._use(work, step - first, seconds), peak_memory(self.ranks.device)
        return Report(stage.name, step, seconds, rate, rate * stage.length, metrics, use, memory)

    def _use(self, work: float, steps: int, seconds: float) -> float | None:
        """Share of the measured peak of all ranks that `steps` steps of `work` operations reached."""
        return work * steps / (seconds * self.peak * self.ranks.world) if self.peak and seconds > 0 else None

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

    def _save(self, stage: Stage, step: int, elapsed: float, metrics: Mapping[str, float] | None = None) -> None:
        if self.ranks.leads:
            save(self.folder / stage.name, Checkpoint(step, elapsed, stage.tensors(), metrics or {}), self.origin)

    def _shared(self, elapsed: float) -> float:
        return self.ranks.lead(elapsed) if self.max_seconds else elapsed

    def _since(self, began: int) -> float:
        return (self.clock.now_ns() - began) / SECOND

    def _tell(self, stage: Stage, step: int, pace: _Pace, progress: float, metrics: dict[str, float]) -> None:
        if self.on_progress is None or not self.ranks.leads:
            return
        rate = _rate(pace.steps, stage.sequences, pace.seconds)
        eta = pace.seconds / pace.steps * (stage.steps - step)
        eta = min(eta, self.max_seconds - pace.seconds) if self.max_seconds else eta
        eta = max(eta, 0.0) if progress < 1.0 else 0.0
        now = Progress(stage.name, step, stage.steps, rate, rate * stage.length, eta, metrics)
        memory = peak_memory(self.ranks.device)
        self.on_progress(replace(now, seconds=pace.seconds, mfu=pace.use, memory_bytes=memory))

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


@dataclass(frozen=True, slots=True)
class _Pace:
    """Steps and seconds of this run, and the share of the machine that they used."""

    steps: int
    seconds: float
    use: float | None


def _progress(step: int, steps: int, elapsed: float, cap: float) -> float:
    """Share of the stage that is over, by steps or by time, whichever is further."""
    by_steps = step / steps if steps else 1.0
    return min(1.0, max(by_steps, elapsed / cap if cap else 0.0))


def _rate(steps: int, sequences: int, seconds: float) -> float:
    return steps * sequences / seconds if seconds > 0 else 0.0
