"""Training data: rows of features with the mid price, cut into sequences with labels that cannot look past their part.

A `Dataset` is one instrument's rows as features came from the tape. A `Corpus` is what the stages see: tensors, labels
in volatility units, and for each row the part it belongs to. A label belongs to a part only if it ends inside it,
so fit, validation and test need no further gap; nothing is ever read beyond the last row it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryptoai.backtesting.windows import Window
from cryptoai.core.clock import MS
from cryptoai.core.config import Config
from cryptoai.core.errors import ConfigError, DataError, InvariantError
from cryptoai.core.ids import content_hash
from cryptoai.encoders.groups import STATE_DIM
from cryptoai.training.seeds import derive
from cryptoai.world_model.model import HORIZONS, Batch

__all__ = ["Corpus", "Dataset", "Part", "Timing", "shuffled"]

SHARES = (0.8, 0.1)
"""Of the rows: what is fitted, and what chooses (the best step, the trust); the rest is the evidence."""

_RESIDENT = 4 << 30  # bytes of features that are kept on the accelerator; more stays in host memory


@dataclass(frozen=True, slots=True)
class Dataset:
    """values float32 [N, 200], mask bool [N, 200], times int64 [N] ns, mid float64 [N] (NaN where there is none)."""

    values: NDArray[np.float32]
    mask: NDArray[np.bool_]
    times: NDArray[np.int64]
    mid: NDArray[np.float64]

    def __post_init__(self) -> None:
        rows = len(self.times)
        shapes = self.values.shape, self.mask.shape, self.times.shape, self.mid.shape
        if shapes != ((rows, STATE_DIM), (rows, STATE_DIM), (rows,), (rows,)):
            raise DataError(f"training rows have shapes {shapes}; they must be [N, {STATE_DIM}] twice and [N] twice")
        if rows and np.any(np.diff(self.times) <= 0):
            raise DataError("the times of training rows must rise")

    def __len__(self) -> int:
        return len(self.times)

    def within(self, window: Window) -> Dataset:
        """The rows of `window`, ends inclusive."""
        rows = slice(*np.searchsorted(self.times, [window.start, window.stop + 1]))
        return Dataset(self.values[rows], self.mask[rows], self.times[rows], self.mid[rows])

    def fingerprint(self) -> str:
        """64 hex digits over every byte."""
        arrays = (self.values, self.mask, self.times, self.mid)
        return content_hash("|".join(content_hash(np.ascontiguousarray(a).tobytes()) for a in arrays).encode())


class Part(IntEnum):
    """What a row may be used for."""

    FIT = 0
    VALIDATE = 1
    TEST = 2


@dataclass(frozen=True, slots=True)
class Timing:
    """sample_ns between rows; a decision, and a step of the model, every `stride` rows."""

    sample_ns: int
    stride: int

    @classmethod
    def of(cls, config: Config) -> Timing:
        sample, decision = config.data.sample_ms, config.execution.decision_interval_ms
        if decision % sample:
            raise ConfigError(
                f"execution.decision_interval_ms = {decision} must be a multiple of data.sample_ms = {sample}"
            )
        return cls(sample * MS, decision // sample)


@dataclass(frozen=True, slots=True)
class Corpus:
    """All rows of all instruments, one after another.

    values, mask [N, 200]; returns [N, H] in volatility units; known [N, H]; times, part, run [N]: rows of equal
    run follow each other without a hole. return_scale: the log return of one volatility unit, from the fit part only.
    """

    values: Tensor
    mask: Tensor
    returns: Tensor
    known: Tensor
    times: NDArray[np.int64]
    part: NDArray[np.int8]
    run: NDArray[np.int64]
    stride: int
    return_scale: float

    @classmethod
    def of(
        cls, datasets: Sequence[Dataset], timing: Timing, device: torch.device, *, scale: float | None = None
    ) -> Corpus:
        """Rows in the three parts; with a `scale`, the volatility unit of an earlier corpus, all are for testing.

        DataError if the price never moves in the fit part: no volatility, nothing to learn.
        """
        shares = SHARES if scale is None else (0.0, 0.0)
        part = np.concatenate([_parts(len(d), shares) for d in datasets])
        run = _runs(datasets, timing.sample_ns)
        mid = np.concatenate([d.mid for d in datasets])
        columns = [_forward(mid, part, run, steps * timing.stride) for steps in HORIZONS]
        returns, known = (np.stack(column, 1) for column in zip(*columns, strict=True))
        scale = _volatility(returns[:, 0][known[:, 0] & (part == Part.FIT)]) if scale is None else scale
        values, mask = (np.concatenate([getattr(d, name) for d in datasets]) for name in ("values", "mask"))
        times = np.concatenate([d.times for d in datasets])
        home = device if values.nbytes <= _RESIDENT else torch.device("cpu")
        return cls(
            torch.from_numpy(values).to(home), torch.from_numpy(mask).to(home),
            torch.from_numpy((returns / scale).astype(np.float32)).to(home), torch.from_numpy(known).to(home),
            times, part, run, timing.stride, scale,
        )  # fmt: skip

    def starts(self, part: Part, length: int) -> NDArray[np.int64]:
        """First rows of all sequences, of every phase, that lie wholly inside `part`."""
        span = (length - 1) * self.stride
        first = np.arange(max(0, len(self.run) - span))
        whole = self.run[first] == self.run[first + span]
        chosen: NDArray[np.int64] = first[whole & (self.part[first] == part) & (self.part[first + span] == part)]
        return chosen

    def ends(self, part: Part, length: int) -> NDArray[np.int64]:
        """Last rows, in `part` and with a known next return, of whole sequences; their past may lie before `part`."""
        span = (length - 1) * self.stride
        last = np.arange(min(span, len(self.run)), len(self.run))
        known = self.known[:, 0].cpu().numpy()
        whole = self.run[last] == self.run[last - span]
        chosen: NDArray[np.int64] = last[whole & (self.part[last] == part) & known[last]]
        return chosen

    def sequences(self, first: NDArray[np.int64], length: int) -> Batch:
        """(B, T, ...) from first rows (B,); scored are the steps in the part of the last one."""
        offsets = torch.arange(length, device=self.values.device) * self.stride
        rows = torch.from_numpy(first).to(self.values.device)[:, None] + offsets
        part = self.part[first[:, None] + np.arange(length) * self.stride]
        scored = torch.from_numpy(part == part[:, -1:]).to(self.values.device)
        return Batch(self.values[rows], self.mask[rows], self.returns[rows], self.known[rows], scored)

    def histories(self, last: NDArray[np.int64], length: int) -> tuple[Tensor, Tensor]:
        """values and mask (B, T, 200) that end at rows (B,)."""
        batch = self.sequences(last - (length - 1) * self.stride, length)
        return batch.values, batch.mask


def shuffled(rows: NDArray[np.int64], size: int, step: int, seed: int, name: str) -> NDArray[np.int64]:
    """The rows of global step `step`: an epoch is one shuffle, cut into whole batches of `size`."""
    each = max(1, len(rows) // size)
    epoch, turn = divmod(step, each)
    order = np.random.default_rng(derive(seed, name, "epoch", epoch)).permutation(len(rows))
    return rows[order[turn * size : (turn + 1) * size]]


def _parts(rows: int, shares: tuple[float, float]) -> NDArray[np.int8]:
    fit, validate = int(rows * shares[0]), int(rows * shares[1])
    return np.repeat(np.array(list(Part), np.int8), [fit, validate, rows - fit - validate])


def _runs(datasets: Sequence[Dataset], sample_ns: int) -> NDArray[np.int64]:
    """A new number wherever the next row is not exactly one sample later, or of another instrument."""
    breaks = [np.concatenate([[True], np.diff(d.times) != sample_ns])[: len(d)] for d in datasets]
    return np.cumsum(np.concatenate(breaks))


def _forward(
    mid: NDArray[np.float64], part: NDArray[np.int8], run: NDArray[np.int64], ahead: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Log return over the next `ahead` rows, known only where it ends in the same part and run."""
    rows = len(mid)
    returns, known = np.zeros(rows), np.zeros(rows, bool)
    first = np.arange(max(0, rows - ahead))
    last = first + ahead
    priced = (mid > 0) & np.isfinite(mid)
    inside = first[(part[first] == part[last]) & (run[first] == run[last]) & priced[first] & priced[last]]
    returns[inside], known[inside] = np.log(mid[inside + ahead] / mid[inside]), True
    if np.any(part[inside] != part[inside + ahead]):
        raise InvariantError("a training label ends outside its part")
    return returns, known


def _volatility(returns: NDArray[np.float64]) -> float:
    scale = float(returns.std()) if len(returns) else 0.0
    if scale < 1e-12:
        raise DataError("the price does not move in the training data: import more of the tape, or another instrument")
    return scale
