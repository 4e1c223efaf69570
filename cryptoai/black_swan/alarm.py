"""The one alarm of the black-swan part: raised by whatever sign is worst, held until calm is proved.

    sign          1.0 means                                                             who measures it
    anomaly       as strange as the 99.9 % bound for a stretch like training             anomaly, vae
    tail          a move of one second that training's tail gives once in 100,000        guard
    cascade       forced sales force as many again: branching ratio 1                    cascade.pressure
    regime break  P(the regime broke) reaches the level of its own rule                  breaks

Inference runs it over the history of each request, so a stateless server and a replay agree. The risk engine gets
`alarm` (reduce-only) and the anomaly sign alone as `anomaly`, which tightens limits gradually. It must never be quieter
for a longer history of bad signs, nor because another sign is good.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import DataError

__all__ = ["ALARM", "Hysteresis", "Signs"]

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """Raised at a score of `on` or more; cleared after `calm` scores in a row below `off`.

    A score that is not a number raises too.
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


@dataclass(frozen=True, slots=True)
class Signs:
    """The signs of each state of a history, [T] each, scaled so that 1.0 raises the alarm; None: nobody measures it."""

    anomaly: Floats
    tail: Floats | None = None
    cascade: Floats | None = None
    regime_break: Floats | None = None

    def __post_init__(self) -> None:
        if any(len(sign) != len(self.anomaly) for sign in self._known().values()):
            raise DataError("the signs of an alarm must be of one length: one number for each state of the history")

    def level(self) -> Doubles:
        """The worst sign of each state, [T]; not a number where any sign is not."""
        known = [np.asarray(sign, dtype=np.float64) for sign in self._known().values()]
        return np.asarray(np.maximum.reduce(known))

    def cause(self) -> str:
        """Name of the sign that is worst in the newest state, for people; a sign that is not a number is worst."""
        newest = {name: float(sign[-1]) for name, sign in self._known().items()}
        return max(newest, key=lambda name: np.inf if np.isnan(newest[name]) else newest[name])

    def _known(self) -> dict[str, Floats]:
        signs = {name: getattr(self, name) for name in self.__slots__}
        return {name: sign for name, sign in signs.items() if sign is not None}


ALARM = Hysteresis()
"""Of `Signs.level`."""
