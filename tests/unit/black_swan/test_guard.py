"""What a bundle carries of the black-swan part: the tail with its scale, and the signs of alarm."""

import math

import numpy as np
import pytest
import torch

from cryptoai.black_swan import guard, vae
from cryptoai.black_swan.alarm import ALARM, Signs
from cryptoai.black_swan.backtests import kupiec
from cryptoai.black_swan.guard import Forecasts, RiskModel
from cryptoai.core.errors import BundleError, DataError
from cryptoai.data_universe.schema import WIDTH, index
from cryptoai.testing.market.tails import garch_market

FAST, SLOW, MOVE = (index(name) for name in ("realised_volatility_5s", "realised_volatility_30s", "perp_return_1s"))


def lagging(seed: int, rows: int) -> tuple[np.ndarray, Forecasts]:
    """Surprises of a forecast whose deviation is always 1 in a market whose volatility moves, and the states."""
    level = np.exp(0.6 * np.random.default_rng(seed).normal(size=rows // 100))
    returns = garch_market(seed, rows).returns * np.repeat(level, 100)
    values, mask = np.zeros((rows, WIDTH)), np.zeros((rows, WIDTH), dtype=bool)
    past = np.concatenate([np.ones(30), np.abs(returns[:-1])])
    for column, window in ((FAST, 8), (SLOW, 30)):
        squares = np.cumsum(np.concatenate([[0.0], past**2]))
        values[:, column] = np.sqrt((squares[window:] - squares[:-window])[-rows:])
    values[:, MOVE], mask[:, [FAST, SLOW, MOVE]] = past[-rows:], True
    return returns, Forecasts(values, mask, np.ones(rows))


def test_the_scale_mends_a_forecast_that_lags() -> None:
    """Fitted on one stretch, its 99 % breaches of another follow no cluster's volatility; without scale they do."""
    surprises, known = lagging(1, 4000)
    later, later_known = lagging(2, 4000)
    with_scale = RiskModel.fit(known.values, known.mask, surprises, forecasts=known)
    without = RiskModel.fit(known.values, known.mask, surprises)
    wild = later_known.values[:, SLOW] > np.quantile(later_known.values[:, SLOW], 0.9)
    rates = {}
    for name, model, forecasts in (("with", with_scale, later_known), ("without", without, None)):
        rates[name] = (model.losses(later, forecasts) > model.tail.var(0.99))[wild].mean()
    assert rates["with"] < 0.02
    assert rates["without"] > 0.04


def test_the_loss_uses_the_scale_of_the_state() -> None:
    """In a wild state VaR is larger than in a quiet one at the same forecast, and equals the tail times the scale."""
    surprises, known = lagging(1, 2000)
    model = RiskModel.fit(known.values, known.mask, surprises, forecasts=known)
    order = np.argsort(known.values[:, SLOW])
    quiet, wild = (model.loss(0.99, 0.0, 1.0, known.values[row], known.mask[row])[0] for row in order[[30, -30]])
    assert wild > 1.5 * quiet
    row = order[-30]
    one = Forecasts(known.values[[row]], known.mask[[row]], np.ones(1))
    assert wild == pytest.approx(model.tail.var(0.99) / float(model.losses(np.ones(1), one)[0]))
    assert model.loss(0.99, 0.0, 1.0)[0] == model.tail.var(0.99)


def test_a_scale_that_would_fall_with_volatility_is_not_believed() -> None:
    """Where training's surprises are smaller in wild states, the scale does nothing rather than the opposite."""
    rng = np.random.default_rng(3)
    _, known = lagging(1, 2000)
    surprises = rng.normal(size=2000) / known.values[:, SLOW]
    model = RiskModel.fit(known.values, known.mask, surprises, forecasts=known)
    assert model.scale is not None
    assert (model.scale.weights >= 0).all()
    assert model.losses(surprises, known) == pytest.approx(np.abs(surprises), rel=0.05)


def test_a_state_without_volatility_counts_as_average() -> None:
    """Missing features leave the forecast's deviation as it is."""
    surprises, known = lagging(1, 2000)
    model = RiskModel.fit(known.values, known.mask, surprises, forecasts=known)
    nothing = np.zeros(WIDTH, dtype=bool)
    assert model.loss(0.99, 0.0, 2.0, known.values[0], nothing)[0] == pytest.approx(2.0 * model.tail.var(0.99))


def test_a_huge_move_is_a_sign_of_its_own() -> None:
    """A second that moves further than one in 100,000 raises the alarm, and a usual one does not."""
    surprises, known = lagging(1, 2000)
    model = RiskModel.fit(known.values, known.mask, surprises)
    assert model.move_limit >= 1.5 * known.values[:, MOVE].max()
    state = known.values[:1].copy()
    assert model.signs(state, known.mask[:1]).tail[0] < 0.7
    state[0, MOVE] = -1.01 * model.move_limit
    signs = model.signs(state, known.mask[:1])
    assert signs.tail[0] > 1.0
    assert ALARM.raised(signs.level())
    nothing = np.zeros((1, WIDTH), dtype=bool)
    assert model.signs(state, nothing).tail[0] == 0.0


def test_everything_survives_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """With scale, choice and limit the stored model answers bit for bit; an older file without them still loads."""
    monkeypatch.setattr(vae, "STEPS", 10)
    monkeypatch.setattr(guard, "ENOUGH", 500)
    surprises, known = lagging(1, 600)
    model = RiskModel.fit(
        known.values, known.mask, surprises, forecasts=known, min_exceed=20, generator=torch.Generator().manual_seed(1)
    )
    assert all(0.0 <= figure <= 1.0 for figure in model.auroc)
    stored = model.tensors()
    back = RiskModel.from_tensors(stored)
    state = known.values[7], known.mask[7]
    assert back.loss(0.99, 0.1, 1.3, *state) == model.loss(0.99, 0.1, 1.3, *state)
    assert np.array_equal(back.signs(known.values, known.mask).level(), model.signs(known.values, known.mask).level())
    assert (back.auroc, back.move_limit) == (model.auroc, model.move_limit)
    old = {name: t for name, t in stored.items() if not name.startswith(("scale.", "move", "anomaly.auroc"))}
    assert RiskModel.from_tensors(old).move_limit == math.inf
    with pytest.raises(BundleError, match="move limit"):
        RiskModel.from_tensors(stored | {"move_limit": torch.tensor([math.nan])})


def test_the_coverage_holds_on_another_stretch() -> None:
    """At 99 % the scaled tail's rate of breaches is not rejected on a market it was not fitted on."""
    surprises, known = lagging(5, 4000)
    later, later_known = lagging(6, 4000)
    model = RiskModel.fit(known.values, known.mask, surprises, forecasts=known)
    assert kupiec(model.losses(later, later_known) > model.tail.var(0.99), 0.99).p_value > 0.05


def test_the_worst_sign_is_the_level() -> None:
    """Each sign alone can raise; what nobody measures is not there; what is not a number is worst."""
    calm, bad = np.array([0.1, 0.2]), np.array([0.1, 1.5])
    assert not ALARM.raised(Signs(calm, calm, calm, calm).level())
    for name in ("tail", "cascade", "regime_break"):
        signs = Signs(calm, **{name: bad})
        assert ALARM.raised(signs.level())
        assert signs.cause() == name
    assert Signs(bad, cascade=calm).cause() == "anomaly"
    broken = Signs(bad, cascade=np.array([0.0, np.nan]))
    assert broken.cause() == "cascade"
    assert ALARM.raised(broken.level())
    with pytest.raises(DataError, match="one length"):
        Signs(calm, tail=np.zeros(3))
