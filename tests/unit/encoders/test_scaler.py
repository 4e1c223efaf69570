"""The scaler: robust, frozen, and blind to what it was never shown."""

from __future__ import annotations

import numpy as np
import torch

from cryptoai.encoders.scaler import RobustScaler, symlog


def fitted(values: np.ndarray, mask: np.ndarray | None = None) -> RobustScaler:
    scaler = RobustScaler(values.shape[1])
    scaler.fit(values.astype(np.float32), np.ones(values.shape, bool) if mask is None else mask)
    return scaler


def test_normal_data_comes_out_with_median_zero_and_unit_scale() -> None:
    """The scale is that of a normal's standard deviation, so one clip fits every feature."""
    raw = np.random.default_rng(0).normal(50_000.0, 30.0, (4000, 1))
    scaler = fitted(raw)
    assert abs(float(scaler.center) - 50_000) < 3
    assert abs(float(scaler.scale) - 30) < 2


def test_constant_and_unseen_features_are_masked() -> None:
    """What training never saw move cannot be believed later, whatever it says then."""
    raw = np.random.default_rng(0).normal(size=(100, 3))
    raw[:, 1] = 7.0
    mask = np.ones(raw.shape, bool)
    mask[:, 2] = False
    scaled, present = fitted(raw, mask)(torch.full((1, 3), 1e9), torch.ones(1, 3, dtype=torch.bool))
    assert present.tolist() == [[True, False, False]]
    assert scaled[0, 1:].tolist() == [0.0, 0.0]


def test_masked_rows_do_not_move_the_fit() -> None:
    """A hundred masked outliers leave centre and scale bitwise as they were."""
    raw = np.random.default_rng(0).normal(size=(300, 2))
    mask = np.ones(raw.shape, bool)
    mask[200:] = False
    wild = raw.copy()
    wild[200:] = 1e6
    first, second = fitted(raw, mask), fitted(wild, mask)
    assert torch.equal(first.center, second.center)
    assert torch.equal(first.scale, second.scale)


def test_values_that_are_no_numbers_count_as_missing() -> None:
    """NaN and infinity never reach a layer."""
    scaler = fitted(np.random.default_rng(0).normal(size=(100, 2)))
    scaled, present = scaler(torch.tensor([[float("nan"), float("inf")]]), torch.ones(1, 2, dtype=torch.bool))
    assert not present.any()
    assert torch.equal(scaled, torch.zeros(1, 2))


def test_outliers_are_clipped_then_tamed() -> None:
    """The largest scaled value is symlog of the clip."""
    scaler = fitted(np.random.default_rng(0).normal(size=(100, 1)))
    scaled, _ = scaler(torch.tensor([[1e30]]), torch.ones(1, 1, dtype=torch.bool))
    assert torch.allclose(scaled, symlog(torch.tensor(20.0)))


def test_sparse_counts_fall_back_to_the_standard_deviation() -> None:
    """A feature that is 0 three times out of four has no quartile range but is not constant."""
    raw = np.zeros((400, 1))
    raw[::8] = 5.0
    scaler = fitted(raw)
    assert bool(scaler.known)
    assert abs(float(scaler.scale) - raw.std()) < 1e-5
