"""Liquidation cascades: the closed form, the model against the truth, and what the features say."""

import math

import numpy as np
import pytest

from cryptoai.black_swan.cascade import CascadeModel, amplification, needed_shock, pressure
from cryptoai.black_swan.detector import auroc
from cryptoai.core.errors import DataError
from cryptoai.data_universe.schema import WIDTH, index
from cryptoai.testing.market.cascade import amplified, cascade_market

TRAIN, TEST = cascade_market(1, 6000), cascade_market(2, 8000)
MODEL = CascadeModel.fit(TRAIN.observed, TRAIN.cascade)


def test_amplification_is_the_sum_of_all_generations() -> None:
    """1 + n + n^2 + ... for n below 1; without end from 1 on."""
    for n in (0.0, 0.5, 0.9):
        generations = sum(n**k for k in range(400))
        assert amplification(np.array([n]))[0] == pytest.approx(generations)
    assert amplification(np.array([1.0, 1.7])).tolist() == [math.inf, math.inf]


def test_the_needed_shock_is_where_the_markets_move_runs_through() -> None:
    """Just below it the move ends inside the cluster, just above it the whole width is gone."""
    states = np.array([[0.5, 1.0, 2.0, 3.0, 1.0], [2.0, 1.0, 2.0, 3.0, 1.0]])
    need = needed_shock(states)
    assert need.tolist() == [3.5, 2.0]
    n, d, w = np.array([0.5, 2.0]), states[:, 2], states[:, 3]
    assert (amplified(need - 1e-9, n, d, w) < d + w).all()
    assert (amplified(need + 1e-9, n, d, w) >= d + w).all()


def test_noise_and_tail_of_the_market_are_found() -> None:
    """The observations' noise of 25 % comes back, and the correction stays near none."""
    assert MODEL.noise == 0.25
    assert MODEL.degrees in (8.0, 30.0)
    assert MODEL.weights[1] == pytest.approx(1.0, abs=0.25)


def test_it_comes_close_to_the_oracle() -> None:
    """Within .03 of the AUROC of who sees the truth, calibrated, and never a sure thing."""
    found = MODEL.probability(TEST.observed)
    truth = TEST.oracle()
    areas = [auroc(p[TEST.cascade], p[~TEST.cascade]) for p in (found, truth)]
    assert areas[1] - 0.03 < areas[0] <= areas[1]
    assert found.mean() == pytest.approx(TEST.cascade.mean(), abs=0.01)
    likely = found > 0.5
    assert TEST.cascade[likely].mean() == pytest.approx(found[likely].mean(), abs=0.08)
    assert 0 < min(found) <= max(found) < 1


def test_what_teaches_nothing_is_refused() -> None:
    """Too few rows, a state of 0, or only one outcome."""
    with pytest.raises(DataError, match="500 rows"):
        CascadeModel.fit(TRAIN.observed[:499], TRAIN.cascade[:499])
    with pytest.raises(DataError, match="positive"):
        CascadeModel.fit(TRAIN.observed * [0, 1, 1, 1, 1], TRAIN.cascade)
    with pytest.raises(DataError, match="one outcome"):
        CascadeModel.fit(TRAIN.observed, np.zeros(len(TRAIN.cascade), dtype=bool))


def state(**features: float) -> tuple[np.ndarray, np.ndarray]:
    values, mask = np.zeros((1, WIDTH)), np.zeros((1, WIDTH), dtype=bool)
    for name, value in features.items():
        values[0, index(name)], mask[0, index(name)] = value, True
    return values, mask


FALL = {
    "perp_return_30s": -50.0, "realised_volatility_30s": 20.0, "long_liquidations_1m": math.log1p(4e6),
    "short_liquidations_1m": 0.0, "bid_depth_10bp": math.log1p(1e6), "ask_depth_10bp": math.log1p(9e6),
}  # fmt: skip


def test_pressure_is_the_share_of_the_move_that_is_forced() -> None:
    """4 million of longs into bids of 1 million within 10 bp explain 40 of 50 bp: n = .8. No shorts, no squeeze up."""
    assert pressure(*state(**FALL))[0] == pytest.approx(0.8, rel=1e-5)
    assert pressure(*state(**(FALL | {"perp_return_30s": 50.0})))[0] == 0.0
    squeeze = {"short_liquidations_1m": FALL["long_liquidations_1m"], "perp_return_30s": 50.0}
    assert pressure(*state(**(FALL | squeeze)))[0] == pytest.approx(0.8 / 9, rel=1e-5)


def test_pressure_needs_a_move_and_all_that_it_is_made_of() -> None:
    """Within the usual noise it is measured against that; with a feature missing it is 0."""
    assert pressure(*state(**(FALL | {"perp_return_30s": -1.0})))[0] == pytest.approx(2.0, rel=1e-5)
    for name in FALL:
        assert pressure(*state(**{k: v for k, v in FALL.items() if k != name}))[0] == 0.0
    assert np.isfinite(pressure(*state(**(FALL | {"bid_depth_10bp": 0.0, "long_liquidations_1m": 1e3})))[0])
