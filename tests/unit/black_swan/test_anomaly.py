"""The anomaly score, the alarm and what of them is stored."""

import numpy as np
import pytest

from cryptoai.black_swan.alarm import ALARM, Hysteresis
from cryptoai.black_swan.anomaly import Mahalanobis, ledoit_wolf
from cryptoai.black_swan.guard import RiskModel
from cryptoai.core.errors import BundleError, DataError
from cryptoai.data_universe.schema import WIDTH, group_slice


def factor_data(rows: int, seed: int, dims: int = 40) -> np.ndarray:
    """Correlated rows: 5 factors behind `dims` features."""
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(0).normal(size=(5, dims))
    return rng.normal(size=(rows, 5)) @ loadings + 0.3 * rng.normal(size=(rows, dims))


def all_present(values: np.ndarray) -> np.ndarray:
    return np.ones(values.shape, dtype=bool)


def test_training_like_states_score_below_one() -> None:
    """At most one state in a thousand of the same world scores above 1, and the typical one is not far below."""
    train, test = factor_data(4000, 1), factor_data(4000, 2)
    scores = Mahalanobis.fit(train, all_present(train)).score(test, all_present(test))
    assert (scores > 1).mean() < 0.002
    assert 0.3 < np.median(scores) < 1.0


def test_finds_rows_whose_dependence_is_broken() -> None:
    """Features swapped between rows keep every marginal and are still told apart (AUROC of .95 or more)."""
    train, clean = factor_data(3000, 1), factor_data(500, 2)
    odd = clean.copy()
    odd[:, :10] = odd[::-1, :10]
    model = Mahalanobis.fit(train, all_present(train))
    normal, broken = model.score(clean, all_present(clean)), model.score(odd, all_present(odd))
    assert (broken[:, None] > normal[None, :]).mean() >= 0.95


def test_missing_features_never_raise_a_score_above_one() -> None:
    """A state with nothing present scores 0, and its coverage says so."""
    train = factor_data(500, 1)
    model = Mahalanobis.fit(train, all_present(train))
    nothing = np.zeros((1, 40), dtype=bool)
    assert model.score(train[:1] * 1000, nothing) == 0.0
    assert model.coverage(nothing) == 0.0
    assert model.coverage(all_present(train[:1])) == 1.0


def test_features_that_training_never_saw_are_ignored() -> None:
    """A group absent or constant in training cannot make a state strange or incomplete."""
    train = factor_data(500, 1)
    mask = all_present(train)
    mask[:, 30:] = False
    train[:, 29] = 7.0
    model = Mahalanobis.fit(train, mask)
    wild = train[:1].copy()
    wild[:, 29:] = 1e6
    assert model.score(wild, all_present(wild)) == pytest.approx(model.score(train[:1], mask[:1]))
    assert model.coverage(mask[:1]) == 1.0


def test_drift_inside_the_training_window_widens_the_limit() -> None:
    """A window that drifts at its end knows that states move: its limit is larger than that of a still one."""
    still = factor_data(1000, 1)
    moving = still + np.linspace(0, 4, 1000)[:, None] ** 3 / 16
    assert Mahalanobis.fit(moving, all_present(moving)).limit > Mahalanobis.fit(still, all_present(still)).limit


def test_slow_data_are_not_taken_for_many_rows() -> None:
    """The same slow walk seen ten times as often neither loses its shrinkage nor raises false alarms later on."""

    def walk(rows: int, every: int) -> np.ndarray:
        rng = np.random.default_rng(6)
        path = np.zeros((rows * 20, 30))
        for t in range(1, len(path)):
            path[t] = 0.995 * path[t - 1] + 0.1 * rng.normal(size=30)
        return path[::every]

    slow = walk(300, 1)
    half = len(slow) // 2
    model = Mahalanobis.fit(slow[:half], all_present(slow[:half]))
    later = model.score(slow[half:], all_present(slow[half:]))
    assert (later > 1).mean() < 0.01
    assert np.median(later) > 0.3


def test_more_rows_than_needed_are_thinned() -> None:
    """A long tape fits in bounded memory, and to much the same limit."""
    long = factor_data(120_000, 1, 8)
    short = long[::24]
    limits = [Mahalanobis.fit(part, all_present(part)).limit for part in (long, short)]
    assert limits[0] == pytest.approx(limits[1], rel=0.15)


