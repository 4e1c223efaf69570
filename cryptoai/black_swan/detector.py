"""Which anomaly score ships: the one that finds more planted oddities in states that neither was fitted on.

`RiskModel.fit` calls it when training gives it a generator. It must never prefer the larger model by luck: it has to
win on each of five stretches of time (one chance in 32 if it is no better).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from cryptoai.black_swan.anomaly import BLOCKS, Mahalanobis
from cryptoai.black_swan.vae import Vae
from cryptoai.core.errors import DataError

__all__ = ["Choice", "Detector", "auroc", "choose_detector", "stored_detector"]

Detector = Mahalanobis | Vae

SHARE = 0.1
"""Of the features of a planted oddity that come from another state."""

USEFUL = 0.75
"""Where the autoencoder finds less than this, the planted oddities decide nothing and the simpler score ships."""

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Choice:
    """The score that ships and what decided: the area under the ROC of both on planted oddities."""

    detector: Detector
    mahalanobis: float
    vae: float

    def tensors(self) -> dict[str, torch.Tensor]:
        """The detector's tensors and the two figures."""
        figures = torch.tensor([self.mahalanobis, self.vae], dtype=torch.float64)
        return self.detector.tensors() | {"anomaly.auroc": figures}


def choose_detector(values: Floats, mask: Bools, generator: torch.Generator) -> Choice:
    """Fits both to the first four fifths, judges them on the last, and fits the winner to all.

    values [N, D] in time order, mask [N, D]; DataError below 400 rows. An oddity has a tenth of the features that are
    usually there from another state of the last fifth: every single value is one that was seen.
    """
    first = len(values) * 4 // 5
    if first < 320:
        raise DataError("a choice between anomaly scores needs 400 rows; give more data")
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    known, shown = values[first:], mask[first:]
    odd, odd_mask = _planted(known, shown, rng)
    rivals: tuple[Detector, Detector] = (
        Mahalanobis.fit(values[:first], mask[:first]),
        Vae.fit(values[:first], mask[:first], generator),
    )
    scores = [(rival.score(odd, odd_mask), rival.score(known, shown)) for rival in rivals]
    found = [auroc(strange, normal) for strange, normal in scores]
    if found[1] >= USEFUL and all(
        auroc(scores[1][0][rows], scores[1][1][rows]) > auroc(scores[0][0][rows], scores[0][1][rows])
        for rows in np.array_split(np.arange(len(known)), BLOCKS)
    ):
        return Choice(Vae.fit(values, mask, generator), found[0], found[1])
    return Choice(Mahalanobis.fit(values, mask), found[0], found[1])


def stored_detector(tensors: Mapping[str, torch.Tensor]) -> Detector:
    """The one whose tensors are there; BundleError names what is missing."""
    return Vae.from_tensors(tensors) if "vae.limits" in tensors else Mahalanobis.from_tensors(tensors)


def auroc(odd: Floats, normal: Floats) -> float:
    """P(an odd one scores higher than a normal one), ties count half."""
    ordered = np.sort(normal)
    below, upto = np.searchsorted(ordered, odd, "left"), np.searchsorted(ordered, odd, "right")
    return float((below + upto).mean() / (2 * len(ordered)))


def _planted(values: Floats, mask: Bools, rng: np.random.Generator) -> tuple[Floats, Bools]:
    """Copies of all states, each with a tenth of the usual features, and their masks, from other states."""
    usual = np.flatnonzero(mask.mean(axis=0) >= 0.5)
    swapped = max(1, round(SHARE * len(usual)))
    odd, odd_mask = values.copy(), mask.copy()
    for row in range(len(values)):
        features, source = rng.choice(usual, swapped, replace=False), rng.integers(0, len(values), swapped)
        odd[row, features], odd_mask[row, features] = values[source, features], mask[source, features]
    return odd, odd_mask
