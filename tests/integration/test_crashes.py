"""A bot that only ever wants a leveraged long, in crashes: the judge keeps it alive, and without it the venue ends it.

Candles through the whole kernel, the judge and the simulated venue, one decision a bar. Crash tapes that may not be
shipped are read from beside the checkout where they are; two made ones always run. Nothing here is fitted to a tape:
the bound on the drawdown is computed from the position and the bar in which the limit was passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.run import MemoryJournal, Replay, replay_into
from cryptoai.backtesting.windows import Window
from cryptoai.core.config import Config, build
from cryptoai.core.journal import Record
from cryptoai.core.messages import Equity, Fill, Inference
from cryptoai.core.money import Money
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.facts import Facts
from cryptoai.execution.replay import replay
from cryptoai.testing.fakes import make_inference

CRASHES = Path(__file__).resolve().parents[3] / "shared" / "data" / "crash_2020_2022"
HOUR = 3600 * 1_000_000_000
DAY = 24 * HOUR
WARM = 30
"""Bars before the first decision."""
BARS = {
    "execution": {"decision_interval_ms": 3_600_000},
    "risk": {"max_position_pct": 10.0, "max_leverage": 10.0, "max_data_age_s": 3600.0},
    "backtest": {"leverage": 20},
}
BOLD = {"max_correlated_pct": 10.0, "max_volatility_pct": 0.1}
"""Several times the money in a calm market, instead of half of it."""
LOOSE = ("max_leverage", "max_correlated_pct", "max_volatility_pct", "max_tail_loss_pct", "volume_share")
LOSSES = ("stop_loss_pct", "max_drawdown_pct", "max_daily_loss_pct")
OFF = dict.fromkeys(LOOSE + LOSSES, 1e9) | {"max_position_pct": 1000.0}
"""The configuration refuses these: no limit has an off switch. They are set past its checks."""
PLACE = schema.index("position_share")


@dataclass
class Long:
    """Ten times the money, and what it holds it never sells; its tail forecast sees nothing coming."""

    budget: float

    def decide(self, history: Sequence[StateVector]) -> Inference:
        held = history[-1].floats()[PLACE] if history[-1].present()[PLACE] else 0.0
        wanted = min(1.0, max(10.0 / self.budget, held))
        return make_inference(wanted, revision="long", schema_hash=history[-1].schema_hash)


def made_crash(falls: Sequence[float], seed: int) -> Facts:
    """Four calm days, then bars that fall so far each with a bounce between, then two days without a trend."""
    rng = np.random.default_rng(seed)
    steps = [
        *rng.normal(0, 0.004, 96),
        *(x for fall in falls for x in (np.log1p(-fall), 0.01)),
        *rng.normal(0, 0.02, 48),
    ]
    close = 30_000 * np.exp(np.cumsum(steps))
    opened = np.concatenate([[30_000.0], close[:-1]])
    high = np.maximum(opened, close) * (1 + np.abs(rng.normal(0, 0.002, len(close))))
    low = np.minimum(opened, close) * (1 - np.abs(rng.normal(0, 0.002, len(close))))
    times = np.int64(1_700_006_400) * 10**9 + HOUR * np.arange(len(close))
    table = np.stack([np.full(len(close), 3600.0), opened, high, low, close, np.full(len(close), 5_000.0)], axis=1)
    return Facts.of("candles", times, times + HOUR, table)


def recorded(symbol: str, start: str, days: int) -> Facts:
    path = CRASHES / "usdm_perp_1h_2020-01_2022-06_covid_may21_luna.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine: it may not be shipped")
    first = np.datetime64(start, "ns").astype(np.int64)
    frame = pl.read_parquet(path).filter(pl.col("symbol") == f"{symbol}/USDT:USDT").sort("date")
    opened = frame["date"].cast(pl.Datetime("ns")).to_numpy().astype(np.int64)
    chosen = (opened >= first) & (opened < first + days * DAY)
    table = frame.select("open", "high", "low", "close", "volume").to_numpy()[chosen]
    values = np.concatenate([np.full((len(table), 1), 3600.0), table], axis=1)
    return Facts.of("candles", opened[chosen], opened[chosen] + HOUR, values)


TAPES = {
    "slide": ("BTC", lambda: made_crash([0.04, 0.05, 0.06, 0.08, 0.12, 0.10, 0.06], 1)),
    "gap": ("ETH", lambda: made_crash([0.28, 0.15], 2)),
    "btc 2020-03": ("BTC", lambda: recorded("BTC", "2020-03-08", 10)),
    "eth 2020-03": ("ETH", lambda: recorded("ETH", "2020-03-08", 10)),
    "btc 2021-05": ("BTC", lambda: recorded("BTC", "2021-05-15", 10)),
    "eth 2021-05": ("ETH", lambda: recorded("ETH", "2021-05-15", 10)),
    "btc 2022-05": ("BTC", lambda: recorded("BTC", "2022-05-05", 10)),
    "eth 2022-05": ("ETH", lambda: recorded("ETH", "2022-05-05", 10)),
}
tapes = pytest.mark.parametrize("tape", list(TAPES))


@dataclass
class Story:
    """A replay's journal and bars."""

    config: Config
    bars: Facts
    records: list[Record]

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        return [r.body for r in self.records if r.kind == kind]

    def alerted(self, name: str) -> list[int]:
        return [r.time for r in self.records if r.kind == "alert" and r.body["name"] == name]

    def equities(self) -> list[Equity]:
        return [Equity.model_validate(body) for body in self.bodies("equity")]


