"""Change-point detection equals Bayes' rule by enumeration, and keeps quiet when it should."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from cryptoai.core.errors import ConfigError, DataError
from cryptoai.encoders.bocpd import BOCPD


def evidence(detector: BOCPD, values: np.ndarray) -> float:
    """Density of the values of one run under the Normal-Gamma prior: a multivariate t, by the chain rule."""
    total, mean, kappa, alpha, beta = 1.0, detector.mean, detector.kappa, detector.alpha, detector.beta
    for value in values:
        scale = np.sqrt(beta * (kappa + 1) / (alpha * kappa))
        total *= stats.t.pdf(value, 2 * alpha, mean, scale)
        beta += kappa * (value - mean) ** 2 / (2 * (kappa + 1))
        mean, kappa, alpha = (kappa * mean + value) / (kappa + 1), kappa + 1, alpha + 0.5
    return total


def run(values: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, T) values and a full mask."""
    rows = torch.as_tensor(values)[None]
    return rows, torch.ones_like(rows, dtype=torch.bool)


def test_it_is_bayes_rule_over_all_places_of_breaks() -> None:
    """On eight rows, summing over the 128 sets of breaks gives P(a break in the last 3 rows)."""
    detector = BOCPD(hazard=0.1, kappa=0.5, alpha=1.5, beta=0.8, reach=10)
    values = np.array([0.1, -0.3, 0.2, 0.0, 2.5, 3.1, 2.2, 2.9])
    mass = {True: 0.0, False: 0.0}
    for breaks in itertools.product((False, True), repeat=7):
        edges = [0, *(t + 1 for t in range(7) if breaks[t]), 8]
        weight = np.prod([0.1 if broke else 0.9 for broke in breaks])
        for a, b in itertools.pairwise(edges):
            weight *= evidence(detector, values[a:b])
        mass[any(breaks[-3:])] += weight
    expected = mass[True] / (mass[True] + mass[False])
    assert 0.05 < expected < 0.95
    assert detector.recent(*run(values), rows=3)[0, -1].item() == pytest.approx(expected, abs=1e-9)
    assert BOCPD(hazard=0.2, kappa=0.5, alpha=1.5, beta=0.8).recent(*run(values), rows=3)[
        0, -1
    ].item() != pytest.approx(expected, abs=1e-3)


def test_a_bounded_memory_changes_little() -> None:
    """A reach of 60 rows answers as one of 400 rows does."""
    values = np.random.default_rng(1).standard_normal(400)
    values[200:] *= 3
    short, long = (BOCPD(reach=reach).recent(*run(values)) for reach in (60, 400))
    assert float((short - long).abs().max()) < 0.15
    assert float((short - long).abs().mean()) < 0.01


def test_it_sees_a_jump_and_not_the_beginning_of_the_history() -> None:
    """The probability is low before the jump, from the first row on, and high soon after it."""
    values = np.random.default_rng(2).standard_normal(200)
    values[120:] += 4.0
    p = BOCPD().recent(*run(values))[0]
    assert float(p[:120].max()) < 0.5
    assert float(p[123:135].min()) > 0.9
    assert float(p[190:].max()) < 0.5


def test_missing_rows_teach_nothing_and_the_future_changes_nothing() -> None:
    """NaN behind the mask is harmless; rows up to t are the same bits whatever follows."""
    values, mask = run(np.random.default_rng(3).standard_normal(100))
    mask[0, 40:50] = False
    blank, changed = values.clone(), values.clone()
    blank[0, 40:50] = torch.nan
    changed[0, 70:] = 9.0
    base = BOCPD().recent(values, mask)
    assert torch.equal(base, BOCPD().recent(blank, mask))
    after = BOCPD().recent(changed, mask)
    assert torch.equal(base[:, :70], after[:, :70])
    assert not torch.equal(base[:, 70:], after[:, 70:])


def test_units_do_not_matter_once_the_prior_is_scaled() -> None:
    """Values in other units, with a prior fitted in those units, give the same probabilities."""
    values = torch.as_tensor(np.random.default_rng(4).standard_normal(150))
    mask = torch.ones(1, 150, dtype=torch.bool)
    plain = BOCPD.scaled_to(values).recent(values[None], mask)
    scaled = BOCPD.scaled_to(3 + 1e-4 * values).recent(3 + 1e-4 * values[None], mask)
    assert torch.allclose(plain, scaled, atol=1e-6)


def test_heavy_tails_are_taken_for_breaks_unless_they_are_expected() -> None:
    """Student-t noise of 5 degrees without a break: far fewer rows above .5 with `freedom` 5; a jump is still seen."""
    noise = np.random.default_rng(8).standard_t(5, (4, 600)) * np.sqrt(3 / 5)
    rows = torch.as_tensor(noise)
    mask = torch.ones_like(rows, dtype=torch.bool)
    normal, heavy = (BOCPD(freedom=freedom).recent(rows, mask) for freedom in (np.inf, 5.0))
    assert (heavy > 0.5).sum() < 0.5 * (normal > 0.5).sum()
    rows[:, 500:] += 4.0
    assert (BOCPD(freedom=5.0).recent(rows, mask)[:, 505:515] > 0.9).all()


def test_settings_without_meaning_are_refused() -> None:
    """A hazard of 1, a prior of no weight, more recent rows than are kept, values that never vary."""
    with pytest.raises(ConfigError, match="hazard"):
        BOCPD(hazard=1.0)
    with pytest.raises(ConfigError, match="positive"):
        BOCPD(kappa=0.0)
    with pytest.raises(ConfigError, match="variance"):
        BOCPD(freedom=2.0)
    with pytest.raises(ConfigError, match="reach"):
        BOCPD(reach=10).recent(*run(np.zeros(5)), rows=20)
    with pytest.raises(DataError, match="never vary"):
        BOCPD.scaled_to(torch.ones(50))
