"""Has the world moved away from what the model learned? Two samples, compared feature by feature, reported by group.

Used by the dashboard on recent states against a reference window, and on the model's own outputs. One statistic alone
cries wolf on market data, so three vote on the distribution of a feature and a fourth watches whether it is there:

- PSI, the population stability index over the reference's deciles (Siddiqi 2006), with Jeffreys smoothing; it votes
  above 0.25 and above chance for these sample sizes (Yurdakul 2018: PSI ~ (1/n + 1/m) chi-squared(bins - 1)).
- KS, the two-sample Kolmogorov-Smirnov distance on the same bins; it votes above 0.2 and its 0.1 % critical value.
- Shift, the change of the mean in reference standard deviations; it votes above 1.
- Missing, the change of the share of missing values; above 0.25 the feature has drifted, whatever the others say.

A feature drifts with two votes of three. Missing values are never counted as zeros.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryptoai.core.errors import DataError

__all__ = ["FeatureDrift", "GroupDrift", "Reference", "by_group", "compare"]

_BINS = 10
_LEAST = 32
_PSI, _KS, _SHIFT, _MISSING = 0.25, 0.2, 1.0, 0.25

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reference:
    """What normal looks like: per feature the bin edges, the share of each bin, mean, sd, count and missing share."""

    edges: tuple[tuple[float, ...], ...]
    shares: tuple[tuple[float, ...], ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    count: tuple[int, ...]
    missing: tuple[float, ...]

    @classmethod
    def fit(cls, values: Floats, mask: Mask) -> Reference:
        """From values [N, F] and mask [N, F], True = present."""
        columns = [_describe(values[mask[:, f], f].astype(np.float64)) for f in range(values.shape[1])]
        missing = tuple((1.0 - mask.mean(axis=0)).tolist())
        edges, shares = tuple(c[0] for c in columns), tuple(c[1] for c in columns)
        return cls(
            edges,
            shares,
            tuple(c[2] for c in columns),
            tuple(c[3] for c in columns),
            tuple(c[4] for c in columns),
            missing,
        )

    @property
    def width(self) -> int:
        return len(self.edges)

    def to_json(self) -> dict[str, Any]:
        """For `evidence.json` of a bundle, under the key `drift_reference`."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Reference:
        """DataError if a field is missing."""
        try:
            edges, shares = (tuple(tuple(map(float, row)) for row in raw[name]) for name in ("edges", "shares"))
            mean, sd, missing = (tuple(map(float, raw[name])) for name in ("mean", "sd", "missing"))
            return cls(edges, shares, mean, sd, tuple(map(int, raw["count"])), missing)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"drift_reference of the bundle's evidence is not readable: {error}") from None


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """One feature's statistics; None where either sample has too few present values."""

    psi: float | None
    ks: float | None
    shift: float | None
    missing: float
    votes: int

    @property
    def known(self) -> bool:
        return self.psi is not None

    @property
    def drifted(self) -> bool:
        return self.votes >= 2 or abs(self.missing) > _MISSING