def lived(tape: str, risk: dict[str, float]) -> Story:
    symbol, bars_of = TAPES[tape]
    bars, made = bars_of(), instrument(f"binance_usdm:{symbol}USDT")
    config = build(BARS)
    config = config.model_copy(update={"risk": config.risk.model_copy(update=risk)})
    window = Window(int(bars.event_time[WARM]), int(bars.event_time[-1]))
    feed = Feed.of_bars(made, bars, config.backtest)
    sink = MemoryJournal()
    replay_into(Replay(config, (feed,), window, Long(config.risk.max_position_pct), "long"), sink)
    return Story(config, bars, sink.records)


def worst(story: Story) -> list[tuple[int, float, float, float]]:
    """Of each bar: its start, the drawdown at its decision, the deepest inside it, and how much of that the bar alone
    took from the position that was held through it, all as shares of the peak."""
    found, peak, equities = [], 0.0, story.equities()
    for start, low in zip(story.bars.event_time.tolist(), story.bars.column("low").tolist(), strict=True):
        inside = [e for e in equities if start <= e.time < start + HOUR]
        if not inside:
            continue
        peak = max(peak, *(float(e.equity) for e in inside))
        held = sum(float(q) for q in inside[-1].positions.values())
        bottom = float(inside[-1].cash) + held * low
        decided = 1 - float(inside[0].equity) / peak
        deepest = max(decided, 1 - bottom / peak)
        found.append((start, decided, deepest, deepest - decided))
    return found


@tapes
@pytest.mark.parametrize("risk", [{}, BOLD], ids=["default", "bold"])
def test_the_limits_keep_a_leveraged_long_alive(tape: str, risk: dict[str, float]) -> None:
    """The drawdown is at most its limit and what the one bar that passed it took; then all is sold, and it stays so."""
    story = lived(tape, risk)
    limit = story.config.risk.max_drawdown_pct
    path = worst(story)
    assert story.bodies("liquidation") == []
    assert story.bodies("fill")
    assert all(e.equity > Money.zero() for e in story.equities())
    killed = next((n for n, (_, decided, _, _) in enumerate(path) if decided >= limit), None)
    before = path if killed is None else path[:killed]
    assert all(deepest <= limit + gap for _, _, deepest, gap in before)
    if killed is None:
        assert story.bodies("kill") == []
        return
    start, decided, deepest, _ = path[killed]
    _, _, low, _ = path[killed - 1]
    leaving = [Fill.model_validate(b) for b in story.bodies("fill") if start <= b["event_time"] < start + HOUR]
    mark = next(e for e in story.equities() if e.time == start).marks[leaving[0].instrument] if leaving else None
    cost = sum(float(f.fee) + float(mark.value - f.price.value) * float(f.quantity) for f in leaving if mark)
    peak = max(float(e.equity) for e in story.equities())
    assert deepest <= max(decided, low) + max(cost, 0.0) / peak + 1e-9
    assert all(gap == 0 for _, _, _, gap in path[killed + 1 :])
    assert all(not e.positions for e in story.equities() if e.time >= start + HOUR)
    assert all(b["reduce_only"] for b in story.bodies("order") if b["time"] >= start)


@tapes
def test_every_breach_has_its_alert(tape: str) -> None:
    """Counted again from the account's own records: drawdown, the day's loss and every stop loss were told."""
    story = lived(tape, BOLD)
    peak, day, begun = 0.0, -1, 0.0
    breached: dict[str, list[int]] = {"kill": [], "daily_loss": []}
    decided = {r.time for r in story.records if r.kind == "decision"}
    for equity in story.equities():
        worth = float(equity.equity)
        peak = max(peak, worth)
        if equity.time // DAY != day:
            day, begun = equity.time // DAY, worth
        if 1 - worth / peak >= story.config.risk.max_drawdown_pct and equity.time in decided:
            breached["kill"].append(equity.time)
        if 1 - worth / begun >= story.config.risk.max_daily_loss_pct and equity.time in decided:
            breached["daily_loss"].append(equity.time)
    assert story.alerted("kill")[:1] == breached["kill"][:1]
    days = {time // DAY for time in breached["daily_loss"]}
    assert {time // DAY for time in story.alerted("daily_loss")} == days
    stops = [b["time"] for b in story.bodies("verdict") if any(x["limit"] == "stop_loss" for x in b["bounds"])]
    assert set(story.alerted("stop_loss")) <= set(stops)
    assert bool(stops) == bool(story.alerted("stop_loss"))


@tapes
def test_without_limits_it_is_liquidated(tape: str) -> None:
    """The same bot and bars, with limits that never bind."""
    story = lived(tape, OFF)
    assert story.bodies("liquidation")
    assert story.alerted("liquidation")


def test_the_made_tapes_reach_the_limits() -> None:
    """So that the proofs above mean something where no recorded tape is: stops, the day's loss and the drawdown."""
    alerts = {body["name"] for tape in ("slide", "gap") for body in lived(tape, {}).bodies("alert")}
    assert alerts >= {"kill", "daily_loss", "stop_loss", "flat_verified"}


def test_the_journal_of_a_crash_adds_up() -> None:
    """Replay computes every equity record again from the fills before it."""
    story = lived("slide", BOLD)
    past = replay(story.records, "backtest", [instrument("binance_usdm:BTCUSDT")], Money(100_000))
    assert past.account.equity() == story.equities()[-1].equity
