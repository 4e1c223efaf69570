"""The judges of forecasts: scores against a second implementation, and truths that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryptoai.testing.forecasting import fair_crps, gap_closed, mean_interval, permuted
from cryptoai.testing.garch_judge import GarchJudge
from cryptoai.testing.market import synthetic_dataset
from cryptoai.training.dataset import Corpus, Dataset, Part, Timing

MARKET = synthetic_dataset(3, 6000, step_ms=1000, missing=0.0)


def ensembles() -> tuple[np.ndarray, np.ndarray]:
    """Of different spread, with what happened."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 25)) * rng.uniform(0.5, 3, (40, 1)), rng.normal(size=40)


def test_crps_is_its_definition() -> None:
    """E|X - y| - E|X - X'| / 2 over all pairs of two different members."""
    samples, seen = ensembles()
    pairs = np.abs(samples[:, :, None] - samples[:, None]).sum((1, 2)) / (25 * 24)
    assert np.allclose(fair_crps(samples, seen), np.abs(samples - seen[:, None]).mean(1) - pairs / 2)


@pytest.mark.slow
def test_crps_is_that_of_scoringrules() -> None:
    """The fair estimator of another implementation (slow to import)."""
    scoringrules = pytest.importorskip("scoringrules")
    samples, seen = ensembles()
    wanted = scoringrules.crps_ensemble(seen, samples, estimator="fair", backend="numpy")
    assert np.allclose(fair_crps(samples, seen), wanted)


def test_the_truth_has_the_best_crps() -> None:
    """An ensemble twice as wide scores worse than the right one: the score is proper."""
    rng = np.random.default_rng(1)
    samples, seen = rng.normal(size=(4000, 50)), rng.normal(size=4000)
    assert fair_crps(samples, seen).mean() == pytest.approx(1 / np.sqrt(np.pi), abs=0.02)
    assert fair_crps(2 * samples, seen).mean() > fair_crps(samples, seen).mean() + 0.02


def test_the_gap_runs_from_the_baseline_to_the_oracle() -> None:
    """0 at the baseline, 1 at the oracle, below 0 for what is worse than nothing."""
    assert [gap_closed(loss, 1.5, 1.4) for loss in (1.5, 1.45, 1.4)] == pytest.approx([0.0, 0.5, 1.0])
    assert gap_closed(1.6, 1.5, 1.4) < 0


def test_the_interval_of_a_mean_is_wider_where_neighbours_agree() -> None:
    """Blocks as long as the memory give an honest interval, single rows one that is too narrow."""
    rng, x = np.random.default_rng(2), np.zeros(4000)
    for t in range(1, len(x)):
        x[t] = 0.9 * x[t - 1] + rng.normal()
    wide, narrow = (np.diff(mean_interval(x, block=block))[0] for block in (50, 1))
    assert wide > 2 * narrow


def test_the_judge_finds_the_parameters_of_its_own_market() -> None:
    """ARX-GARCH-t drawn by the judge and fitted again; its density beats that of a constant variance."""
    truth = GarchJudge(0.05, 0.0, 0.2, 0.1, 0.15, 0.75, 6.0, 0.9, np.sqrt(0.19))
    rng, count = np.random.default_rng(0), 6000
    feature = np.zeros(count)
    for t in range(1, count):
        feature[t] = 0.9 * feature[t - 1] + np.sqrt(0.19) * rng.normal()
    returns, variance = np.zeros(count), 1.0
    for t in range(count):
        error = np.sqrt(variance) * rng.standard_t(6) * np.sqrt(4 / 6)
        returns[t] = 0.05 + 0.2 * feature[t] + error
        variance = 0.1 + 0.15 * error**2 + 0.75 * variance
    found = GarchJudge.fit(returns, feature)
    assert (found.gain, found.alpha, found.beta) == pytest.approx((0.2, 0.15, 0.75), abs=0.06)
    assert found.log_density(returns, feature).mean() == pytest.approx(
        truth.log_density(returns, feature).mean(), abs=0.003
    )


def test_the_judges_paths_start_from_its_filter() -> None:
    """Mean and sd of the first simulated step are those that it filtered."""
    judge = GarchJudge(0.05, 0.1, 0.2, 0.1, 0.15, 0.75, 8.0, 0.9, 0.4)
    state = np.array([1.0, -1.0]), np.array([0.5, 2.0]), np.array([0.7, 1.8])
    paths = judge.paths(state, 3, 40_000, np.random.default_rng(0))
    assert paths.shape == (2, 40_000, 3)
    assert paths[..., 0].mean(1) == pytest.approx(0.05 + 0.1 * state[0] + 0.2 * state[1], abs=0.03)
    assert paths[..., 0].std(1) == pytest.approx(state[2], rel=0.03)


def test_the_markets_own_paths_have_the_oracles_moments() -> None:
    """Simulated from what is known at a row: mean and sd of 1, 4 and 16 steps as in closed form."""
    rows = np.array([500, 1700, 4000])
    drawn = np.cumsum(MARKET.paths(rows, 16, 20_000, np.random.default_rng(0)), -1)
    for steps in (1, 4, 16):
        mean, sd = (moment[rows] for moment in MARKET.oracle(steps))
        assert drawn[..., steps - 1].std(1) == pytest.approx(sd, rel=0.03)
        assert np.abs(drawn[..., steps - 1].mean(1) - mean).max() < 4 * sd.max() / np.sqrt(20_000)


def test_the_markets_density_beats_any_constant_one() -> None:
    """The filter's log density is above that of the best normal."""
    bps = MARKET.returns * 1e4
    normal = -0.5 * np.log(2 * np.pi * bps.var()) - 0.5
    assert MARKET.log_density().mean() > normal + 0.05


def test_permuted_labels_stay_in_their_part() -> None:
    """The same labels, dealt out anew among the rows of each part, each with all of its horizons."""
    data = Dataset(MARKET.values, MARKET.mask, MARKET.times, MARKET.mid)
    corpus = Corpus.of([data], Timing(1_000_000_000, 1), torch.device("cpu"))
    dealt = permuted(corpus)
    for part in Part:
        rows = torch.from_numpy(corpus.part == part) & corpus.known.all(1)
        assert not torch.equal(dealt.returns[rows], corpus.returns[rows])
        assert torch.equal(dealt.returns[rows].sort(0).values, corpus.returns[rows].sort(0).values)
    assert bool((dealt.known <= corpus.known).all())
