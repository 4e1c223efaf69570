"""What the integration tests share: a small bundle that was really trained, on noise, in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryptoai.core.clock import MS
from cryptoai.core.config import build


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the smallest sizes; its answers mean nothing, its form is that of every bundle."""
    import torch

    from cryptoai.testing.bundles import SMALLEST
    from cryptoai.training.dataset import Dataset
    from cryptoai.training.recipe import train_bundle

    torch.set_num_threads(1)
    random = np.random.default_rng(3)
    rows = 700
    values = random.normal(size=(rows, 200)).astype(np.float32)
    mask = np.ones((rows, 200), np.bool_)
    mask[:, 128:168] = False
    times = np.arange(rows, dtype=np.int64) * 100 * MS
    mid = 60_000 * np.exp(np.cumsum(random.normal(0, 1e-5, rows)))
    return train_bundle([Dataset(values * mask, mask, times, mid)], build(SMALLEST), tmp_path_factory.mktemp("bundles"))
