"""The same figures by another hand: empyrical, told that a year has 365 days."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import empyrical
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats

from cryptoai.backtesting import metrics
from cryptoai.core.clock import SECOND

DAY = 86_400 * SECOND
DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
EXACT = {"rel": 1e-10, "abs": 1e-10}

Floats = npt.NDArray[np.float64]


def _bitcoin() -> Floats:
    """Daily closes of bitcoin, 2015 to 2026."""
    folder = DATA / "onchain_daily"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: daily prices of bitcoin are not shipped")
    with (folder / "data_merged_clean.csv").open() as rows:
        return np.array([float(row["price"]) for row in csv.DictReader(rows) if row["price"]])


def _made(seed: int) -> Floats:
    """A random equity curve with fat tails, 400 days."""
    random = np.random.default_rng(seed)
    return 100 * np.cumprod(np.concatenate([[1.0], 1 + 0.01 * random.standard_t(4, 400) + 0.0005]))


@pytest.fixture(params=["bitcoin", 1, 2, 3])
def equity(request: pytest.FixtureRequest) -> Floats:
    """Real and random curves."""
    return _bitcoin() if request.param == "bitcoin" else _made(request.param)


def test_yearly_figures_agree_with_empyrical(equity: Floats) -> None:
    """CAGR, volatility, Sharpe, Sortino, Calmar and drawdown of a daily curve, to ten digits."""
    found = metrics.performance(np.arange(len(equity)) * DAY, equity)
    returns = metrics.period_returns(equity)
    assert found.total_return == pytest.approx(empyrical.cum_returns_final(returns), **EXACT)
    assert found.cagr == pytest.approx(empyrical.cagr(returns, annualization=365), **EXACT)
    assert found.volatility == pytest.approx(empyrical.annual_volatility(returns, annualization=365), **EXACT)
    assert found.sharpe == pytest.approx(empyrical.sharpe_ratio(returns, annualization=365), **EXACT)
    assert found.sortino == pytest.approx(empyrical.sortino_ratio(returns, annualization=365), **EXACT)
    assert found.calmar == pytest.approx(empyrical.calmar_ratio(returns, annualization=365), **EXACT)
    assert found.max_drawdown == pytest.approx(-empyrical.max_drawdown(returns), **EXACT)


def test_tail_figures_agree_with_empyrical(equity: Floats) -> None:
    """VaR, CVaR and tail ratio of the same returns; skew and kurtosis, which it lacks, are SciPy's."""
    returns = metrics.period_returns(equity)
    assert metrics.value_at_risk(returns) == pytest.approx(-empyrical.value_at_risk(returns), **EXACT)
    assert metrics.expected_shortfall(returns) == pytest.approx(-empyrical.conditional_value_at_risk(returns), **EXACT)
    assert metrics.tail_ratio(returns) == pytest.approx(empyrical.tail_ratio(returns), **EXACT)
    assert metrics.skewness(returns) == pytest.approx(float(stats.skew(returns)), **EXACT)
    assert metrics.kurtosis(returns) == pytest.approx(float(stats.kurtosis(returns, fisher=False)), **EXACT)


def test_rolling_sharpe_agrees_with_empyrical(equity: Floats) -> None:
    """Every window of ninety days."""
    returns = metrics.period_returns(equity)[:600]
    ours = metrics.rolling_sharpe(returns, 90, 365)
    theirs = empyrical.roll_sharpe_ratio(returns, window=90, annualization=365)
    assert np.isnan(ours[:89]).all()
    assert ours[89:] == pytest.approx(np.asarray(theirs), **EXACT)


def test_the_default_year_of_empyrical_is_not_ours(equity: Floats) -> None:
    """With 252 days it says something else, by sqrt(365 / 252): the trap that this project does not fall into."""
    returns = metrics.period_returns(equity)
    ratio = metrics.sharpe(returns, 365)
    assert ratio == pytest.approx(empyrical.sharpe_ratio(returns) * math.sqrt(365 / 252), **EXACT)


def test_two_and_a_half_years_of_bitcoin_give_the_known_figures() -> None:
    """The perpetual's daily closes from 2020-01 to 2022-06, with the crashes of March 2020, May 2021 and May 2022."""
    path = DATA / "crash_2020_2022" / "usdm_perp_1h_2020-01_2022-06_covid_may21_luna.parquet"
    if not path.is_file():
        pytest.skip(f"{path} is absent: it may not be shipped")
    table = pd.read_parquet(path)
    hours = table[table["symbol"] == "BTC/USDT:USDT"].set_index("date")["close"]
    equity = hours.resample("1D").last().dropna().to_numpy()
    found = metrics.performance(np.arange(len(equity)) * DAY, equity)
    assert found.sharpe == pytest.approx(1.1449, abs=5e-5)
    assert found.sortino == pytest.approx(1.6510, abs=5e-5)
    assert found.max_drawdown == pytest.approx(0.5766, abs=5e-5)
    assert found.calmar == pytest.approx(1.343, abs=5e-4)
    assert found.es_95 == pytest.approx(0.08755, abs=5e-6)
