"""The tail of the losses on data whose tail is known."""

import math

import numpy as np
import pytest
from scipy import stats

from cryptoai.black_swan.evt import Tail, anderson_darling, christoffersen, fit_tail, kupiec, scan_thresholds
from cryptoai.core.errors import BundleError, DataError


def test_recovers_the_shape_of_a_generalised_pareto() -> None:
    """On exact GPD losses with xi .3 the shape has no bias and its 95 % interval covers the truth as promised."""
    rng = np.random.default_rng(3)
    tails = [fit_tail(stats.genpareto.rvs(0.3, size=2500, random_state=rng), thresholds=(0.9,)) for _ in range(60)]
    covered = [low <= 0.3 <= high for low, high in (tail.xi_interval() for tail in tails)]
    assert abs(np.mean([tail.xi for tail in tails]) - 0.3) < 0.04
    assert np.std([tail.xi for tail in tails]) == pytest.approx(1.3 / math.sqrt(250), rel=0.3)
    assert np.mean(covered) >= 0.87


def test_quantiles_and_shortfalls_of_a_student_t() -> None:
    """VaR and ES of Student-t(4) losses are within a tenth of the closed forms far out in the tail."""
    t4 = stats.t(4)
    tail = fit_tail(t4.rvs(40_000, random_state=11))
    for p in (0.99, 0.995, 0.999):
        quantile = t4.ppf(p)
        shortfall = t4.pdf(quantile) / (1 - p) * (4 + quantile**2) / 3
        assert tail.var(p) == pytest.approx(quantile, rel=0.1)
        assert tail.es(p) == pytest.approx(shortfall, rel=0.1)


def test_var_and_es_follow_the_closed_form_at_every_shape() -> None:
    """Above threshold 0 with every loss an exceedance, VaR is the GPD's own quantile, also at shape 0."""
    for xi in (-0.3, 0.0, 0.3):
        tail = Tail(xi, 2.0, 0.0, 500, 500)
        gpd = stats.genpareto(xi, scale=2.0)
        assert tail.var(0.99) == pytest.approx(gpd.ppf(0.99))
        assert tail.es(0.99) == pytest.approx(gpd.expect(lb=gpd.ppf(0.99), conditional=True), rel=1e-6)


def test_an_unstable_threshold_is_passed_over() -> None:
    """Where the tail changes its shape at the 94th percentile, the chosen threshold lies above the break."""
    rng = np.random.default_rng(5)
    body = rng.uniform(0.0, 1.0, 18_800)
    far = 1.0 + stats.genpareto.rvs(0.5, scale=3.0, size=1200, random_state=rng)
    tail = fit_tail(np.concatenate([body, far]))
    assert tail.threshold >= 1.0
    assert tail.xi == pytest.approx(0.5, abs=0.1)


def test_infinite_mean_is_held_below_one() -> None:
    """Losses with no mean still give a finite expected shortfall."""
    tail = fit_tail(stats.genpareto.rvs(1.6, size=3000, random_state=2))
    assert tail.xi <= 0.9
    assert math.isfinite(tail.es(0.995))


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        (np.zeros(5000), "no threshold"),
        (np.arange(50.0), "no threshold"),
        (np.array([]), "no threshold"),
        (np.array([1.0, np.nan]), "not finite"),
    ],
)
def test_refuses_what_has_no_tail(losses: np.ndarray, words: str) -> None:
    """Too few, constant or broken losses are an error, not a guess."""
    with pytest.raises(DataError, match=words):
        fit_tail(losses)


def test_var_below_the_threshold_is_refused() -> None:
    """The tail knows nothing of the body of the distribution."""
    with pytest.raises(DataError, match="below the tail"):
        Tail(0.1, 1.0, 2.0, 50, 1000).var(0.9)


def test_tail_survives_storage_and_impossible_tensors_are_refused() -> None:
    """What is stored is read back equal; a scale of zero is no tail."""
    tail = Tail(0.25, 1.5, 2.0, 120, 2400)
    stored = tail.tensors()
    assert Tail.from_tensors(stored) == tail
    stored["tail"][1] = 0.0
    with pytest.raises(BundleError, match="impossible"):
        Tail.from_tensors(stored)
    with pytest.raises(BundleError, match="no tensor tail"):
        Tail.from_tensors({})


