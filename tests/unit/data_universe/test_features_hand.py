"""The trickiest features by hand: a few rows each, and the arithmetic of the paper written out beside them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cryptoai.core.clock import MS
from cryptoai.data_universe import schema
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import ASK, BID, CLEAR, GAP, LEVEL, QUOTE, TRADE, EventArray
from cryptoai.data_universe.features import FeatureEngine

PERP, COIN = "binance_usdm:BTCUSDT", "binance_coinm:BTCUSD_PERP"
Row = tuple[int, int, int, int, int, int]
BEGIN = 1_000_000


def tape(rows: list[Row]) -> EventArray:
    """Rows of (ms, kind, side, last, price, qty)."""
    table = np.array(rows, np.int64)
    times = table[:, 0] * MS
    small = [table[:, k].astype(np.int8) for k in (1, 2, 3)]
    return EventArray(times, times, *small, table[:, 4].copy(), table[:, 5].copy())


def made(rows: list[Row], now_ms: int, instrument_id: str = PERP) -> dict[str, float]:
    """What is present at a moment."""
    engine = FeatureEngine(instrument(instrument_id))
    engine.update(tape(rows))
    values, mask, _ = engine.emit(now_ms * MS)
    return {name: float(v) for name, v, bit in zip(schema.NAMES, values, mask, strict=True) if bit}


def quote(ms: int, bid: int, bid_qty: int, ask: int, ask_qty: int) -> list[Row]:
    return [(ms, QUOTE, BID, 0, bid, bid_qty), (ms, QUOTE, ASK, 1, ask, ask_qty)]


def book(ms: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]], clear: bool = True) -> list[Row]:
    rows: list[Row] = [(ms, CLEAR, 0, 0, 0, 0)] if clear else []
    rows += [(ms, LEVEL, side, 0, p, q) for side, levels in ((BID, bids), (ASK, asks)) for p, q in levels]
    return [*rows[:-1], (*rows[-1][:3], 1, *rows[-1][4:])]


def test_order_flow_imbalance_by_hand() -> None:
    """Bid up to a new price with 5: +5. Then the ask falls to a new price with 4: -4. The sum is +1.

    Touch depth after the first change is (5 + 8)/2 = 6.5, after the second (5 + 4)/2 = 4.5: the mean is 5.5.
    """
    at = BEGIN + 2_000
    rows = [*quote(BEGIN, 99, 10, 102, 8), *quote(at, 100, 5, 102, 8), *quote(at, 100, 5, 101, 4)]

    # e1 = 1[100 >= 99] 5 - 1[100 <= 99] 10 - 1[102 <= 102] 8 + 1[102 >= 102] 8 = 5
    # e2 = 5 - 5 - 1[101 <= 102] 4 + 1[101 >= 102] 8 = -4
    assert made(rows, at)["ofi_1s"] == pytest.approx((5 - 4) / ((6.5 + 4.5) / 2))


def test_order_flow_fades_with_its_window() -> None:
    """One second later the flow weighs exp(-1) in the window of 1 s, and still as much against the mean depth."""
    at = BEGIN + 2_000
    rows = [*quote(BEGIN, 99, 10, 102, 8), *quote(at, 100, 5, 102, 8)]

    assert made(rows, at + 1_000)["ofi_1s"] == pytest.approx(math.exp(-1) * 5 / 6.5)


def test_multi_level_order_flow_by_hand() -> None:
    """Level 2 of the bids grows from 7 to 9: +2 there and 0 at every other level."""
    bids, asks = [(100 - k, 7) for k in range(12)], [(101 + k, 7) for k in range(12)]
    at = BEGIN + 6_000
    got = made([*book(BEGIN, bids, asks), *book(at, [(99, 9)], [], clear=False)], at)

    depth = (7 * 20 + 2) / 20
    assert got["ofi_level_2_5s"] == pytest.approx(2 / depth)
    assert [got[f"ofi_level_{m}_5s"] for m in range(1, 11) if m != 2] == [0.0] * 9
    assert got["ofi_deep_1s"] == pytest.approx(2 / depth / 10)


def test_multi_level_order_flow_when_the_best_bid_goes() -> None:
    """What was level m + 1 is now level m, at a worse price: each level counts minus what stood there before."""
    bids, asks = [(100 - k, 7 + k) for k in range(12)], [(101 + k, 7) for k in range(12)]
    at = BEGIN + 6_000
    got = made([*book(BEGIN, bids, asks), *book(at, [(100, 0)], [], clear=False)], at)

    depth = (sum(7 + k for k in range(1, 11)) + 70) / 20
    assert [got[f"ofi_level_{m}_5s"] for m in range(1, 11)] == pytest.approx(
        [-(7 + m - 1) / depth for m in range(1, 11)]
    )


def steady_trades(seconds: int) -> list[Row]:
    """A touch that stands, and a purchase of 10 each second."""
    return [row for s in range(seconds) for row in (
        *quote(BEGIN + 1_000 * s, 1_000, 5, 1_001, 5), (BEGIN + 1_000 * s, TRADE, 1, 1, 1_001, 10),
    )]  # fmt: skip


def test_vpin_by_hand() -> None:
    """Ten full buckets: nine of pure purchases (1 each), one with 3 bought and the rest sold."""
    rows = steady_trades(30)
    # from 30 s on a bucket holds the 30 s mean volume of one second at the moment when it opens
    rate, moment = 0.0, 0
    full: list[tuple[float, float]] = []
    for second in range(30):
        rate, moment = rate * math.exp(-(second - moment) / 30) + 10, second
    for number in range(10):
        second = 30 + number
        rate, moment = rate * math.exp(-(second - moment) / 30) + 10, second
        size = math.floor(rate / 30)
        at = BEGIN + 1_000 * second
        if number < 9:
            rows.append((at, TRADE, 1, 1, 1_001, size))
            full.append((size, size))
        else:
            rows += [(at, TRADE, 1, 1, 1_001, 3), (at, TRADE, -1, 1, 1_000, size - 3)]
            full.append((abs(3 - (size - 3)), size))
        rate += size - 10
    got = made(rows, BEGIN + 40_000)

    assert "vpin_50" not in got
    assert got["vpin_10"] == pytest.approx(sum(x for x, _ in full) / sum(v for _, v in full), abs=0.03)


def test_bipower_and_realised_variation_by_hand() -> None:
    """One jump of 10 ticks in a quiet half minute: realised variation is its square, bipower 0, all of it a jump."""
    rows = [*quote(BEGIN, 100_000, 5, 100_001, 5), *quote(BEGIN + 20_000, 100_010, 5, 100_011, 5)]
    got = made(rows, BEGIN + 31_000)
    jump = 1e4 * math.log(100_010.5 / 100_000.5)

    assert got["realised_volatility_30s"] == pytest.approx(jump)
    assert got["bipower_volatility_30s"] == 0.0
    assert got["jump_share_30s"] == 1.0
    assert got["upside_share_30s"] == 1.0


def test_bipower_variation_of_two_moves_in_a_row_by_hand() -> None:
    """Two neighbouring returns r and -r: RV = 2 r^2, BV = (pi/2)(300/299) r^2, so a share of 1 - BV/RV jumps."""
    rows = [
        *quote(BEGIN, 100_000, 5, 100_001, 5),
        *quote(BEGIN + 20_000, 100_010, 5, 100_011, 5),
        *quote(BEGIN + 20_100, 100_000, 5, 100_001, 5),
    ]
    got = made(rows, BEGIN + 31_000)
    r = 1e4 * math.log(100_010.5 / 100_000.5)

    assert got["realised_volatility_30s"] == pytest.approx(math.sqrt(2) * r)
    assert got["bipower_volatility_30s"] == pytest.approx(math.sqrt(math.pi / 2 * 300 / 299) * r)
    assert got["jump_share_30s"] == pytest.approx(1 - math.pi / 4 * 300 / 299)


def test_a_spread_that_always_comes_back_at_once_has_resilience_one() -> None:
    """Single slots of 3 ticks in calm of 1: the slope of the change on the level is about -1."""
    rows: list[Row] = []
    for slot in range(320):
        wide = 2 if slot % 40 == 17 else 0
        rows += quote(BEGIN + 100 * slot, 100_000, 5, 100_001 + wide, 5)

    assert made(rows, BEGIN + 32_000)["spread_resilience_30s"] == pytest.approx(1.0, abs=0.03)
    assert "spread_resilience_30s" not in made(quote(BEGIN, 100_000, 5, 100_001, 5), BEGIN + 32_000)


def test_the_micro_price_leans_to_where_a_one_sided_queue_leads() -> None:
    """Whenever the bid outweighs the ask the next move is one tick up, and the mirror image: G points that way."""
    rows: list[Row] = []
    price = 100_000
    for n in range(600):
        up = n % 2 == 0
        rows += quote(BEGIN + 20 * n, price, 9 if up else 1, price + 1, 1 if up else 9)
        price += 1 if up else -1
        rows += quote(BEGIN + 20 * n + 10, price, 5, price + 1, 5)
    end = BEGIN + 20 * 600
    heavy = made([*rows, *quote(end, price, 9, price + 1, 1)], end)["micro_price"]
    light = made([*rows, *quote(end, price, 1, price + 1, 9)], end)["micro_price"]

    assert heavy == pytest.approx(-light, rel=0.05)
    assert heavy * price / 1e4 == pytest.approx(1.0, abs=0.25)
    assert "micro_price" not in made(rows[:1_000], BEGIN + 20 * 600)


def scaled(rows: list[Row], *, price: int = 1, qty: int = 1) -> list[Row]:
    return [(*row[:4], row[4] * price, row[5] * qty) for row in rows]


def busy(instrument_like: int = 100_000) -> list[Row]:
    """Forty seconds of book, quotes and trades, with prices and sizes that stay whole when scaled."""
    rng = np.random.default_rng(3)
    p = instrument_like
    rows = book(BEGIN, [(p - k, 20) for k in range(12)], [(p + 1 + k, 30) for k in range(12)])
    for n in range(1, 800):
        at, b = BEGIN + 50 * n, p + int(rng.integers(-3, 4))
        rows += quote(at, b, int(rng.integers(1, 50)), b + int(rng.integers(1, 3)), int(rng.integers(1, 50)))
        rows.append((at, TRADE, int(rng.choice((-1, 1))), 1, b, int(rng.integers(1, 9))))
    return rows


SHARES = ("share", "ratio", "bp", "ln(1+1/s)", "touch depths", "level depths", "sd", "share per slot", "ln ratio")


@pytest.mark.parametrize("what", ["qty", "price"])
def test_shares_and_basis_points_do_not_depend_on_the_unit_of_price_or_quantity(what: str) -> None:
    """Ten times the quantity, or the price, of everything: whatever has no unit of money in it stays."""
    rows, end = busy(), BEGIN + 40_000
    plain, other = made(rows, end), made(scaled(rows, **{what: 10}), end)
    by_money = {"buy_cost", "sell_cost"}  # of a fixed 100,000 quote
    by_tick = {"micro_price"} if what == "price" else set()  # a spread of one tick is a state of its chain
    by_volume = {"vpin_10", "vpin_50"} if what == "qty" else set()  # a bucket is a whole number of steps
    free = {f.name for f in schema.FEATURES if f.unit in SHARES and f.name in plain} - by_money - by_tick - by_volume

    assert len(free) > 60
    assert {n: other[n] for n in free} == pytest.approx({n: plain[n] for n in free}, rel=1e-9, abs=1e-9)


def test_money_grows_with_price_and_quantity() -> None:
    """exp of a log of money scales by what was scaled; the tick's size in bp by its inverse."""
    rows, end = busy(), BEGIN + 40_000
    plain, dear = made(rows, end), made(scaled(rows, price=10), end)

    for name in ("trade_size_30s", "bid_depth_10", "notional_rate_5s"):
        assert math.expm1(dear[name]) == pytest.approx(10 * math.expm1(plain[name]), rel=1e-9)
    assert plain["tick_size"] - dear["tick_size"] == pytest.approx(math.log(10))


