"""A season on hourly candles: what only a long sample shows (yearly figures, months, funding), linear and inverse."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest

from cryptoai.backtesting.evaluate import Evaluation, evaluate, result_summary, verdict
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.report import render_report
from cryptoai.backtesting.run import Replay, run_backtest
from cryptoai.backtesting.windows import Window
from cryptoai.core.clock import SECOND
from cryptoai.core.config import build
from cryptoai.core.messages import Inference
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.facts import Facts
from cryptoai.testing.fakes import make_inference
from cryptoai.testing.jobs import REVISION

HOUR = 3600 * SECOND
START = 1_704_067_200 * SECOND
"""2024-01-01."""
HOURS = 24 * 75


class Turner:
    """Long for a day, short for a day; knows nothing."""

    def decide(self, history: Sequence[StateVector]) -> Inference:
        day = history[-1].known_at // (24 * HOUR)
        return make_inference(1.0 if day % 2 else -1.0, revision=REVISION, schema_hash=schema.SCHEMA_HASH, timing=1.0)


def _bars() -> Facts:
    """A random walk of 0.5 % an hour."""
    random = np.random.default_rng(8)
    close = 40_000 * np.exp(np.cumsum(random.normal(0, 0.005, HOURS)))
    start = np.concatenate([[40_000.0], close[:-1]])
    high, low = np.maximum(start, close) * 1.002, np.minimum(start, close) * 0.998
    times = START + np.arange(HOURS, dtype=np.int64) * HOUR
    columns = [np.full(HOURS, 3600.0), start, high, low, close, np.full(HOURS, 5_000.0)]
    return Facts.of("candles", times, times + HOUR, np.stack(columns, axis=1))


def _evaluated(name: str, cash: float) -> Evaluation:
    config = build(
        {
            "execution": {
                "mode": "backtest",
                "decision_interval_ms": 8 * 3600 * 1000,
                "order_ttl_ms": 3600 * 1000,
                "initial_cash": cash,
                "max_slippage_bps": 80,
            },
            "risk": {"max_data_age_s": 3600, "stop_loss_pct": 0.5, "max_drawdown_pct": 0.9, "max_daily_loss_pct": 0.9},
        }
    )
    feed = Feed.of_bars(instrument(name), _bars(), config.backtest)
    window = Window(START + 48 * HOUR, START + (HOURS - 1) * HOUR)
    return evaluate(run_backtest(Replay(config, (feed,), window, Turner(), REVISION)))


@pytest.fixture(scope="module")
def found() -> Evaluation:
    """The linear contract."""
    return _evaluated("binance_usdm:BTCUSDT", 1_000_000)


def test_a_season_has_yearly_figures_months_and_a_rolling_ratio(found: Evaluation) -> None:
    """CAGR and its family are there, four months in the table, thirty days in the window."""
    assert found.performance.note == ""
    assert found.performance.cagr is not None
    assert found.performance.sharpe is not None
    page = render_report(found)
    for text in ("<td>2024</td>", "<th>Mar</th>", "By month", "rolling 30 days", "CAGR", "(1 trial)"):
        assert text in page
    year = page.split("<td>2024</td>")[1].split("</tr>")[0]
    cells = [float(cell) / 100 for cell in re.findall(r">([+-][0-9.]+)%<", year)]
    assert len(cells) == 4
    assert math.prod(1 + cell for cell in cells[:3]) - 1 == pytest.approx(cells[3], abs=3e-4)
    assert cells[3] == pytest.approx(found.performance.total_return, abs=1e-4)


def test_on_candles_the_assumed_spread_is_the_spread(found: Evaluation) -> None:
    """Five basis points of all that was traded with market orders; what is left is slippage."""
    traded = sum(float(fill.price) * float(fill.quantity) for fill in found.result.ledger.fills)
    assert float(found.costs.spread) == pytest.approx(5e-4 * traded, rel=1e-3)
    assert found.costs.impact == 0


def test_funding_is_paid_by_strategy_and_baselines_alike(found: Evaluation) -> None:
    """Without a tape 1 bp every eight hours on what is held; holding pays it for every one of about 219 payments."""
    costs, ledger = found.costs, found.result.ledger
    assert costs.funding == sum((payment.amount.value for payment in ledger.funding), Decimal(0)) < 0
    assert costs.net == costs.gross - costs.spread - costs.slippage - costs.impact - costs.fees + costs.funding
    assert result_summary(found)["costs"]["funding_by_cause"] == {"funding": pytest.approx(float(costs.funding))}
    hold = next(baseline for baseline in found.baselines if baseline.name == "buy and hold")
    marks = ledger.marks["binance_usdm:BTCUSDT"]
    moved = 100_000 * (marks[-1] / marks[0] - 1)
    paid = moved - hold.fees - hold.total_return * 1_000_000
    expected = sum(1e-4 * 100_000 * mark / marks[0] for mark in marks[1:])
    assert paid == pytest.approx(expected, rel=0.1)
    assert "beat" in verdict(found)


def test_an_inverse_contract_is_counted_in_coin() -> None:
    """Cash, costs and baselines in BTC; holding the contract with all money earns about 1 - entry/exit in coin."""
    found = _evaluated("binance_coinm:BTCUSD_PERP", 10)
    costs, ledger = found.costs, found.result.ledger
    assert found.quote == "BTC"
    assert costs.net == costs.gross - costs.spread - costs.slippage - costs.impact - costs.fees + costs.funding
    assert costs.fees > 0
    assert 0 < found.trading.exposure <= 1.2
    hold = next(baseline for baseline in found.baselines if baseline.name == "buy and hold, all equity")
    marks = ledger.marks["binance_coinm:BTCUSD_PERP"]
    assert hold.fees == pytest.approx(10 * 0.0005, rel=0.05)
    paid = sum(1e-4 * marks[0] / mark for mark in marks[1:])
    assert hold.total_return == pytest.approx(1 - marks[0] / marks[-1] - 0.0005 - paid, abs=0.01)
