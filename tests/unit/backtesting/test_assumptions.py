"""Nothing is assumed that the banner does not say."""

import pytest

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.market import Feed
from cryptoai.core.config import BacktestConfig, build

CHANGED = {
    "feed_latency_ms": 7, "queue": "power", "queue_power": 3, "amend_keeps_queue": True, "impact_bps": 11,
    "impact_half_life_s": 9, "price_band_pct": 0.07, "orders_per_10s": 77, "margin_mode": "isolated", "leverage": 3,
    "liquidation_fee_pct": 0.02, "mark_interval_ms": 500, "funding_bps": 2, "spot_short": True, "borrow_apr": 0.5,
    "candle_spread_bps": 8, "candle_volume_share": 0.5,
}  # fmt: skip


def test_the_table_has_every_key() -> None:
    """A new key comes with a line of the banner."""
    assert {*CHANGED, "latency_file"} == set(BacktestConfig.model_fields)


@pytest.mark.parametrize("key", sorted(CHANGED))
def test_every_key_shows_in_the_banner(key) -> None:
    """Another value reads differently, where it can matter."""
    base = {"queue": "power", "spot_short": True} if key in ("queue_power", "borrow_apr") else {}
    plain = Assumptions(BacktestConfig.model_validate(base))
    other = Assumptions(BacktestConfig.model_validate(base | {key: CHANGED[key]}))
    assert plain.banner() != other.banner()


def test_the_latency_comes_from_the_configuration_or_a_file(tmp_path) -> None:
    """20 ms by default; a recorded file replaces it and says so."""
    path = tmp_path / "orders.csv"
    path.write_text("send_ns,exchange_ns,ack_ns\n0,10,15\n")
    assert any("20 ms to the exchange" in line for line in Assumptions.of(build({})).banner())
    recorded = Assumptions.of(build({"backtest": {"latency_file": str(path)}}))
    assert any("1 recorded orders" in line for line in recorded.banner())


def test_an_instrument_without_tapes_says_what_stands_in(make_events, make_instrument) -> None:
    """Fees, and where funding and marks come from."""
    (line,) = [x for x in Assumptions().banner([Feed(make_instrument(), make_events([]))]) if x.startswith("test:XUSD")]
    assert "maker 2 bps" in line
    assert "funding from the fallback" in line
