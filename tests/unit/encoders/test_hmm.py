"""The regime filter equals a row-by-row filter, never looks ahead, and its fit finds what was planted."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from cryptoai.core.errors import ConfigError, DataError
from cryptoai.encoders.hmm import RegimeHMM, fit_hmm
from cryptoai.encoders.regime import BLOCK, RegimeFilter
from cryptoai.testing.market.regimes import MEAN, SD, TRANSITION, regime_market, stationary


def planted() -> RegimeHMM:
    """The three regimes with their true parameters, float64."""
    chain = torch.tensor(TRANSITION, dtype=torch.float64)
    start = torch.tensor(stationary(chain.numpy()))
    mean, sd = (torch.tensor(part, dtype=torch.float64)[:, None] for part in (MEAN, SD))
    return RegimeHMM.of(start, chain, mean, sd)


def shown(values: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, T, 1) values and a full mask."""
    rows = torch.as_tensor(values, dtype=torch.float64)[None, :, None]
    return rows, torch.ones_like(rows, dtype=torch.bool)


def test_the_filter_with_the_true_parameters_is_the_oracle() -> None:
    """To rounding, over 3,000 rows, and its likelihood is the sum of one-step forecasts."""
    market = regime_market(1, 3000)
    found = planted()(*shown(market.returns))
    assert found.probabilities[0].detach().numpy() == pytest.approx(market.oracle(), abs=1e-9)
    ahead = np.vstack([stationary(np.asarray(TRANSITION)), market.oracle()[:-1] @ np.asarray(TRANSITION)])
    z = (market.returns[:, None] - np.asarray(MEAN)) / np.asarray(SD)
    density = np.exp(-0.5 * z * z) / np.asarray(SD) / np.sqrt(2 * np.pi)
    assert found.log_likelihood[0, -1].item() == pytest.approx(np.log((ahead * density).sum(1)).sum())


def test_histories_without_a_hint_of_underflow() -> None:
    """Rows that no state explains, a thousand sds away, still give probabilities, in float32 too."""
    model = planted().float()
    rows = torch.zeros(2, 500, 1)
    rows[:, 100:110] = 3000.0
    known = model(rows, torch.ones_like(rows, dtype=torch.bool)).probabilities
    assert torch.isfinite(known).all()
    assert torch.allclose(known.sum(-1), torch.ones(2, 500), atol=1e-5)
    assert known[0, 105, 2].item() == pytest.approx(1.0, abs=1e-6)


def test_the_future_and_the_masked_have_no_influence() -> None:
    """Changing rows after t, or values behind the mask, leaves rows up to t as they were; a shown value does not."""
    market = regime_market(2, 200)
    rows, there = shown(market.returns)
    there[0, 50:60] = False
    before = planted()(rows, there).probabilities
    changed = rows.clone()
    changed[0, 120:] += 5.0
    changed[0, 50:60] = 1e9
    after = planted()(changed, there).probabilities
    assert torch.allclose(before[:, :120], after[:, :120], atol=1e-12, rtol=0)
    assert not torch.allclose(before[:, 120:], after[:, 120:], atol=1e-3)


def test_without_data_the_filter_follows_the_chain() -> None:
    """A masked row multiplies by the transition matrix and nothing else."""
    rows, there = shown(np.zeros(40))
    there[0, 10:] = False
    known = planted()(rows, there).probabilities[0].detach()
    for t in range(10, 40):
        assert known[t].numpy() == pytest.approx((known[t - 1] @ planted().transition).detach().numpy(), abs=1e-10)


def test_the_filter_is_differentiable() -> None:
    """The gradient of the likelihood in every parameter equals finite differences."""
    model, (rows, there) = planted(), shown(regime_market(3, 30).returns)
    total = model(rows, there).log_likelihood[0, -1]
    total.backward()
    for parameter in model.parameters():
        slope = parameter.grad.flatten()[1]
        with torch.no_grad():
            flat = parameter.view(-1)
            flat[1] += 1e-6
            above = model(rows, there).log_likelihood[0, -1].item()
            flat[1] -= 2e-6
            below = model(rows, there).log_likelihood[0, -1].item()
            flat[1] += 1e-6
        assert float(slope) == pytest.approx((above - below) / 2e-6, rel=1e-4, abs=1e-5)


