"""NautilusTrader with a Python strategy on the rows of an .npz, as a worker of benchmarks/backtest.py.

It has one clock: a row reaches its exchange and the strategy when it became known, and only the way out has a delay.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.backtest.models import FillModel, LatencyModel
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import OrderBookDelta, OrderBookDeltas, TradeTick
from nautilus_trader.model.enums import AccountType, AggressorSide, BookAction, BookType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TradeId, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy
from protocol import Answer, Make, Run, serve

PERP = InstrumentId(Symbol("BTCUSDT-PERP"), Venue("BINANCE"))
LEVEL, TRADE, CLEAR = 0, 1, 2
DELAY, OFFSET, LIMIT, LAST, RAW = 10_000_000, 5, 20, 128, 10**16
STEP_MS, TAKE_MS = 100, 1000


def instrument() -> CryptoPerpetual:
    return CryptoPerpetual(
        instrument_id=PERP,
        raw_symbol=Symbol("BTCUSDT"),
        base_currency=BTC,
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=1,
        size_precision=3,
        price_increment=Price.from_str("0.1"),
        size_increment=Quantity.from_str("0.001"),
        ts_event=0,
        ts_init=0,
        lot_size=Quantity.from_str("0.001"),
        margin_init=Decimal("0.05"),
        margin_maint=Decimal("0.025"),
        maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.0005"),
    )


def delta(kind: int, side: int, price: int, qty: int, last: int, at: int) -> OrderBookDelta:
    if kind == CLEAR:
        return OrderBookDelta.clear(PERP, 0, at, at)
    action = BookAction.UPDATE if qty else BookAction.DELETE
    book = OrderSide.BUY if side > 0 else OrderSide.SELL
    flags = LAST if last else 0
    return OrderBookDelta.from_raw(
        PERP, action, book, price * (RAW // 10), 1, qty * (RAW // 1000), 3, 0, flags, 0, at, at
    )


def trade(number: int, side: int, price: int, qty: int, at: int) -> TradeTick:
    aggressor = AggressorSide.BUYER if side > 0 else AggressorSide.SELLER
    name = TradeId(str(number))
    return TradeTick.from_raw(PERP, price * (RAW // 10), 1, qty * (RAW // 1000), 3, aggressor, name, at, at)


def facts(file: Any) -> tuple[list[OrderBookDeltas], list[TradeTick]]:
    """One batch of changes for each message of the venue, and the trades."""
    books: list[OrderBookDeltas] = []
    trades: list[TradeTick] = []
    batch: list[OrderBookDelta] = []
    columns = [file[name].tolist() for name in ("kind", "side", "price", "qty", "last", "known_at")]
    for number, (kind, side, price, qty, last, at) in enumerate(zip(*columns, strict=True)):
        if kind == TRADE:
            trades.append(trade(number, side, price, qty, at))
            continue
        batch.append(delta(kind, side, price, qty, last, at))
        if last:
            books.append(OrderBookDeltas(PERP, batch))
            batch = []
    return books, trades


class Watcher(Strategy):  # type: ignore[misc]
    """Keeps the book, counts, and does nothing."""

    period_ms = 0

    def __init__(self, first_ns: int) -> None:
        super().__init__()
        self.first_ns = first_ns
        self.actions, self.fills, self.position, self.value, self.volume = 0, 0, 0, 0.0, 0.0

    def on_start(self) -> None:
        self.subscribe_order_book_deltas(PERP)
        if self.period_ms:
            period = timedelta(milliseconds=self.period_ms)
            first = pd.Timestamp(self.first_ns + self.period_ms * 1_000_000, tz="UTC")
            self.clock.set_timer("step", period, start_time=first - period, callback=self.on_step)

    def on_step(self, _event: object) -> None:
        bid, ask = self.cache.order_book(PERP).best_bid_price(), self.cache.order_book(PERP).best_ask_price()
        if bid is not None and ask is not None:
            self.act(round(float(bid) * 10), round(float(ask) * 10))

    def act(self, bid: int, ask: int) -> None:
        raise NotImplementedError

    def on_order_filled(self, event: Any) -> None:
        self.fills += 1
        size = float(event.last_qty)
        self.position += round(size * 1000) * (1 if event.order_side == OrderSide.BUY else -1)
        self.value += size * float(event.last_px)
        self.volume += size


class Quoter(Watcher):
    """The quoting rule: post-only, so many ticks behind the best, no side beyond the limit."""

    period_ms = STEP_MS

    def __init__(self, first_ns: int) -> None:
        super().__init__(first_ns)
        self.mine: list[Any] = [None, None]
        self.size = Quantity.from_str("0.001")

    def act(self, bid: int, ask: int) -> None:
        for i, side in enumerate((1, -1)):
            want = bid - OFFSET if side == 1 else ask + OFFSET
            order = self.mine[i]
            if order is not None and not order.is_closed:
                if round(float(order.price) * 10) == want:
                    continue
                self.cancel_order(order)
                self.actions += 1
            self.mine[i] = None
            if side * self.position < LIMIT:
                way = OrderSide.BUY if side == 1 else OrderSide.SELL
                price = Price(want / 10, 1)
                self.mine[i] = self.order_factory.limit(PERP, way, self.size, price, post_only=True)
                self.submit_order(self.mine[i])
                self.actions += 1


class Taker(Watcher):
    """A market order each second, buy and sell in turn."""

    period_ms = TAKE_MS

    def act(self, _bid: int, _ask: int) -> None:
        way = OrderSide.SELL if self.actions % 2 else OrderSide.BUY
        self.submit_order(self.order_factory.market(PERP, way, Quantity.from_str("0.001")))
        self.actions += 1


def engine_of(books: list[OrderBookDeltas], trades: list[TradeTick]) -> BacktestEngine:
    quiet = LoggingConfig(bypass_logging=True)
    config = BacktestEngineConfig(logging=quiet, risk_engine=RiskEngineConfig(bypass=True), run_analysis=False)
    engine = BacktestEngine(config)
    engine.add_venue(
        venue=Venue("BINANCE"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        starting_balances=[Money(10_000_000, USDT)],
        base_currency=USDT,
        book_type=BookType.L2_MBP,
        fill_model=FillModel(prob_fill_on_limit=0.5, random_seed=1),
        latency_model=LatencyModel(base_latency_nanos=DELAY),
        trade_execution=True,
    )
    engine.add_instrument(instrument())
    engine.add_data(books, validate=False, sort=False)
    engine.add_data(trades, validate=False, sort=True)
    return engine


def book_of(engine: BacktestEngine, levels: int = 20) -> list[list[list[int]]]:
    book = engine.cache.order_book(PERP)
    sides = (book.bids()[:levels], book.asks()[:levels])
    return [[[round(float(x.price) * 10), round(x.size() * 1000)] for x in side] for side in sides]


def prepare(path: str) -> tuple[int, Mapping[str, Make]]:
    file = np.load(path)
    engine = engine_of(*facts(file))
    first = int(min(file["known_at"][0], file["exchange_time"][0]))

    def maker(kind: type[Watcher]) -> Make:
        def make() -> Run:
            engine.reset()
            engine.clear_strategies()
            strategy = kind(first)
            engine.add_strategy(strategy)

            def run() -> Answer:
                engine.run()
                return {"actions": strategy.actions, "fills": strategy.fills, "after": after}

            def after() -> Answer:
                vwap = strategy.value / strategy.volume * 10 if strategy.volume else 0.0
                return {"vwap_ticks": vwap, "position": strategy.position, "book": book_of(engine)}

            return run

        return make

    return int(file["rows"]), {"S0": maker(Watcher), "S1": maker(Quoter), "S2": maker(Taker)}


if __name__ == "__main__":
    serve("nautilus_trader 1.221.0", prepare)
