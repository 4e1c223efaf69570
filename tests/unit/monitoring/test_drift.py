"""Drift: silent on equal worlds, loud on changed ones, and never fooled by missing values."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from cryptoai.core.errors import DataError
from cryptoai.monitoring.drift import Reference, by_group, compare

RNG = np.random.default_rng(5)
FULL = np.ones((256, 50), np.bool_)


def noise(rows: int = 256, columns: int = 50, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_t(4, size=(rows, columns))


def test_the_same_world_does_not_drift() -> None:
    """Heavy tails, fifty features, ten draws: no false alarm."""
    reference = Reference.fit(noise(seed=1), FULL)
    assert not any(d.drifted for seed in range(10) for d in compare(reference, noise(seed=10 + seed), FULL))


@pytest.mark.parametrize("change", [lambda v: v + 1.5, lambda v: v * 4.0, lambda v: np.abs(v) + 0.5])
def test_a_changed_world_drifts(change: object) -> None:
    """A shift, a scale and a change of shape are seen in nearly every feature."""
    assert callable(change)
    drifts = compare(Reference.fit(noise(seed=1), FULL), change(noise(seed=2)), FULL)
    assert sum(d.drifted for d in drifts) >= 48


def test_a_single_vote_is_not_enough() -> None:
    """A feature whose mean alone moves by an outlier does not drift."""
    values = noise(seed=2)
    values[0] = 1e6
    drifts = compare(Reference.fit(noise(seed=1), FULL), values, FULL)
    assert all(d.votes == 1 and not d.drifted for d in drifts)


def test_missing_values_are_not_zeros() -> None:
    """Zeros under the mask change nothing; a feed that goes away is drift, one that was never there is unknown."""
    mask = FULL.copy()
    mask[:, 0] = RNG.random(256) < 0.5
    before, now = noise(seed=1) + 10, noise(seed=2) + 10
    now[:, 0][~mask[:, 0]] = 0.0
    drifts = compare(Reference.fit(before, mask), now, mask)
    assert not drifts[0].drifted
    gone = FULL.copy()
    gone[:, 1] = False
    assert compare(Reference.fit(before, FULL), now, gone)[1].drifted
    never = compare(Reference.fit(before, gone), now, gone)[1]
    assert not never.known
    assert not never.drifted


def test_a_constant_that_changes_drifts_and_one_that_stays_does_not() -> None:
    """Ties get a bin of their own."""
    before = np.full((256, 2), 3.0)
    drifts = compare(Reference.fit(before, FULL[:, :2]), np.stack([before[:, 0], before[:, 1] + 1], 1), FULL[:, :2])
    assert [d.drifted for d in drifts] == [False, True]


def test_psi_is_the_textbook_sum() -> None:
    """Against the formula on independent bins, without the smoothing's small effect."""
    before, now = noise(20_000, 1, 1), noise(20_000, 1, 2) * 1.5
    edges = np.quantile(before, np.linspace(0, 1, 11)[1:-1])
    p = np.bincount(np.searchsorted(edges, before[:, 0]), minlength=10) / 20_000
    q = np.bincount(np.searchsorted(edges, now[:, 0]), minlength=10) / 20_000
    mask = np.ones((20_000, 1), np.bool_)
    (found,) = compare(Reference.fit(before, mask), now, mask)
    assert found.psi == pytest.approx(float(((p - q) * np.log(p / q)).sum()), rel=0.02)
    assert found.ks == pytest.approx(float(np.abs(np.cumsum(p - q)).max()), abs=0.005)


def test_groups_sum_their_features_up() -> None:
    """How many drifted of how many measured, and the worst by name."""
    now = noise(seed=2)
    now[:, 3] += 5
    mask = FULL.copy()
    mask[:, 4:6] = False
    drifts = compare(Reference.fit(noise(seed=1), mask), now, mask)
    names = [f"f{i}" for i in range(50)]
    first, second = by_group(drifts, {"a": slice(0, 10), "b": slice(10, 50)}, names)
    assert (first.features, first.measured, first.drifted, first.worst) == (10, 8, 1, ("f3",))
    assert second.drifted == 0
    assert first.share == pytest.approx(1 / 8)


def test_a_reference_survives_json() -> None:
    """As it would inside a bundle's evidence; what is not one is refused."""
    reference = Reference.fit(noise(), FULL)
    assert Reference.from_json(json.loads(json.dumps(reference.to_json()))) == reference
    with pytest.raises(DataError, match="drift_reference"):
        Reference.from_json({"edges": 3})
    with pytest.raises(DataError, match="50"):
        compare(reference, noise(columns=3), FULL[:, :3])
