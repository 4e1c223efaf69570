"""Candles without a book: every doubt is decided against us."""

from decimal import Decimal

import numpy as np
import pytest

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.exchange import Exchange
from cryptoai.backtesting.latency import ConstantLatency
from cryptoai.backtesting.market import Feed
from cryptoai.core.config import BacktestConfig
from cryptoai.core.errors import DataError
from cryptoai.core.messages import Fill, OrderKind, OrderRequest, Side
from cryptoai.core.money import Money, Price
from cryptoai.data_universe.facts import Facts
from cryptoai.testing.fakes import make_instrument

HOUR = 3600 * 1_000_000_000
MADE = make_instrument("test:XUSD").model_copy(update={"min_notional": Money.zero(), "tick": Decimal("0.01")})
RULES = BacktestConfig(candle_spread_bps=0, impact_bps=0, price_band_pct=1)


def _exchange(*bars: tuple[float, float, float, float], volume: float = 1000) -> Exchange:
    """Bars of one hour from 0 on: (open, high, low, close)."""
    opened = np.arange(len(bars)) * HOUR
    facts = Facts.of("candles", opened, opened + HOUR, [(3600, *bar, volume) for bar in bars])
    return Exchange(Feed.of_bars(MADE, facts, RULES), Assumptions(RULES, ConstantLatency(0, 0)))


def _order(name: str, side: Side, kind: OrderKind, price: str | None = None, quantity: int = 1) -> OrderRequest:
    level = Price(price) if price else None
    return OrderRequest(
        client_order_id=name, decision=0, time=0, instrument=MADE.id, side=side, kind=kind,
        quantity=MADE.quantity(1000 * quantity), price=level if kind.priced else None,
        trigger=level if kind.triggered else None, trigger_on="last", reduce_only=kind.triggered,
    )  # fmt: skip


def _fills(exchange: Exchange) -> list[tuple[str, float]]:
    return [(a.client_order_id, float(a.price)) for a in exchange.answers() if isinstance(a, Fill)]


def _long(exchange: Exchange) -> None:
    exchange.advance(1)
    exchange.place(_order("in", Side.BUY, OrderKind.MARKET), 1)
    assert _fills(exchange) == [("in", 100.01)]


def test_a_stop_fills_at_the_low_and_in_a_gap_at_the_open() -> None:
    """Stop at 95: a bar down to 90 sells at 90; a bar that opens at 80 sells there."""
    for bars, price in (((100, 101, 90, 99), 90.0), ((100, 101, 99, 100), 80.0)):
        exchange = _exchange(bars, (80, 85, 79, 84))
        _long(exchange)
        exchange.place(_order("s", Side.SELL, OrderKind.STOP, "95"), 2)
        exchange.advance(2 * HOUR)
        assert _fills(exchange) == [("s", price)]


@pytest.mark.parametrize(("side", "stop", "target"), [(Side.SELL, "95", "105"), (Side.BUY, "105", "95")])
def test_stop_and_target_in_one_bar_the_stop_comes_first(side: Side, stop: str, target: str) -> None:
    """A bar from 90 to 110 reaches both, whichever side we are on."""
    exchange = _exchange((100, 100, 100, 100), (100, 110, 90, 100))
    exchange.advance(1)
    exchange.place(_order("in", Side.BUY if side is Side.SELL else Side.SELL, OrderKind.MARKET), 1)
    exchange.place(_order("stop", side, OrderKind.STOP, stop), 2)
    exchange.place(_order("target", side, OrderKind.TAKE_PROFIT, target), 2)
    exchange.advance(2 * HOUR)
    assert [name for name, _ in _fills(exchange)] == ["in", "stop"]


def test_a_limit_order_that_is_only_touched_is_not_filled() -> None:
    """Low of 95.00 is not enough for a bid of 95.00; a cent lower it is, at our price."""
    for low, filled in ((95.0, []), (94.98, [("a", 95.0)])):
        exchange = _exchange((100, 100, 100, 100), (100, 101, low, 100))
        exchange.advance(1)
        exchange.place(_order("a", Side.BUY, OrderKind.LIMIT, "95"), 1)
        exchange.advance(2 * HOUR)
        assert _fills(exchange) == filled


def test_no_more_than_a_share_of_the_volume_is_there() -> None:
    """5 % of 100 are 5; of 7 wanted 2 are left over."""
    exchange = _exchange((100, 100, 100, 100), volume=100)
    exchange.advance(1)
    exchange.place(_order("a", Side.BUY, OrderKind.MARKET, quantity=7), 1)
    assert exchange.position == MADE.quantity(5000)


def test_the_bot_sees_a_bar_when_it_has_closed() -> None:
    """Nothing of a bar is known before its end, and then its close."""
    opened = np.arange(2) * HOUR
    facts = Facts.of("candles", opened, opened + HOUR, [(3600, 100, 120, 80, 110, 50), (3600, 110, 111, 90, 95, 50)])
    feed = Feed.of_bars(MADE, facts, RULES)
    assert feed.events.until(HOUR - 1) == 0
    seen = feed.events.slice(0, feed.events.until(HOUR))
    assert {int(price) for price in seen.price if price} == {11_000, 11_001}
    assert np.all(feed.events.event_time <= feed.events.known_at)


def test_bars_without_volume_or_over_each_other_are_refused() -> None:
    """Liquidity is not invented, and two bars of one time are one too many."""
    with pytest.raises(DataError, match="without price or volume"):
        _exchange((100, 100, 100, 100), volume=float("nan"))
    facts = Facts.of("candles", [0, HOUR // 2], [HOUR, 2 * HOUR], [(3600, 1, 1, 1, 1, 1)] * 2)
    with pytest.raises(DataError, match="overlap"):
        Exchange(Feed.of_bars(MADE, facts, RULES), Assumptions(RULES))
