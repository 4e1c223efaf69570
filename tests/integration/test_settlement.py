"""Funding and coin through the whole kernel: what the venue settles, the judge allows and the journal books."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.run import MemoryJournal, Replay, replay_into
from cryptoai.backtesting.windows import Window
from cryptoai.core.config import build
from cryptoai.core.journal import Record
from cryptoai.core.messages import Equity, Fill, Funding, Inference
from cryptoai.core.money import Money, Quantity
from cryptoai.core.state import StateVector
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.market_microstructure.tape import read_capture
from cryptoai.execution.replay import replay
from cryptoai.testing.fakes import make_inference

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SECOND = 1_000_000_000
HOUR = 3600 * SECOND
PERP, COIN = "binance_usdm:BTCUSDT", "binance_coinm:BTCUSD_PERP"


class Swinger:
    """Long, flat and short in turns of `every` decisions."""

    def __init__(self, every: int, shares: Sequence[float]) -> None:
        self._every, self._shares, self._asked = every, shares, 0

    def decide(self, history: Sequence[StateVector]) -> Inference:
        share = self._shares[self._asked // self._every % len(self._shares)]
        self._asked += 1
        return make_inference(share, revision="swinger", schema_hash=history[-1].schema_hash)


def bars(count: int, seed: int) -> Facts:
    rng = np.random.default_rng(seed)
    close = 30_000 * np.exp(np.cumsum(rng.normal(0, 0.003, count)))
    opened = np.concatenate([[30_000.0], close[:-1]])
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    times = np.int64(1_700_006_400) * SECOND + HOUR * np.arange(count)
    columns = [np.full(count, 3600.0), opened, high, low, close, np.full(count, 5_000.0)]
    return Facts.of("candles", times, times + HOUR, np.stack(columns, axis=1))


def payments(first: int, seed: int) -> Facts:
    """Every 8, then 4, 2 and 1 hours, as in November 2022, with milliseconds of jitter and both signs."""
    rng = np.random.default_rng(seed)
    gaps = np.repeat([8, 4, 2, 1], [9, 12, 12, 24]) * HOUR
    times = first + np.cumsum(gaps) + rng.integers(0, 15, len(gaps)) * 1_000_000
    rates = np.round(rng.normal(0, 0.0005, len(gaps)), 8)
    return Facts.of("funding", times, times, np.stack([rates, gaps / SECOND], axis=1))


def test_funding_with_changing_intervals_sums_to_the_closed_form() -> None:
    """Every payment that fell due while a position was held is in the journal once, on the mark and the position of its
    moment, and their sum is the account's; the equity adds up with it."""
    made, tape = instrument(PERP), bars(260, 4)
    first = int(tape.event_time[20])
    funding = payments(first, 5)
    config = build(
        {
            "execution": {"decision_interval_ms": 3_600_000},
            "risk": {"max_data_age_s": 3600.0, "max_correlated_pct": 5.0, "max_funding_bps": 1000.0},
        }
    )
    feed = Feed.of_bars(made, tape, config.backtest, (funding,))
    sink = MemoryJournal()
    model = Swinger(30, [1.0, -1.0])
    replay_into(Replay(config, (feed,), Window(first, int(tape.event_time[-1])), model, "swinger"), sink)
    said = [Funding.model_validate(r.body) for r in sink.records if r.kind == "funding"]
    rates = dict(zip(funding.event_time.tolist(), funding.column("rate").tolist(), strict=True))
    held = _held(sink.records, funding.event_time.tolist())
    due = [time for time in rates if held[time]]
    assert [event.event_time for event in said] == due
    assert len(due) > 50
    form = Decimal(0)
    for event in said:
        assert event.position == held[event.event_time]
        form -= Decimal(repr(rates[event.event_time])) * event.mark.value * event.position.value
    last = Equity.model_validate([r.body for r in sink.records if r.kind == "equity"][-1])
    assert last.funding == sum((event.amount for event in said), start=Money.zero())
    assert abs(last.funding.value - form) <= Decimal("1E-17") * len(due)
    assert {event.position > Quantity.zero() for event in said} == {True, False}
    assert replay(sink.records, "backtest", [made], Money(100_000)).account.equity() == last.equity


def _held(records: list[Record], times: list[int]) -> dict[int, Quantity]:
    """Our position at each time, from the fills at the venue's own times."""
    fills = [Fill.model_validate(r.body) for r in records if r.kind == "fill"]
    return {
        time: sum((f.signed for f in fills if f.event_time <= time), start=Quantity.zero()) for time in sorted(times)
    }


def test_a_coin_margined_bot_balances_in_coin() -> None:
    """On the recorded COIN-M tape, judged in contracts and coin: every equity record is cash and the worth of the
    position, and the end is what trades and funding earned less fees, to the last digit."""
    path = SHARED / "l2" / "coinm_btcusd_perp_20240808.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    made = instrument(COIN)
    events = read_capture(path, made).events
    config = build({"execution": {"initial_cash": 2.0}, "risk": {"max_position_pct": 0.5, "max_volatility_pct": 0.5}})
    start, stop = int(events.known_at[0]) + 60 * SECOND, int(events.known_at[-1])
    sink = MemoryJournal()
    model = Swinger(15, [0.8, 0.0, -0.8, 0.0])
    replay_into(Replay(config, (Feed(made, events),), Window(start, stop), model, "swinger"), sink)
    fills = [Fill.model_validate(r.body) for r in sink.records if r.kind == "fill"]
    assert len(fills) > 10
    assert {f.side for f in fills} == {"buy", "sell"}
    for record in sink.records:
        if record.kind != "equity":
            continue
        equity = Equity.model_validate(record.body)
        worth = [made.value(equity.marks[COIN], held) for held in equity.positions.values()]
        assert equity.equity == sum(worth, start=equity.cash)
        at_risk = [made.notional(equity.marks[COIN], abs(held)) for held in equity.positions.values()]
        assert sum(at_risk, start=Money.zero()) <= equity.equity.times(Decimal("0.502"))
    account = replay(sink.records, "backtest", [made], Money(2)).account
    paid = [Funding.model_validate(r.body).amount for r in sink.records if r.kind == "funding"]
    cash = sum((-made.value(f.price, f.signed) - f.fee for f in fills), start=Money(2))
    assert account.cash == sum(paid, start=cash)
    assert account.fees == sum((f.fee for f in fills), start=Money.zero()) > Money.zero()
    assert (
        account.equity() == account.initial + account.realised + account.unrealised() - account.fees + account.funding
    )
