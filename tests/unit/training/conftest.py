"""A tiny market with a planted signal, and settings that train on it in seconds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cryptoai.core.config import Config, build
from cryptoai.data_universe.schema import WIDTH
from cryptoai.training.dataset import Dataset

SECOND = 1_000_000_000


def _market(rows: int = 700, seed: int = 0, signal: float = 0.0) -> Dataset:
    """An AR(.9) signal in the first feature; the next return follows it with strength `signal`. A row a second."""
    draws = np.random.default_rng(seed)
    hidden = np.zeros(rows)
    for row in range(1, rows):
        hidden[row] = 0.9 * hidden[row - 1] + np.sqrt(0.19) * draws.normal()
    returns = 1e-4 * (signal * hidden + np.sqrt(1 - signal**2) * draws.normal(size=rows))
    values = draws.normal(size=(rows, WIDTH)).astype(np.float32)
    values[:, 0] = hidden
    mask = np.zeros((rows, WIDTH), bool)
    mask[:, :12] = mask[:, 64:70] = True
    mid = 50_000 * np.exp(np.concatenate([[0.0], np.cumsum(returns[:-1])]))
    return Dataset(values, mask, np.arange(rows, dtype=np.int64) * SECOND, mid)


@pytest.fixture
def market() -> Callable[..., Dataset]:
    return _market


@pytest.fixture
def config() -> Config:
    return build(
        {
            "data": {"sample_ms": 1000},
            "model": {"hidden_dim": 16, "latent_dim": 16, "layers": 1, "heads": 2, "context": 4},
            "training": {
                "batch_size": 16, "encoder_epochs": 1, "world_model_epochs": 1, "policy_epochs": 2, "sequence": 8,
                "horizon": 3,
            },
        }
    )  # fmt: skip
