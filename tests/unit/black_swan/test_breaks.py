"""The break alarm rises after a break, falls again, and survives a trip through a bundle."""

import numpy as np
import pytest
import torch

from cryptoai.black_swan.alarm import Hysteresis
from cryptoai.black_swan.breaks import LEARNED, RUN_LENGTH, BreakAlarm, alarm_path
from cryptoai.core.errors import BundleError
from cryptoai.encoders.bocpd import BOCPD
from cryptoai.testing.market.breaks import break_market


@pytest.fixture(scope="module")
def alarm() -> BreakAlarm:
    """Fitted on 4,000 rows of one seed."""
    return BreakAlarm.fit(break_market(1, 4000).values[:, None], np.random.default_rng(0))


def burst(seed: int) -> np.ndarray:
    """200 calm rows and 40 of twice the volatility, [240, 1]."""
    values = np.random.default_rng(seed).standard_normal(240)
    values[200:] *= 2.0
    return values[:, None]


def test_it_stands_after_a_break_and_not_before(alarm: BreakAlarm) -> None:
    """On most of twenty histories cut 15 rows after the break; on next to none cut at it."""
    after = [alarm.raised(burst(seed)[:215]) for seed in range(20)]
    before = [alarm.raised(burst(seed)[:200]) for seed in range(20)]
    assert sum(after) >= 14
    assert sum(before) <= 3


def test_it_falls_again_in_a_regime_that_lasts(alarm: BreakAlarm) -> None:
    """Sixty rows after the break nothing is new any more."""
    values = np.random.default_rng(3).standard_normal((300, 1))
    values[200:] *= 2.0
    path = alarm_path(alarm.scores(values), LEARNED)
    assert path[200:240].any()
    assert not path[275:].any()


def test_the_path_is_the_rule_of_every_prefix() -> None:
    """Whatever the scores, not-a-number included."""
    scores = [0.1, 0.7, 0.4, 0.2, 0.2, 0.2, float("nan"), 0.1, 0.1, 0.1, 0.55]
    for rule in (LEARNED, RUN_LENGTH, Hysteresis(0.5, 0.5, 1)):
        path = alarm_path(scores, rule)
        assert path.tolist() == [rule.raised(scores[: n + 1]) for n in range(len(scores))]


def test_signs_reach_one_where_the_alarm_rises(alarm: BreakAlarm) -> None:
    """In the unit of the common alarm, whose level is 1."""
    path, signs = alarm_path(alarm.scores(burst(3)), LEARNED), alarm.signs(burst(3))
    rise = int(path.argmax())
    assert path[rise]
    assert signs[rise] >= 1.0 > signs[:rise].max()


def test_missing_values_are_left_out(alarm: BreakAlarm) -> None:
    """A history with holes gives probabilities; a history of holes alone gives no alarm."""
    values = burst(5)
    values[::7] = np.nan
    scores = alarm.scores(values)
    assert np.isfinite(scores).all()
    assert not alarm.raised(np.full((240, 1), np.nan))


def test_run_lengths_find_a_level_that_training_never_saw() -> None:
    """The mean jumps, which a model of volatility regimes was not shown; BOCPD answers within ten rows, each time."""
    values = np.random.default_rng(6).standard_normal((10, 200))
    values[:, 150:] += 4
    rows = torch.as_tensor(values)
    scores = BOCPD().recent(rows, torch.ones_like(rows, dtype=torch.bool)).numpy()
    paths = np.stack([alarm_path(row, RUN_LENGTH) for row in scores])
    assert paths[:, 150:160].any(axis=1).all()
    assert paths[:, 140:150].any(axis=1).sum() <= 2


def test_a_bundle_carries_it(alarm: BreakAlarm) -> None:
    """Read back, it gives the same bits; without its tensors the bundle is refused."""
    again = BreakAlarm.from_tensors(alarm.tensors() | {"tail": torch.zeros(5)})
    assert np.array_equal(again.scores(burst(1)), alarm.scores(burst(1)))
    with pytest.raises(BundleError, match="missing"):
        BreakAlarm.from_tensors({})
    with pytest.raises(BundleError, match="incomplete"):
        BreakAlarm.from_tensors({"breaks.mean": alarm.tensors()["breaks.mean"]})
