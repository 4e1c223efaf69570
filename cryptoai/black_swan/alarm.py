"""The one alarm of the black-swan part: raised by a state that the model does not know, held until calm is proved.

Inference runs it over the history of each request, so a stateless server and a replay agree. It must never be quieter
for a longer history of strange states.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["ALARM", "Hysteresis"]


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """Raised at a score of `on` or more; cleared after `calm` scores in a row below `off`.

    Scores are anomaly scores (1.0 is the 99.9 % limit of training). A score that is not a number raises too.
    """

    on: float = 1.0
    off: float = 0.8
    calm: int = 3

    def raised(self, scores: Iterable[float]) -> bool:
        """Whether the alarm stands after these scores, oldest first; False for none."""
        standing, quiet = False, 0
        for score in scores:
            quiet = quiet + 1 if score < self.off else 0
            standing = not score < self.on or (standing and quiet < self.calm)
        return standing


ALARM = Hysteresis()
