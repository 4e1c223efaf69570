"""A step whose loss is no number is left out and counted; many in a row end the stage.

Held by every stage. It must never let a parameter be touched by such a step.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptoai.core.errors import PermanentError

__all__ = ["DivergedError", "Guard"]


class DivergedError(PermanentError):
    """The loss is no number any more."""


@dataclass(slots=True)
class Guard:
    """`skipped` steps in all, `in_a_row` without a good one between them; `patience` in a row are too many."""

    stage: str
    patience: int
    skipped: int = 0
    in_a_row: int = 0

    def good(self) -> None:
        self.in_a_row = 0

    def bad(self, step: int, what: str) -> None:
        """Counts a step that was left out; DivergedError at the `patience`-th in a row."""
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row >= self.patience:
            raise DivergedError(
                f"stage {self.stage}: {what} at step {step}, the {self.in_a_row}th in a row; the last good parameters "
                "are in its checkpoint: lower training.learning_rate or look for bad values in the data"
            )
