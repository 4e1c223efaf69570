"""The break alarm: did the market just leave its regime for a wilder one.

Training fits it on returns in time order; inference runs it over the history of each request, so that a stateless
server and a replay agree. It must never look ahead, and it must never take the start of a history for a break.

Two scores, both probabilities of a break in the last `RECENT` rows:
    `BreakAlarm.scores`   by a hidden Markov model whose regimes were learned: fast where regimes come back, and only
                          for a break to a wilder regime, since a market that calms down needs no alarm
    `BOCPD.recent`        by Bayesian online change-point detection: of any kind, to levels never seen, untrained
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from cryptoai.black_swan.alarm import Hysteresis
from cryptoai.core.errors import BundleError
from cryptoai.encoders.hmm import RegimeHMM, fit_hmm

__all__ = ["LEARNED", "RECENT", "RUN_LENGTH", "BreakAlarm", "alarm_path"]

RECENT = 20
LEARNED = Hysteresis(on=0.35, off=0.15, calm=3)
"""Of `BreakAlarm.scores`: the lowest level that kept clear of one false alarm in 1,000 rows on synthetic breaks."""
RUN_LENGTH = Hysteresis(on=0.5, off=0.25, calm=3)
"""Of `BOCPD.recent`: a break is likelier than not; about one false alarm in 1,000 rows there."""

_PREFIX = "breaks."


@dataclass(frozen=True, slots=True)
class BreakAlarm:
    """A hidden Markov model over K columns and the rule that turns its scores into an alarm."""

    hmm: RegimeHMM
    rule: Hysteresis = LEARNED

    @classmethod
    def fit(
        cls,
        values: npt.NDArray[np.floating],
        generator: np.random.Generator,
        *,
        states: int = 2,
        freedom: float = math.inf,
    ) -> Self:
        """values [T, K] in time order, NaN where missing; DataError for too few rows (see `fit_hmm`).

        freedom: of Student-t values; returns of real markets want 4, or the alarm stands at every outlier.
        """
        known = ~np.isnan(values)
        return cls(fit_hmm(np.nan_to_num(values), states, generator, mask=known, freedom=freedom))

    def scores(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """P(the regime is wilder than `RECENT` rows ago | rows up to t), [T]; values [T, K], NaN where missing.

        0 in the first `RECENT` rows.
        """
        rows = torch.as_tensor(np.asarray(values, dtype=np.float64))[None]
        with torch.no_grad():
            found = self.hmm.rose(self.hmm(rows.nan_to_num(), ~rows.isnan()), RECENT)
        return np.asarray(found[0].double().numpy())

    def signs(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """The scores over the level that raises the alarm, [T]: 1.0 raises, as in `alarm.Signs.regime_break`."""
        return self.scores(values) / self.rule.on

    def raised(self, values: npt.NDArray[np.floating]) -> bool:
        """Whether the alarm stands after the last row of a history [T, K]."""
        return self.rule.raised(self.scores(values).tolist())

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `from_tensors` reads back exactly."""
        return {_PREFIX + name: tensor.detach().contiguous() for name, tensor in self.hmm.state_dict().items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Self:
        """BundleError names what is missing or of another shape."""
        found = {name.removeprefix(_PREFIX): t for name, t in tensors.items() if name.startswith(_PREFIX)}
        mean = found.get("mean", torch.zeros(0))
        if mean.ndim != 2:
            raise BundleError("breaks.mean (states, columns) is missing from the bundle's risk tensors; train it again")
        hmm = RegimeHMM(*mean.shape).to(mean.dtype)
        try:
            hmm.load_state_dict(found)
        except RuntimeError as error:
            raise BundleError(f"the break alarm of the bundle is incomplete, train it again: {error}") from error
        return cls(hmm)


def alarm_path(scores: Iterable[float], rule: Hysteresis) -> npt.NDArray[np.bool_]:
    """Whether the alarm stands after each score, oldest first: `rule.raised` of every prefix, in one pass."""
    path, standing, quiet = [], False, 0
    for score in scores:
        quiet = quiet + 1 if score < rule.off else 0
        standing = not score < rule.on or (standing and quiet < rule.calm)
        path.append(standing)
    return np.asarray(path, dtype=bool)