def test_shrinkage_follows_the_sample_size() -> None:
    """The identity gets much weight with few rows, little with many, and the result is never singular."""
    few, many = (rows - rows.mean(axis=0) for rows in (factor_data(20, 1), factor_data(5000, 1)))
    shrunk, weight = ledoit_wolf(few)
    assert weight > 5 * ledoit_wolf(many)[1]
    assert np.linalg.eigvalsh(shrunk).min() > 0
    assert np.trace(shrunk) == pytest.approx(np.trace(few.T @ few / 20))


def test_shrinkage_has_the_least_expected_error() -> None:
    """Against a known covariance the shrunk estimate is closer than the sample's, over many draws."""
    truth = np.diag(np.linspace(0.5, 2.0, 20))
    gain = []
    for seed in range(30):
        rows = np.random.default_rng(seed).normal(size=(25, 20)) @ np.sqrt(truth)
        gain.append(((rows.T @ rows / 25 - truth) ** 2).sum() - ((ledoit_wolf(rows)[0] - truth) ** 2).sum())
    assert min(gain) > 0


def test_too_little_data_is_refused() -> None:
    """49 rows, or rows with nothing in them, fit nothing."""
    with pytest.raises(DataError, match="50 rows"):
        Mahalanobis.fit(np.zeros((49, 4)), np.ones((49, 4), dtype=bool))
    with pytest.raises(DataError, match="50 rows"):
        Mahalanobis.fit(np.zeros((60, 4)), np.zeros((60, 4), dtype=bool))


def test_alarm_is_held_until_calm_is_proved() -> None:
    """It rises at the limit, stands between the two levels, and needs three calm scores to clear."""
    alarm = Hysteresis(on=1.0, off=0.8, calm=3)
    assert not alarm.raised([])
    assert not alarm.raised([0.99, 0.9])
    assert alarm.raised([1.0])
    assert alarm.raised([1.0, 0.5, 0.5])
    assert not alarm.raised([1.0, 0.5, 0.5, 0.5])
    assert alarm.raised([1.0, 0.5, 0.5, 0.9, 0.5, 0.5])
    assert ALARM.raised([float("nan")])


def test_the_calendar_and_our_own_position_are_never_strange() -> None:
    """Wild values in the asset and portfolio groups leave the score of a state as it is."""
    train = factor_data(400, 1, WIDTH)
    model = RiskModel.fit(train, all_present(train), np.random.default_rng(4).standard_t(5, size=4000))
    wild = train[:1].copy()
    for group in ("asset", "portfolio"):
        wild[:, group_slice(group)] = 1e6
    score = model.anomaly.score
    assert score(wild, all_present(wild)) == score(train[:1], all_present(wild))
    wild[:, group_slice("flow")] = 1e6
    assert score(wild, all_present(wild)) > 1


def test_the_risk_model_survives_storage() -> None:
    """What training stores is what inference uses, bit for bit; a missing tensor is named."""
    train = factor_data(400, 1, WIDTH)
    surprises = np.random.default_rng(4).standard_t(5, size=4000)
    model = RiskModel.fit(train, all_present(train), surprises)
    stored = model.tensors()
    back = RiskModel.from_tensors(stored)
    assert back.tail == model.tail
    assert np.array_equal(back.anomaly.score(train, all_present(train)), model.anomaly.score(train, all_present(train)))
    del stored["anomaly.sd"]
    with pytest.raises(BundleError, match=r"anomaly\.sd"):
        RiskModel.from_tensors(stored)


def test_the_loss_grows_with_the_forecast() -> None:
    """Twice the forecast deviation is twice the loss, and the shortfall is worse than the quantile."""
    train = factor_data(400, 1, WIDTH)
    model = RiskModel.fit(train, all_present(train), np.random.default_rng(4).standard_t(5, size=4000))
    var, es = model.loss(0.99, 0.0, 1.0)
    assert model.loss(0.99, 0.0, 2.0) == (pytest.approx(2 * var), pytest.approx(2 * es))
    assert es > var > 2.0