@dataclass(frozen=True, slots=True)
class GroupDrift:
    """A group's summary: `drifted` of `features`, of which `measured` had values; largest statistics; worst names."""

    group: str
    features: int
    measured: int
    drifted: int
    psi: float
    ks: float
    missing: float
    worst: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of the features that could be judged which have drifted, in [0, 1]."""
        return self.drifted / max(self.measured, self.drifted, 1)

    def body(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in self.__slots__}, "share": self.share}


def compare(reference: Reference, values: Floats, mask: Mask) -> tuple[FeatureDrift, ...]:
    """Drift of each of the F features of values [N, F] from `reference`; DataError if F differs."""
    if values.shape[1] != reference.width:
        raise DataError(f"drift: states of {values.shape[1]} features cannot be compared with {reference.width}")
    return tuple(_feature(reference, f, values[mask[:, f], f], len(values)) for f in range(reference.width))


def by_group(
    drifts: Sequence[FeatureDrift], groups: Mapping[str, slice], names: Sequence[str]
) -> tuple[GroupDrift, ...]:
    """One summary a group, in the order of `groups`."""
    return tuple(_summary(group, drifts[span], names[span]) for group, span in groups.items())


def _describe(
    sample: NDArray[np.float64],
) -> tuple[tuple[float, ...], tuple[float, ...], float, float, int]:
    """(edges, shares, mean, sd, count) of the present values of one feature."""
    if len(sample) < _LEAST:
        return (), (), 0.0, 0.0, len(sample)
    edges = _edges(sample)
    shares = np.bincount(np.searchsorted(edges, sample, "right"), minlength=len(edges) + 1) / len(sample)
    return tuple(edges.tolist()), tuple(shares.tolist()), float(sample.mean()), float(sample.std()), len(sample)


def _edges(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inner deciles; where many values are equal they get a bin of their own, so that leaving it is seen."""
    deciles = np.quantile(sample, np.linspace(0, 1, _BINS + 1)[1:-1], method="inverted_cdf")
    edges, times = np.unique(deciles, return_counts=True)
    return np.unique(np.concatenate([edges, np.nextafter(edges[times > 1], np.inf)]))


def _feature(reference: Reference, f: int, sample: Floats, rows: int) -> FeatureDrift:
    missing = (1.0 - len(sample) / rows if rows else 1.0) - reference.missing[f]
    if len(sample) < _LEAST or reference.count[f] < _LEAST:
        return FeatureDrift(None, None, None, missing, 0)
    expected = np.asarray(reference.shares[f])
    bins = np.searchsorted(np.asarray(reference.edges[f]), sample, "right")
    counts = np.bincount(bins, minlength=len(expected))
    n, m = reference.count[f], len(sample)
    psi, ks = _psi(expected, counts, n), float(np.abs(np.cumsum(expected - counts / m)).max())
    shift = _shift(float(sample.mean()), reference.mean[f], reference.sd[f])
    votes = (psi > max(_PSI, _psi_chance(len(expected), n, m))) + (ks > max(_KS, _ks_chance(n, m))) + (shift > _SHIFT)
    return FeatureDrift(psi, ks, shift, missing, int(votes))


def _psi(expected: NDArray[np.float64], counts: NDArray[np.int64], n: int) -> float:
    """Population stability index with half a count added to each bin."""
    p = (expected * n + 0.5) / (n + 0.5 * len(expected))
    q = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return float(((p - q) * np.log(p / q)).sum())


def _shift(mean: float, before: float, sd: float) -> float:
    moved = abs(mean - before)
    if sd > 0.0:
        return moved / sd
    return 0.0 if math.isclose(mean, before, rel_tol=1e-6, abs_tol=1e-9) else math.inf


def _psi_chance(bins: int, n: int, m: int) -> float:
    """About the 99.9 % quantile of PSI between equal distributions (Wilson-Hilferty for chi-squared)."""
    freedom = max(bins - 1, 1)
    spread = 2.0 / (9.0 * freedom)
    return (1.0 / n + 1.0 / m) * freedom * (1.0 - spread + 3.09 * math.sqrt(spread)) ** 3


def _ks_chance(n: int, m: int) -> float:
    """The 0.1 % critical value of the two-sample KS distance."""
    return 1.949 * math.sqrt((n + m) / (n * m))


def _summary(group: str, drifts: Sequence[FeatureDrift], names: Sequence[str]) -> GroupDrift:
    ranked = sorted(zip(drifts, names, strict=True), key=lambda pair: (-pair[0].votes, -(pair[0].psi or 0.0)))
    return GroupDrift(
        group,
        features=len(drifts),
        measured=sum(drift.known for drift in drifts),
        drifted=sum(drift.drifted for drift in drifts),
        psi=max((drift.psi or 0.0 for drift in drifts), default=0.0),
        ks=max((drift.ks or 0.0 for drift in drifts), default=0.0),
        missing=max((abs(drift.missing) for drift in drifts), default=0.0),
        worst=tuple(name for drift, name in ranked if drift.drifted)[:3],
    )
