"""Rows become sequences: every phase once, no hole crossed, no label that ends beyond its part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from cryptoai.core.config import build
from cryptoai.core.errors import ConfigError, DataError
from cryptoai.training.dataset import Corpus, Dataset, Part, Timing, shuffled
from cryptoai.world_model import HORIZONS

CPU = torch.device("cpu")
Market = Callable[..., Dataset]


def corpus(*datasets: Dataset, stride: int = 1) -> Corpus:
    return Corpus.of(datasets, Timing(1_000_000_000, stride), CPU)


def test_labels_are_the_next_log_returns_in_volatility_units(market: Market) -> None:
    """Recomputed row by row from the mid, at each horizon, at a stride of two rows."""
    data = market(400)
    made = corpus(data, stride=2)
    for row in (0, 17, 100):
        for h, steps in enumerate(HORIZONS):
            wanted = np.log(data.mid[row + 2 * steps] / data.mid[row]) / made.return_scale
            assert float(made.returns[row, h]) == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_no_known_label_ends_outside_its_part(market: Market) -> None:
    """For every row and horizon: the label is known exactly where its end lies in the row's own part."""
    made = corpus(market(300), stride=3)
    for h, steps in enumerate(HORIZONS):
        for row in range(300):
            end = row + 3 * steps
            assert bool(made.known[row, h]) == (end < 300 and made.part[end] == made.part[row])


def test_rows_after_the_fit_part_change_nothing_that_is_fitted(market: Market) -> None:
    """Volatility unit and fit labels are bitwise equal when every later price is replaced."""
    data = market(300)
    wild = data.mid.copy()
    wild[240:] *= np.linspace(1, 9, 60)
    first, second = corpus(data), corpus(replace(data, mid=wild))
    fit = torch.from_numpy(first.part == Part.FIT)
    assert first.return_scale == second.return_scale
    assert torch.equal(first.returns[fit] * first.known[fit], second.returns[fit] * second.known[fit])


def test_every_phase_starts_a_sequence(market: Market) -> None:
    """With a stride of three, sequences start at rows 0, 1, 2, ... and step three rows."""
    made = corpus(market(200), stride=3)
    first = made.starts(Part.FIT, 5)
    assert first.tolist() == list(range(160 - 12))
    batch = made.sequences(first[1:2], 5)
    assert torch.equal(batch.values[0], made.values[[1, 4, 7, 10, 13]])
    assert bool(batch.scored.all())


def test_no_sequence_or_label_crosses_a_hole(market: Market) -> None:
    """Rows 100 and 101 are an hour apart: nothing may see them as neighbours."""
    data = market(200)
    late = data.times.copy()
    late[100:] += 3600 * 1_000_000_000
    made = corpus(replace(data, times=late))
    first = made.starts(Part.FIT, 5)
    assert not set(first.tolist()) & {96, 97, 98, 99}
    assert {95, 100} <= set(first.tolist())
    assert not bool(made.known[99, 0])
    assert bool(made.known[98, 0])


def test_instruments_do_not_run_into_each_other(market: Market) -> None:
    """Two datasets: the last row of one has no label from the first row of the other."""
    made = corpus(market(100), market(100, seed=1))
    assert not bool(made.known[99].any())
    assert 99 not in made.ends(Part.TEST, 3)
    assert made.part[100] == Part.FIT


def test_validation_windows_may_look_back_but_score_only_their_part(market: Market) -> None:
    """The first decision of the validation part has its past in the fit part, as context only."""
    made = corpus(market(200))
    last = made.ends(Part.VALIDATE, 6)[:1]
    assert last.tolist() == [160]
    assert made.sequences(last - 5, 6).scored[0].tolist() == [False] * 5 + [True]


def test_a_missing_mid_is_a_missing_label(market: Market) -> None:
    """NaN is no price: labels that start or end there are unknown, and finite."""
    data = market(200)
    mid = data.mid.copy()
    mid[50] = np.nan
    made = corpus(replace(data, mid=mid))
    assert not made.known[49, 0]
    assert not made.known[50].any()
    assert bool(torch.isfinite(made.returns).all())


def test_a_price_that_stands_still_is_refused(market: Market) -> None:
    """Without volatility there is no unit."""
    data = market(200)
    with pytest.raises(DataError, match="does not move"):
        corpus(replace(data, mid=np.full(200, 5.0)))


@pytest.mark.parametrize("field", ["values", "mask", "mid"])
def test_columns_of_other_lengths_are_refused(market: Market, field: str) -> None:
    """A dataset with rows missing in one column is no dataset."""
    data = market(50)
    with pytest.raises(DataError, match="shapes"):
        replace(data, **{field: getattr(data, field)[:-1]})


def test_times_must_rise(market: Market) -> None:
    """Two rows of one time would make a label of no length."""
    data = market(50)
    with pytest.raises(DataError, match="rise"):
        replace(data, times=np.zeros(50, np.int64))


def test_the_decision_interval_is_a_whole_number_of_rows() -> None:
    """Otherwise no row lies where the next decision is."""
    config = build({"data": {"sample_ms": 300}, "execution": {"decision_interval_ms": 1000}})
    with pytest.raises(ConfigError, match=r"decision_interval_ms = 1000 .*sample_ms = 300"):
        Timing.of(config)


def test_an_epoch_deals_every_sequence_once() -> None:
    """Whole batches of one shuffle; the next epoch is another shuffle; the seed decides both."""
    rows = np.arange(20)
    epoch = [shuffled(rows, 5, step, 7, "x") for step in range(4)]
    assert sorted(np.concatenate(epoch).tolist()) == rows.tolist()
    assert shuffled(rows, 5, 4, 7, "x").tolist() != epoch[0].tolist()
    assert np.array_equal(shuffled(rows, 5, 2, 7, "x"), epoch[2])