def test_maximum_likelihood_agrees_with_scipy() -> None:
    """The profile finds the same maximum as a general optimiser, for light and heavy tails."""
    for xi in (-0.3, 0.0, 0.4):
        losses = stats.genpareto.rvs(xi, size=800, random_state=9)
        tail = fit_tail(losses, thresholds=(0.85,))
        excess = losses[losses > tail.threshold] - tail.threshold
        shape, _, scale = stats.genpareto.fit(excess, floc=0)
        assert (tail.xi, tail.beta) == (pytest.approx(shape, abs=2e-3), pytest.approx(scale, rel=2e-3))


def test_anderson_darling_rejects_one_in_twenty_true_tails() -> None:
    """On exact generalised Pareto excesses the misfit exceeds 1 in 5 % of 400 samples, within chance."""
    rng = np.random.default_rng(4)
    rejected = 0
    for _ in range(400):
        losses = stats.genpareto.rvs(0.25, size=150, random_state=rng)
        rejected += scan_thresholds(losses, thresholds=(0.0,), min_exceed=100).misfit[0] > 1.0
    assert 0.02 < rejected / 400 < 0.09


def test_anderson_darling_sees_what_is_no_pareto() -> None:
    """Excesses of a half-normal mixture are rejected; of an exponential law they give the textbook statistic."""
    rng = np.random.default_rng(4)
    mixture = np.abs(np.concatenate([rng.normal(0, 1, 900), rng.normal(12, 1, 100)]))
    assert scan_thresholds(mixture, thresholds=(0.0,)).misfit[0] > 3.0
    excess = rng.exponential(2.0, 400)
    assert anderson_darling(excess, 0.0, 2.0) == pytest.approx(_anderson(excess, stats.expon(scale=2.0).cdf))


def _anderson(sample: np.ndarray, cdf: object) -> float:
    """The statistic as it is defined, for any law."""
    u = cdf(np.sort(sample))  # type: ignore[operator]
    i = np.arange(1, len(u) + 1)
    return float(-len(u) - np.mean((2 * i - 1) * (np.log(u) + np.log1p(-u[::-1]))))


def test_overlapping_losses_count_as_few_and_believe_the_prior() -> None:
    """Ten copies of 200 thin-tailed losses: a tenth of the counts, a wide interval, a shape drawn up to the prior."""
    losses = np.repeat(np.random.default_rng(1).uniform(0, 1, 200), 10) + np.tile(np.arange(10) * 1e-9, 200)
    naive, known = (fit_tail(losses, thresholds=(0.85,), overlap=overlap) for overlap in (1, 10))
    assert known.rate == pytest.approx(0.15, abs=0.01)
    assert known.n_exceed == 30
    assert naive.xi < 0.0 < known.xi + 0.3
    assert known.xi > naive.xi + 0.2
    assert np.ptp(known.xi_interval()) > 2 * np.ptp(naive.xi_interval())


def test_the_stability_band_holds_the_answer() -> None:
    """The band runs over every threshold from the chosen one up, and is narrow where the law is exact."""
    scan = scan_thresholds(stats.genpareto.rvs(0.2, size=20_000, random_state=8))
    low, high = scan.band(0.99)
    assert low <= scan.chosen.var(0.99) <= high
    assert high / low < 1.1
    assert scan.chosen.threshold == scan.tails[0].threshold


def test_the_fitted_var_covers_out_of_sample() -> None:
    """A tail fitted on half of Student-t losses has VaR whose breaches on the other half pass both tests."""
    losses = stats.t(5).rvs(20_000, random_state=23)
    tail = fit_tail(losses[:10_000])
    for p in (0.99, 0.995):
        breaches = losses[10_000:] > tail.var(p)
        assert kupiec(breaches, p).p_value > 0.05
        assert christoffersen(breaches, p).p_value > 0.05
