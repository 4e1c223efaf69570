"""The synthetic market keeps the promises that other tests rely on."""

import numpy as np
import pytest

from cryptoai.data_universe.schema import index
from cryptoai.testing.market import NOISE_SLOTS, SIGNAL_SLOT, synthetic_dataset


def skill(guess: np.ndarray, truth: np.ndarray) -> float:
    """R^2 of a forecast against a forecast of zero."""
    return float(1 - ((truth - guess) ** 2).sum() / (truth**2).sum())


def test_the_same_seed_gives_the_same_bytes() -> None:
    """And another seed does not."""
    first, again, other = (synthetic_dataset(seed, 500) for seed in (1, 1, 2))
    assert first.values.tobytes() == again.values.tobytes()
    assert first.mid.tobytes() == again.mid.tobytes()
    assert first.mid.tobytes() != other.mid.tobytes()


def test_mid_is_the_sum_of_the_returns_and_times_are_regular() -> None:
    """mid[t + 1] = mid[t] exp(returns[t]), rows 100 ms apart."""
    market = synthetic_dataset(1, 500)
    assert np.allclose(np.diff(np.log(market.mid)), market.returns[:-1])
    assert set(np.diff(market.times)) == {100_000_000}
    assert market.values.dtype == np.float32
    assert market.values.shape == market.mask.shape == (500, 200)


def test_the_planted_signal_predicts_and_the_noises_do_not() -> None:
    """The slot that carries the signal correlates with the next return by its beta; no other slot does."""
    market = synthetic_dataset(3, 30_000, missing=0.0)
    after = market.returns * 1e4
    slope = np.polyfit(market.values[:, index(SIGNAL_SLOT)], after, 1)[0]
    assert slope == pytest.approx(0.16, abs=0.02)
    for name in NOISE_SLOTS:
        assert abs(np.corrcoef(market.values[:, index(name)], after)[0, 1]) < 0.02


def test_nothing_of_the_future_is_shown() -> None:
    """What rows show of returns is recomputed from earlier returns alone; the same check sees a planted leak."""
    market = synthetic_dataset(5, 400, missing=0.0)
    past = np.concatenate([[0.0], market.returns[:-1]]) * 1e4
    for name, rows in (("perp_return_1s", 10), ("perp_return_5s", 50)):
        expected = [past[max(0, t - rows + 1) : t + 1].sum() for t in range(400)]
        shown = market.values[:, index(name)]
        assert np.allclose(shown, expected, atol=1e-3)
        assert not np.allclose(shown + market.returns * 1e4, expected, atol=1e-3)
    energy = [(past[max(0, t - 49) : t + 1] ** 2).sum() ** 0.5 for t in range(400)]
    assert np.allclose(market.values[:, index("realised_volatility_5s")], energy, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 10])
def test_the_oracle_is_calibrated_and_beats_the_signal_alone(steps: int) -> None:
    """Standardised surprises have mean 0 and sd 1, and the skill is the one that the parameters imply."""
    market = synthetic_dataset(7, 40_000)
    mean, sd = (part[: len(market.returns) - steps + 1] for part in market.oracle(steps))
    truth = market.future(steps)
    z = (truth - mean) / sd
    assert abs(z.mean()) < 0.02 * steps**0.5
    assert z.std() == pytest.approx(1.0, abs=0.02)
    assert skill(mean, truth) == pytest.approx({1: 0.022, 10: 0.085}[steps], abs=0.02)
    assert (truth > 0).mean() < ((truth * mean) > 0).mean()


def test_the_filter_finds_the_regime() -> None:
    """Hamilton's filter is right more often than always saying calm, and its probabilities are honest."""
    market = synthetic_dataset(9, 30_000)
    wild = market.wild_probability()
    assert ((wild > 0.5) == market.regime).mean() > max(market.regime.mean(), 1 - market.regime.mean()) + 0.05
    sure = wild > 0.8
    assert market.regime[sure].mean() == pytest.approx(wild[sure].mean(), abs=0.03)


def test_missing_values_are_masked_and_zero() -> None:
    """The asked share of what is shown is missing, and a missing value is 0."""
    market = synthetic_dataset(1, 5000, missing=0.3)
    shown = market.mask.any(axis=0)
    assert market.mask[:, shown].mean() == pytest.approx(0.7, abs=0.02)
    assert (market.values[~market.mask] == 0).all()
