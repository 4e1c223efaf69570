"""The simulated venue on real data: queues on a recorded tape, a leveraged long in real crashes, coin that balances."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.exchange import Exchange
from cryptoai.backtesting.latency import ConstantLatency
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.venue import Simulator
from cryptoai.core.config import BacktestConfig
from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import Fill, Funding, Liquidation, OrderKind, OrderRequest, Side
from cryptoai.core.money import Money
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import EventArray
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.market_microstructure.tape import read_capture
from cryptoai.execution.account import Account
from cryptoai.testing.slices import head

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CRASHES = SHARED / "crash_2020_2022"
HOUR = 3600 * 1_000_000_000
PERP = "binance_usdm:BTCUSDT"


def _order(made: Instrument, name: str, side: Side, kind: OrderKind, ticks: int | None, lots: int) -> OrderRequest:
    return OrderRequest(
        client_order_id=name, decision=0, time=0, instrument=made.id, side=side, kind=kind,
        quantity=made.quantity(lots), price=None if ticks is None else made.price(ticks),
    )  # fmt: skip


def _filled(events: EventArray, queue: str, when: int, order: OrderRequest) -> int:
    made = instrument(PERP)
    rules = BacktestConfig.model_validate({"queue": queue})
    exchange = Exchange(Feed(made, events), Assumptions(rules, ConstantLatency(0, 0)))
    exchange.advance(when)
    exchange.place(order, when)
    exchange.advance(int(events.event_time[-1]))
    return sum(made.lots(a.quantity) for a in exchange.answers() if isinstance(a, Fill))


def test_fills_lie_between_the_pessimistic_queue_and_fill_on_touch() -> None:
    """Random passive orders on the recorded tape: fifo <= power, log <= touch for each, and the bounds differ."""
    made, events, rng = instrument(PERP), head(PERP, 3_000), np.random.default_rng(11)
    touches, worst, best = 0, 0, 0
    for number in range(10):
        when = int(rng.choice(events.event_time[2_000 : len(events) // 3]))
        probe = Exchange(Feed(made, events), Assumptions())
        probe.advance(when)
        side = Side.BUY if rng.random() < 0.5 else Side.SELL
        touch = probe.book.best_bid if side is Side.BUY else probe.book.best_ask
        ticks = touch - side.sign * int(rng.integers(0, 10))
        order = _order(made, f"o{number}", side, OrderKind.POST_ONLY, ticks, int(rng.integers(1_000, 60_000)))
        fifo, power, log, touched = (_filled(events, model, when, order) for model in ("fifo", "power", "log", "touch"))
        assert fifo <= min(power, log)
        assert max(power, log) <= touched
        touches, worst, best = touches + (touched > 0), worst + fifo, best + touched
    assert touches >= 2
    assert worst < best


def _bars(symbol: str, start: str, days: int) -> Facts:
    path = CRASHES / "usdm_perp_1h_2020-01_2022-06_covid_may21_luna.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine: it may not be shipped")
    first = np.datetime64(start, "ns").astype(np.int64)
    frame = pl.read_parquet(path).filter(pl.col("symbol") == f"{symbol}/USDT:USDT").sort("date")
    opened = frame["date"].cast(pl.Datetime("ns")).to_numpy().astype(np.int64)
    chosen = (opened >= first) & (opened < first + days * 24 * HOUR)
    table = frame.select("open", "high", "low", "close", "volume").to_numpy()[chosen]
    values = np.concatenate([np.full((len(table), 1), 3600.0), table], axis=1)
    return Facts.of("candles", opened[chosen], opened[chosen] + HOUR, values)


@pytest.mark.parametrize(
    ("symbol", "start"), [("BTC", "2020-03-10"), ("ETH", "2020-03-10"), ("BTC", "2021-05-17"), ("ETH", "2022-05-07")]
)
@pytest.mark.parametrize("mode", ["cross", "isolated"])
def test_a_leveraged_long_without_limits_is_liquidated_in_a_crash(symbol: str, start: str, mode: str) -> None:
    """Ten times the money in coins before COVID, 19 May 2021 and LUNA: the venue sells, and takes no more than all."""
    made = instrument(f"binance_usdm:{symbol}USDT")
    bars = _bars(symbol, start, 7)
    rules = BacktestConfig.model_validate({"margin_mode": mode, "leverage": 12})
    venue = Simulator((Feed.of_bars(made, bars, rules),), Assumptions(rules), Money(100_000))
    first = int(bars.event_time[0])
    lots = int(1_000_000 / float(bars.column("open")[0]) / float(made.step))
    venue.send(_order(made, "long", Side.BUY, OrderKind.MARKET, None, lots), first + HOUR // 100)
    account = Account([made], Money(100_000))
    said = venue.poll(int(bars.event_time[-1]) + HOUR)
    for event in said:
        if isinstance(event, Funding):
            account.pay_funding(event.instrument, event.amount)
        elif isinstance(event, Fill | Liquidation):
            account.fill(event)
    liquidations = [event for event in said if isinstance(event, Liquidation)]
    assert liquidations
    assert liquidations[0].side is Side.SELL
    assert Money.zero() <= account.equity() < Money(40_000)
    assert account.quantities() == {}
    assert account.equity() == account.cash == venue.desks()["binance_usdm"].account.cash


def test_real_funding_conserves_money_and_sums_to_the_closed_form() -> None:
    """A year of payments with their jitter: none is lost, longs pay what shorts get."""
    path = CRASHES / "usdm_funding_8h_2021-07_2022-06.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine: it may not be shipped")
    made, bars = instrument(PERP), _bars("BTC", "2021-07-14", 60)
    frame = pl.read_parquet(path).filter(pl.col("symbol") == "BTC/USDT:USDT").sort("date")
    times = frame["date"].cast(pl.Datetime("ns")).to_numpy().astype(np.int64)
    first, last = int(bars.event_time[0]) + HOUR, int(bars.event_time[-1])
    inside = (times > first) & (times <= last)
    times, rates = times[inside], frame["funding_rate"].to_numpy()[inside]
    tape = Facts.of("funding", times, times, np.stack([rates, np.full(len(rates), 28_800.0)], axis=1))
    totals = []
    for side in Side:
        rules = BacktestConfig()
        venue = Simulator((Feed.of_bars(made, bars, rules, (tape,)),), Assumptions(rules), Money(10_000_000))
        venue.send(_order(made, "in", side, OrderKind.MARKET, None, 1_000), first)
        paid = [event for event in venue.poll(last + HOUR) if isinstance(event, Funding)]
        assert [event.event_time for event in paid] == times.tolist()
        rows = zip(rates, paid, strict=True)
        form = -side.sign * sum(Decimal(repr(float(rate))) * event.mark.value for rate, event in rows)
        totals.append(sum((event.amount for event in paid), start=Money.zero()))
        assert totals[-1] == Money(form)
    assert totals[0] + totals[1] == Money.zero()
    assert len(times) > 170


def test_an_inverse_contract_balances_in_coin_on_the_recorded_tape() -> None:
    """Random market orders of two clients on opposite sides of the COIN-M tape: both books add up, fees are all that
    is lost, to the last digit."""
    path = SHARED / "l2" / "coinm_btcusd_perp_20240808.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    made = instrument("binance_coinm:BTCUSD_PERP")
    events = read_capture(path, made).events
    rules, rng = BacktestConfig(), np.random.default_rng(3)
    start, stop = int(events.event_time[0]), int(events.event_time[-1])
    venue = Simulator((Feed(made, events),), Assumptions(rules, ConstantLatency(0, 0)), Money(1))
    ours, other = Account([made], Money(1)), Account([made], Money(1))
    for number, when in enumerate(np.sort(rng.integers(start + 10**9, stop, 60))):
        side = Side.BUY if rng.random() < 0.5 else Side.SELL
        order = _order(made, f"o{number}", side, OrderKind.MARKET, None, int(rng.integers(1, 40)))
        venue.send(order, int(when))
        for event in venue.poll(int(when)):
            if isinstance(event, Fill):
                ours.fill(event)
                mirrored = Side.SELL if event.side is Side.BUY else Side.BUY
                other.fill(event.model_copy(update={"side": mirrored, "fee": Money.zero()}))
                parts = ours.initial + ours.realised + ours.unrealised() - ours.fees
                assert ours.equity() == parts
                assert ours.cash + other.cash == Money(2) - ours.fees
    assert ours.fees > Money.zero()
    assert venue.desks()["binance_coinm"].account.cash == ours.cash
