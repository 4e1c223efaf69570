"""Imagined returns and the map that makes their spread true."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

from cryptoai.core.config import ModelConfig
from cryptoai.core.errors import DataError
from cryptoai.data_universe.schema import WIDTH
from cryptoai.world_model import WorldModel
from cryptoai.world_model.rollout import RolloutMap, imagined_returns, ranks


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def market(seed: int, starts: int = 3000, paths: int = 60, wide: float = 1.6) -> tuple[Tensor, Tensor]:
    """Starts of different volatility; imagination is `wide` times too wide and a little too high."""
    spread = 0.5 + torch.rand(starts, 1, generator=draws(seed))
    imagined = spread * (wide * torch.randn(starts, paths, generator=draws(seed + 1)) + 0.2)
    return imagined, (spread * torch.randn(starts, 1, generator=draws(seed + 2)))[:, 0]


def covered(paths: Tensor, realised: Tensor, level: float) -> float:
    return float(((ranks(paths, realised, draws(9)) - 0.5).abs() <= level / 2).float().mean())


def test_a_map_restores_coverage_on_other_starts() -> None:
    """Fitted on one half of the world, judged on another: 50 and 90 % are met within two points."""
    fitted = RolloutMap.fit({4: market(0)[0]}, {4: market(0)[1]})
    paths, realised = market(10)
    for level in (0.5, 0.9):
        assert abs(covered(paths, realised, level) - level) > 0.05
        assert covered(fitted.apply(4, paths), realised, level) == pytest.approx(level, abs=0.02)


def test_a_calibrated_rollout_is_left_alone() -> None:
    """Nothing to put right moves nothing far."""
    imagined = torch.randn(3000, 60, generator=draws(0))
    fitted = RolloutMap.fit({1: imagined}, {1: torch.randn(3000, generator=draws(1))})
    assert float((fitted.apply(1, imagined) - imagined).square().mean().sqrt()) < 0.08


def test_the_order_of_paths_is_kept_also_far_out() -> None:
    """The map rises everywhere, beyond the last quantile with a slope of one."""
    fitted = RolloutMap.fit({4: market(0)[0]}, {4: market(0)[1]})
    paths = torch.cat([torch.linspace(-4, 4, 200), torch.tensor([50.0])])[None]
    assert bool((fitted.apply(4, paths).diff() > 0).all())


def test_few_starts_give_no_map() -> None:
    """Quantiles of a handful of returns are luck."""
    with pytest.raises(DataError, match="needs 50 starts, not 49"):
        RolloutMap.fit({4: torch.randn(49, 10)}, {4: torch.randn(49)})


def test_ranks_are_uniform_if_truth_is_one_of_the_paths() -> None:
    """Kolmogorov-Smirnov; and not uniform where it is not."""
    paths, truth = torch.randn(4000, 9, generator=draws(0)), torch.randn(4000, generator=draws(1))
    assert stats.kstest(ranks(paths, truth, draws(2)).numpy(), "uniform").pvalue > 0.01
    assert stats.kstest(ranks(paths, 2 * truth, draws(2)).numpy(), "uniform").pvalue < 1e-6


def test_imagined_returns_are_sums_of_steps_from_an_untouched_start() -> None:
    """The 1-step returns are the first of the 3; the seed decides them; the start can be used again."""
    torch.manual_seed(0)
    model = WorldModel(ModelConfig(hidden_dim=16, latent_dim=8, layers=1, heads=2))
    values = torch.randn(2, 4, WIDTH, generator=draws(1))
    start = model.start(values, torch.ones_like(values, dtype=torch.bool), room=3)
    before = start.cache.keys.clone()
    found = imagined_returns(model, start, (1, 3), 5, draws(2))
    assert {steps: tuple(paths.shape) for steps, paths in found.items()} == {1: (2, 5), 3: (2, 5)}
    assert torch.equal(start.cache.keys, before)
    again = imagined_returns(model, start, (1, 3), 5, draws(2))
    assert torch.equal(found[3], again[3])
    alone = imagined_returns(model, start, (1,), 5, draws(2))
    assert torch.equal(found[1], alone[1])
    assert not torch.equal(found[1], found[3])
