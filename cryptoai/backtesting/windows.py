"""Which part of a tape training may see and which part judges it, with a proven gap between the two.

Training and the backtest both call `split`, so they cannot disagree. It must never return windows between which a label
reaches over: that is checked, not assumed (purging and embargo, López de Prado 2018, chapter 7).
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptoai.core.clock import SECOND
from cryptoai.core.config import DataConfig
from cryptoai.core.errors import DataError, InvariantError

__all__ = ["Split", "Window", "split"]


@dataclass(frozen=True, slots=True)
class Window:
    """Times in [start, stop], ns UTC."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.start > self.stop:
            raise DataError(f"a window cannot end ({self.stop}) before it starts ({self.start})")

    @property
    def seconds(self) -> float:
        return (self.stop - self.start) / SECOND


@dataclass(frozen=True, slots=True)
class Split:
    """`train` holds every fact that training may touch, labels included; `test` starts after the embargo.

    A training row at t with a label that ends at t + label_ns is allowed if that is within `train` (`last_row`).
    """

    train: Window
    test: Window
    label_ns: int
    embargo_ns: int

    def __post_init__(self) -> None:
        if self.last_row + self.label_ns + self.embargo_ns >= self.test.start:
            raise InvariantError(
                f"the last training label ends at {self.last_row + self.label_ns}, less than the embargo "
                f"of {self.embargo_ns} ns before the test starts at {self.test.start}"
            )

    @property
    def last_row(self) -> int:
        """Latest time of a training row: its label still ends inside `train`."""
        return self.train.stop - self.label_ns


def split(first_ns: int, last_ns: int, data: DataConfig, *, label_ns: int) -> Split:
    """Cuts [first, last] (known_at of the tape's ends) at data.train_share, with data.embargo_s between the parts."""
    cut = first_ns + int((last_ns - first_ns) * data.train_share)
    embargo = int(data.embargo_s * SECOND)
    if cut - label_ns <= first_ns or cut + embargo + 1 >= last_ns:
        raise DataError(
            f"the tape is {(last_ns - first_ns) / SECOND:.1f} s long, too short for train_share "
            f"{data.train_share} with an embargo of {data.embargo_s} s; import a longer tape or lower data.embargo_s"
        )
    return Split(Window(first_ns, cut), Window(cut + embargo + 1, last_ns), label_ns, embargo)