def test_the_chance_of_a_rise_is_exact() -> None:
    """It equals a filter over (state now, state five rows ago) by enumeration of all paths between the two."""
    model, rows = planted(), 5
    values, there = shown(regime_market(4, 60).returns)
    filtered = model(values, there)
    found = model.rose(filtered, rows)[0].detach().numpy()
    fit, known = filtered.log_fit[0].exp().detach().numpy(), filtered.probabilities[0].detach().numpy()
    chain = model.transition.detach().numpy()
    for t in (5, 17, 42, 59):
        mass = np.zeros((3, 3))
        for path in itertools.product(range(3), repeat=rows + 1):
            moves = zip(itertools.pairwise(path), fit[t - rows + 1 : t + 1], strict=True)
            mass[path[0], path[-1]] += known[t - rows, path[0]] * np.prod([chain[a, b] * f[b] for (a, b), f in moves])
        assert found[t] == pytest.approx(np.triu(mass, 1).sum() / mass.sum(), abs=1e-9)
    assert (found[:rows] == 0).all()
    assert found.max() > 0.05


def test_the_fit_finds_the_planted_regimes() -> None:
    """Sds within a tenth, states from calm to wild, likelier than the truth on its own data."""
    market = regime_market(5, 6000)
    model = fit_hmm(market.returns[:, None], 3, np.random.default_rng(0), restarts=3, iterations=30)
    sd = model.log_sd.exp().detach().numpy()[:, 0]
    assert sd == pytest.approx(np.asarray(SD), rel=0.1)
    data = shown(market.returns)
    ours, truth = (m(*data).log_likelihood[0, -1].item() for m in (model, planted()))
    assert ours > truth - 1.0


def test_student_states_leave_outliers_where_they_are() -> None:
    """Two scales of t4 noise, 100 rows each: with `freedom` 4 states last and scales are found; normal states flip."""
    scale = np.repeat(np.tile([1.0, 3.0], 20), 100)
    values = (scale * np.random.default_rng(3).standard_t(4, 4000))[:, None]
    normal, student = (
        fit_hmm(values, 2, np.random.default_rng(0), freedom=freedom, restarts=2, iterations=40)
        for freedom in (np.inf, 4.0)
    )
    assert student.log_sd.exp().detach().numpy()[:, 0] == pytest.approx([1.0, 3.0], rel=0.12)
    assert student.transition.diagonal().min().item() > 0.983
    assert normal.transition.diagonal().max().item() < 0.98
    rows, there = shown(values[:5, 0])
    expected = stats.t.logpdf(values[:5], 4, student.mean.detach().T, student.log_sd.exp().detach().T)
    assert student.log_fit(rows, there)[0].detach().numpy() == pytest.approx(expected)


def test_the_same_generator_gives_the_same_fit_and_rows_behind_the_mask_count_for_nothing() -> None:
    """Bit for bit."""
    market = regime_market(6, 1000)
    values = np.stack([market.returns, np.ones(1000)], 1)
    mask = np.ones_like(values, dtype=bool)
    mask[:, 1] = np.arange(1000) % 3 == 0
    values[:, 1] += np.random.default_rng(1).standard_normal(1000)
    hidden = np.where(mask, values, 1e6)
    one, other = (
        fit_hmm(v, 2, np.random.default_rng(0), mask=mask, restarts=2, iterations=10) for v in (values, hidden)
    )
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_too_short_a_history_is_refused() -> None:
    """With the number of rows that it takes."""
    with pytest.raises(DataError, match="at least 150"):
        fit_hmm(np.zeros((100, 1)), 3, np.random.default_rng(0))


def test_the_block_says_what_its_columns_say() -> None:
    """Eight columns, causal, probabilities first; volatility is higher and entropy positive where it should be."""
    market = regime_market(7, 1500)
    values, mask = market.returns[:, None].astype(np.float32), np.ones((1500, 1), dtype=bool)
    model = RegimeFilter.fit(values, mask, np.random.default_rng(0), states=3)
    rows, there = torch.as_tensor(values[None, :300]), torch.ones(1, 300, 1, dtype=torch.bool)
    with torch.no_grad():
        block = model(rows, there)[0]
        shorter = model(rows[:, :200], there[:, :200])[0]
    assert block.shape == (300, len(BLOCK))
    assert torch.allclose(block[:200], shorter, atol=1e-6)
    assert torch.allclose(block[:, :3].sum(-1), torch.ones(300), atol=1e-5)
    assert (block[:, 3] == 0).all()
    regime = torch.as_tensor(market.regime[:300])
    volatility = block[:, BLOCK.index("volatility")]
    assert volatility[regime == regime.max()].mean() > volatility[regime == 0].mean() + 0.1
    assert 0 <= float(block[:, BLOCK.index("p_break")].min()) <= float(block[:, BLOCK.index("p_break")].max()) <= 1
    age = torch.expm1(10 * block[:, BLOCK.index("age")]).round()
    best = block[:, :3].argmax(-1)
    assert ((age[1:] == 0) == (best[1:] != best[:-1])).all()


def test_a_block_of_five_regimes_is_refused() -> None:
    """It has four places for probabilities."""
    with pytest.raises(ConfigError, match="2 to 4"):
        RegimeFilter(1, states=5)