def test_an_inverse_contract_is_worth_the_same_quote_at_every_price() -> None:
    """COIN-M: 3 contracts of 100 USD are 300 USD, at 10,000 and at 100,000."""
    end = BEGIN + 40_000
    for price in (100_000, 1_000_000):
        rows = [
            *book(BEGIN, [(price - k, 3) for k in range(12)], [(price + 1 + k, 3) for k in range(12)]),
            *((BEGIN + 100 * n, TRADE, 1, 1, price + 1, 3) for n in range(400)),
        ]
        got = made(rows, end, COIN)

        assert got["trade_size_30s"] == pytest.approx(math.log1p(300))
        assert got["bid_depth_10"] == pytest.approx(math.log1p(3_000))
        assert got["step_notional"] == pytest.approx(math.log1p(100))


def test_without_a_book_depth_is_masked_and_the_touch_is_not() -> None:
    """Quotes alone give a spread; only a snapshot gives depth, and a gap takes everything."""
    rows = [row for n in range(100) for row in quote(BEGIN + 100 * n, 1_000, 5 + n % 3, 1_001, 5)]
    quoted = made(rows, BEGIN + 10_000)
    depth = {"bid_depth_10", "book_imbalance_3", "bid_slope", "buy_cost", "ofi_level_1_5s", "ofi_deep_1s"}

    assert {"spread", "ofi_5s", "perp_return_5s"} <= set(quoted)
    assert not depth & set(quoted)
    market = {f.name for f in schema.FEATURES if f.source in ("book", "trades", "spot")}
    assert not market & set(made([*rows, (BEGIN + 10_000, GAP, 0, 1, 0, 0)], BEGIN + 10_001))
