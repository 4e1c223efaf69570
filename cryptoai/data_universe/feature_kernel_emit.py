"""The reading half of the feature kernel: numbers of the state vector out of a `Memory`, at one moment.

`features.FeatureEngine` calls `emit`; names stand beside the code that computes them, and the engine looks their
places up in `schema`. A missing value is NaN. Reading changes nothing that a later reading could see: closing a slot early or
late leaves the same records. Formulas, units and papers: `schema.FEATURES`.
"""

# ruff: noqa: E501, I001  -- the tables of names below are set by hand
from __future__ import annotations

import math

import numpy as np
from cryptoai.data_universe.jit import njit

from cryptoai.core.clock import SECOND
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.data_universe.events import ASK, BID, Ints
from cryptoai.data_universe.feature_kernel import (
    ASK_ADDED, ASK_PRICE, ASK_QTY, ASK_REMOVED, BID_ADDED, BID_PRICE, BID_QTY, BID_REMOVED, BOOKS, BUCKETS, BUY_NOTIONAL, BUY_QTY,
    BUYS, DEPTH, EFFECTIVE, INVERSE, LEVEL_CHANGES, LEVEL_DEPTH, LEVEL_OFI, LEVELS, LINEAR, LOG_MID, NOTIONAL, NOW, OFI,
    PRICE_QTY, RING, RUN, SELL_NOTIONAL, SELL_QTY, SELLS, SIGN_LAG_1, SIGN_LAG_2, SIGN_LAG_5, SIGNED, SINCE, SINCE_SLOT, SLOT,
    SLOT_NS, SPREAD, SQUARES, TICK, TOP_ASKS, TOP_BIDS, TOP_KNOWN, TOUCH_DEPTH, TOUCH_KNOWN, TOUCHES,
    TRADE_KNOWN, TRADES, VPIN_10, VPIN_50, Memory, Reals, close_slots, inner,
)  # fmt: skip
from cryptoai.data_universe.market_microstructure.book import Arrays, book_best, book_qty

__all__ = ["COMPUTED", "constants", "emit"]

_W = ("1s", "5s", "30s")
FLOW = (
    *(f"{name}_{w}" for w in _W for name in (
        "ofi", "trade_imbalance", "count_imbalance", "net_notional", "buy_rate", "sell_rate", "notional_rate", "trade_size",
        "quote_rate", "vwap_deviation",
    )),
    *(f"ofi_level_{m}_5s" for m in range(1, LEVELS + 1)), "ofi_deep_1s", "ofi_deep_30s",
    "sign_autocorrelation_1_5s", "sign_autocorrelation_1_30s", "sign_autocorrelation_2_30s", "sign_autocorrelation_5_30s",
    "vpin_10", "vpin_50", "kyle_lambda_5s", "kyle_lambda_30s", "hasbrouck_lambda_30s",
    "add_imbalance_1s", "add_imbalance_5s", "removal_imbalance_1s", "removal_imbalance_5s", "run_length", "trade_age",
    "buy_burst", "sell_burst", "order_to_trade_5s", "trade_concentration_5s", "trade_concentration_30s",
    "effective_spread_5s", "effective_spread_30s",
)  # fmt: skip
LIQUIDITY = (
    "spread", "touch_imbalance", "weighted_mid", "quote_age", "tick_size", "step_notional",
    "book_imbalance_3", "book_imbalance_5", "book_imbalance_10", "weighted_mid_5",
    "bid_depth_1", "ask_depth_1", "bid_depth_5", "ask_depth_5", "bid_depth_10", "ask_depth_10",
    "bid_depth_5bp", "ask_depth_5bp", "depth_imbalance_5bp", "bid_depth_10bp", "ask_depth_10bp", "depth_imbalance_10bp",
    "bid_slope", "ask_slope", "bid_gap", "ask_gap", "sell_cost", "buy_cost",
)  # fmt: skip
WINDOWED = (
    "spread_mean_5s", "spread_mean_30s", "amihud_5s", "amihud_30s", "realised_volatility_5s", "realised_volatility_30s",
    "roll_spread_30s", "touch_depth_ratio_30s", "jump_share_30s", "upside_share_30s", "variance_ratio_30s", "efficiency_30s",
    "volatility_ratio", "volume_ratio", "perp_return_1s", "perp_return_5s", "perp_return_30s",
)  # fmt: skip
PAIR = (
    "basis", "basis_change_1s", "basis_change_5s", "basis_change_30s", "spot_return_1s", "spot_return_5s", "spot_return_30s",
    "spot_trade_imbalance_1s", "spot_trade_imbalance_5s", "spot_trade_imbalance_30s", "spot_ofi_1s", "spot_ofi_5s", "spot_ofi_30s",
    "perp_spot_volume_30s", "basis_mean_5s", "basis_mean_30s", "basis_sd_30s", "basis_zscore_30s", "spot_leads_30s",
    "perp_leads_30s",
)  # fmt: skip
ASSET = (
    "maker_fee", "taker_fee", "max_leverage", "min_notional", "is_spot", "is_linear", "is_inverse",
    "day_sin", "day_cos", "week_sin", "week_cos", "hour_sin", "hour_cos", "is_weekend",
)  # fmt: skip
COMPUTED = (*FLOW, *LIQUIDITY, *WINDOWED, *PAIR, *ASSET)
"""Names of what `emit` writes, in its order."""

_LIQUIDITY_AT = len(FLOW)
_WINDOWED_AT = _LIQUIDITY_AT + len(LIQUIDITY)
_PAIR_AT = _WINDOWED_AT + len(WINDOWED)
_ASSET_AT = _PAIR_AT + len(PAIR)
_STATIC = 7
_FAINT = 0.05
_COST_OF = 100_000.0
_MILLION = 1e6

# sums over slots
RV, BV, PATH, UP, LAGGED, SPREADS, DEPTHS, XR, XX, YR, YY, ILLIQUID, TRADED, TURNOVER, COARSE = range(15)


def constants(instrument: Instrument) -> Reals:
    """The registry's part of the asset group, float64[7]."""
    kind = instrument.contract
    return np.array([
        1e4 * float(instrument.maker_fee),
        1e4 * float(instrument.taker_fee),
        math.log(instrument.max_leverage),
        math.log1p(float(instrument.min_notional)),
        kind is Contract.SPOT,
        kind is Contract.LINEAR,
        kind is Contract.INVERSE,
    ])  # fmt: skip


@njit(error_model="numpy")
def emit(own: Memory, spot: Memory, paired: bool, book: Arrays, now: int, static: Reals, out: Reals) -> None:
    """Writes float64[len(COMPUTED)] as known at `now`; every row known by then must have been applied before."""
    for k in range(len(out)):
        out[k] = np.nan
    close_slots(own, now // SLOT_NS)
    sums = _decayed(own, now)
    _flow(own, sums, now, out[:_LIQUIDITY_AT])
    if own.whole[SINCE] >= 0:
        _touch(own, now, out[_LIQUIDITY_AT:_WINDOWED_AT])
        if own.whole[TOP_KNOWN] != 0:
            _depth(own, book, out[_LIQUIDITY_AT + 6 : _WINDOWED_AT])
        _windows(own, out[:_LIQUIDITY_AT], out[_WINDOWED_AT:_PAIR_AT])
    if paired and own.whole[SINCE] >= 0:
        close_slots(spot, now // SLOT_NS)
        if spot.whole[SINCE] >= 0:
            _pair(own, spot, sums, now, out[_PAIR_AT:_ASSET_AT])
    _asset(now, static, out[_ASSET_AT:])


@inner
def _decayed(memory: Memory, now: int) -> Reals:
    sums = np.empty((len(memory.sums), 3))
    age = (now - memory.whole[NOW]) * 1e-9
    for w, span in enumerate((1.0, 5.0, 30.0)):
        factor = math.exp(-age / span)
        for k in range(len(sums)):
            sums[k, w] = memory.sums[k, w] * factor
    return sums


@inner
def _warm(memory: Memory, now: int, w: int) -> bool:
    span = (1, 5, 30)[w] * SECOND
    return bool(memory.whole[SINCE] >= 0 and now - memory.whole[SINCE] >= span)


@inner
def _slots_warm(memory: Memory, count: int) -> bool:
    """`count` slots and the one before them were closed with a touch in each."""
    return bool(memory.whole[SINCE] >= 0 and memory.whole[SLOT] - count > memory.whole[SINCE_SLOT])


@inner
def _over(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else math.nan


@inner
def _slog(x: float) -> float:
    return math.copysign(math.log1p(abs(x)), x)


@inner
def _mid(memory: Memory) -> float:
    return float(0.5 * (memory.whole[BID_PRICE] + memory.whole[ASK_PRICE]))


@inner
def _balance(sums: Reals, plus: int, minus: int, w: int, least: float) -> float:
    total = sums[plus, w] + sums[minus, w]
    return (sums[plus, w] - sums[minus, w]) / total if total > least else math.nan


@inner
def _flow(memory: Memory, sums: Reals, now: int, out: Reals) -> None:
    whole = memory.whole
    for w in range(3):
        if _warm(memory, now, w):
            _flow_window(memory, sums, w, out[10 * w : 10 * w + 10])
    tail = out[30:]
    if _warm(memory, now, 0):
        tail[10] = _deep(sums, 0)
        tail[21] = _balance(sums, BID_ADDED, ASK_ADDED, 0, 0.0)
        tail[23] = _balance(sums, BID_REMOVED, ASK_REMOVED, 0, 0.0)
    if _warm(memory, now, 1):
        _flow_middle(sums, tail)
    if _warm(memory, now, 2):
        _flow_slow(memory, sums, tail)
    if whole[TRADES] > 0:
        tail[25] = _slog(float(whole[RUN]))
        tail[26] = math.log1p((now - whole[TRADE_KNOWN]) * 1e-9)


@inner
def _flow_window(memory: Memory, sums: Reals, w: int, out: Reals) -> None:
    span = (1.0, 5.0, 30.0)[w]
    trades = sums[BUYS, w] + sums[SELLS, w]
    notional = sums[BUY_NOTIONAL, w] + sums[SELL_NOTIONAL, w]
    out[0] = _over(sums[OFI, w] * sums[TOUCHES, w], sums[DEPTH, w])
    out[3] = _slog(sums[BUY_NOTIONAL, w] - sums[SELL_NOTIONAL, w])
    out[4] = math.log1p(sums[BUYS, w] / span)
    out[5] = math.log1p(sums[SELLS, w] / span)
    out[6] = math.log1p(notional / span)
    out[8] = math.log1p(sums[TOUCHES, w] / span)
    if trades >= _FAINT:
        out[1] = _balance(sums, BUY_QTY, SELL_QTY, w, 0.0)
        out[2] = _balance(sums, BUYS, SELLS, w, 0.0)
        out[7] = math.log1p(notional / trades)
        out[9] = 1e4 * (sums[PRICE_QTY, w] / (sums[BUY_QTY, w] + sums[SELL_QTY, w]) / _mid(memory) - 1.0)


@inner
def _deep(sums: Reals, w: int) -> float:
    flow = 0.0
    for m in range(LEVELS):
        flow += sums[LEVEL_OFI + m, w]
    return _over(flow / LEVELS * sums[BOOKS, w], sums[LEVEL_DEPTH, w])


@inner
def _flow_middle(sums: Reals, out: Reals) -> None:
    trades = sums[BUYS, 1] + sums[SELLS, 1]
    qty = sums[BUY_QTY, 1] + sums[SELL_QTY, 1]
    for m in range(LEVELS):
        out[m] = _over(sums[LEVEL_OFI + m, 1] * sums[BOOKS, 1], sums[LEVEL_DEPTH, 1])
    out[22] = _balance(sums, BID_ADDED, ASK_ADDED, 1, 0.0)
    out[24] = _balance(sums, BID_REMOVED, ASK_REMOVED, 1, 0.0)
    out[29] = math.log((sums[LEVEL_CHANGES, 1] + 1.0) / (trades + 1.0))
    if trades >= _FAINT:
        out[12] = sums[SIGN_LAG_1, 1] / trades
        out[30] = sums[SQUARES, 1] / qty**2
        out[32] = sums[EFFECTIVE, 1] / qty


@inner
def _flow_slow(memory: Memory, sums: Reals, out: Reals) -> None:
    trades = sums[BUYS, 2] + sums[SELLS, 2]
    qty = sums[BUY_QTY, 2] + sums[SELL_QTY, 2]
    out[11] = _deep(sums, 2)
    if trades >= _FAINT:
        out[13] = sums[SIGN_LAG_1, 2] / trades
        out[14] = sums[SIGN_LAG_2, 2] / trades
        out[15] = sums[SIGN_LAG_5, 2] / trades
        out[27] = math.log((sums[BUYS, 0] + 0.1) / (sums[BUYS, 2] / 30.0 + 0.1))
        out[28] = math.log((sums[SELLS, 0] + 0.1) / (sums[SELLS, 2] / 30.0 + 0.1))
        out[31] = sums[SQUARES, 2] / qty**2
        out[33] = sums[EFFECTIVE, 2] / qty
    if memory.whole[BUCKETS] >= 10:
        out[16] = memory.real[VPIN_10]
    if memory.whole[BUCKETS] >= 50:
        out[17] = memory.real[VPIN_50]


@inner
def _touch(memory: Memory, now: int, out: Reals) -> None:
    whole, real = memory.whole, memory.real
    mid, bid_qty, ask_qty = _mid(memory), float(whole[BID_QTY]), float(whole[ASK_QTY])
    weighted = _over(whole[BID_PRICE] * ask_qty + whole[ASK_PRICE] * bid_qty, bid_qty + ask_qty)
    out[0] = 1e4 * (whole[ASK_PRICE] - whole[BID_PRICE]) / mid
    out[1] = _over(bid_qty - ask_qty, bid_qty + ask_qty)
    out[2] = 1e4 * (weighted - mid) / mid
    out[3] = math.log1p((now - whole[TOUCH_KNOWN]) * 1e-9)
    out[4] = 1e4 / mid
    out[5] = math.log1p(mid * real[LINEAR] + real[INVERSE])


@inner
def _depth(memory: Memory, book: Arrays, out: Reals) -> None:
    top, mid = memory.top, _mid(memory)
    qty, notional, value = np.zeros((2, LEVELS)), np.zeros((2, LEVELS)), np.zeros((2, LEVELS))
    for s, row in enumerate((TOP_BIDS, TOP_ASKS)):
        _cumulate(memory, row, (qty[s], notional[s], value[s]))
        out[4 + s], out[6 + s], out[8 + s] = (
            math.log1p(notional[s, 0]), math.log1p(notional[s, 4]), math.log1p(notional[s, 9]),
        )  # fmt: skip
        if top[row + 1, LEVELS - 1] > 0:
            out[16 + s] = _slope(top[row], notional[s], mid)
            out[18 + s] = 1e4 * abs(top[row, LEVELS - 1] - top[row, 0]) / (LEVELS - 1) / mid
        out[20 + s] = _cost(memory, book, BID if s == 0 else ASK, mid)
    for k, n in enumerate((2, 4, 9)):
        out[k] = _over(qty[0, n] - qty[1, n], qty[0, n] + qty[1, n])
    if qty[0, 4] > 0 and qty[1, 4] > 0:
        bid, ask = value[0, 4] / qty[0, 4], value[1, 4] / qty[1, 4]
        out[3] = 1e4 * ((bid * qty[1, 4] + ask * qty[0, 4]) / (qty[0, 4] + qty[1, 4]) / mid - 1.0)
    for k, share in enumerate((5e-4, 1e-3)):
        bids, asks = _within(memory, book, BID, mid, share), _within(memory, book, ASK, mid, share)
        out[10 + 3 * k], out[11 + 3 * k] = math.log1p(bids), math.log1p(asks)
        out[12 + 3 * k] = _over(bids - asks, bids + asks)


@inner
def _cumulate(memory: Memory, row: int, sums: tuple[Reals, Reals, Reals]) -> None:
    """Running quantity, notional and price times quantity from the best level outward."""
    qty = notional = value = 0.0
    for m in range(LEVELS):
        price, size = memory.top[row, m], memory.top[row + 1, m]
        if size > 0:
            qty += size
            value += float(price) * size
            notional += size * (price * memory.real[LINEAR] + memory.real[INVERSE])
        sums[0][m], sums[1][m], sums[2][m] = qty, notional, value


@inner
def _slope(prices: Ints, notional: Reals, mid: float) -> float:
    total = 0.0
    for m in range(LEVELS):
        total += _over(notional[m], 1e4 * abs(prices[m] / mid - 1.0))
    return math.log(total / LEVELS)


@inner
def _cost(memory: Memory, book: Arrays, side: int, mid: float) -> float:
    """Distance to mid, in bp, of the mean price of a market order of 100,000 quote that takes this side within 20 bp."""
    left, qty, value = _COST_OF, 0.0, 0.0
    price = book_best(book, side)
    for _ in range(math.ceil(mid * 2e-3)):
        size = float(book_qty(book, side, price))
        if size > 0:
            worth = price * memory.real[LINEAR] + memory.real[INVERSE]
            taken = min(size, left / worth)
            qty += taken
            value += taken * price
            left -= taken * worth
            if left <= 1e-6:
                return float(1e4 * abs(value / qty / mid - 1.0))
        price -= side
    return math.nan


@inner
def _within(memory: Memory, book: Arrays, side: int, mid: float, share: float) -> float:
    """Notional of a side within `share` of mid."""
    total = 0.0
    start, stop = (
        (math.ceil(mid * (1 - share)), math.floor(mid))
        if side == BID
        else (math.ceil(mid), math.floor(mid * (1 + share)))
    )
    for price in range(start, stop + 1):
        size = book_qty(book, side, price)
        if size > 0:
            total += size * (price * memory.real[LINEAR] + memory.real[INVERSE])
    return total


@inner
def _slot_sums(memory: Memory, count: int) -> Reals:
    """Sums over the last `count` closed slots; returns in bp, notional in millions."""
    ring, slot = memory.ring, memory.whole[SLOT]
    sums, before, coarse = np.zeros(15), 0.0, 0.0
    for k in range(count):
        record, previous = ring[(slot - count + k) % RING], ring[(slot - count + k - 1) % RING]
        r = 1e4 * (record[LOG_MID] - previous[LOG_MID])
        x = record[SIGNED] / _MILLION
        y = math.copysign(math.sqrt(abs(x)), x)
        sums[RV] += r * r
        sums[UP] += r * r if r > 0 else 0.0
        sums[PATH] += abs(r)
        if k > 0:
            sums[BV] += abs(r) * abs(before)
            sums[LAGGED] += r * before
        sums[XR] += x * r
        sums[XX] += x * x
        sums[YR] += y * r
        sums[YY] += y * y
        sums[SPREADS] += record[SPREAD]
        sums[DEPTHS] += record[TOUCH_DEPTH]
        sums[TURNOVER] += record[NOTIONAL]
        if record[NOTIONAL] > 0:
            sums[TRADED] += 1.0
            sums[ILLIQUID] += abs(r) / (record[NOTIONAL] / _MILLION)
        coarse += r
        if k % 10 == 9:
            sums[COARSE] += coarse * coarse
            coarse = 0.0
        before = r
    return sums


@inner
def _windows(memory: Memory, flow: Reals, out: Reals) -> None:
    whole, mid = memory.whole, _mid(memory)
    for k, count in enumerate((10, 50, 300)):
        out[14 + k] = _return(memory, count)
    if not _slots_warm(memory, 50):
        return
    short = _slot_sums(memory, 50)
    _window_pair(short, 50, 0, out)
    flow[48] = _over(short[XR], short[XX])
    if not _slots_warm(memory, 300):
        return
    long = _slot_sums(memory, 300)
    _window_pair(long, 300, 1, out)
    flow[49], flow[50] = _over(long[XR], long[XX]), _over(long[YR], long[YY])
    out[6] = 2.0 * math.sqrt(max(0.0, -long[LAGGED] / 299.0))
    out[7] = math.log(_over((whole[BID_QTY] + whole[ASK_QTY]) * 300.0, long[DEPTHS]))
    out[12] = math.log((short[RV] / 5.0 + 1e-4) / (long[RV] / 30.0 + 1e-4))
    out[13] = math.log((short[TURNOVER] / 5.0 + 1.0) / (long[TURNOVER] / 30.0 + 1.0))
    if long[RV] > 0:
        start = memory.ring[(whole[SLOT] - 301) % RING, LOG_MID]
        out[8] = max(0.0, 1.0 - 0.5 * math.pi * long[BV] / long[RV])
        out[9], out[10] = long[UP] / long[RV], long[COARSE] / long[RV]
        out[11] = 1e4 * (math.log(mid) - start) / (long[PATH] + 1e4 * abs(math.log(mid) - _last(memory)))


@inner
def _window_pair(sums: Reals, count: int, place: int, out: Reals) -> None:
    out[place] = sums[SPREADS] / count
    out[2 + place] = _over(sums[ILLIQUID], sums[TRADED])
    out[4 + place] = math.sqrt(sums[RV])


@inner
def _last(memory: Memory) -> float:
    return float(memory.ring[(memory.whole[SLOT] - 1) % RING, LOG_MID])


@inner
def _return(memory: Memory, count: int) -> float:
    """Log return in bp from the end of the slot `count` slots before the last closed one until now."""
    if not _slots_warm(memory, count):
        return math.nan
    return float(1e4 * (math.log(_mid(memory)) - memory.ring[(memory.whole[SLOT] - 1 - count) % RING, LOG_MID]))


@inner
def _pair(own: Memory, spot: Memory, sums: Reals, now: int, out: Reals) -> None:
    other = _decayed(spot, now)
    scale = _price_scale(own, spot)
    basis = 1e4 * (math.log(_mid(own)) - math.log(_mid(spot)) + scale)
    out[0] = basis
    for w, count in enumerate((10, 50, 300)):
        out[4 + w] = _return(spot, count)
        out[1 + w] = _return(own, count) - out[4 + w]
        if _warm(spot, now, w):
            if other[BUYS, w] + other[SELLS, w] >= _FAINT:
                out[7 + w] = _balance(other, BUY_QTY, SELL_QTY, w, 0.0)
            out[10 + w] = _over(other[OFI, w] * other[TOUCHES, w], other[DEPTH, w])
    if _warm(own, now, 2) and _warm(spot, now, 2):
        notional, spot_notional = (
            sums[BUY_NOTIONAL, 2] + sums[SELL_NOTIONAL, 2],
            other[BUY_NOTIONAL, 2] + other[SELL_NOTIONAL, 2],
        )
        out[13] = math.log((notional + 1.0) / (spot_notional + 1.0))
    if _slots_warm(own, 50) and _slots_warm(spot, 50):
        out[14], _ = _basis_moments(own, spot, 50, scale)
    if _slots_warm(own, 300) and _slots_warm(spot, 300):
        out[15], out[16] = _basis_moments(own, spot, 300, scale)
        out[17] = (basis - out[15]) / max(out[16], 0.01)
        out[18], out[19] = _lead(own, spot), _lead(spot, own)


@inner
def _price_scale(own: Memory, spot: Memory) -> float:
    """ln(tick / spot tick), so that mids in ticks compare as prices."""
    return math.log(own.real[TICK] / spot.real[TICK])


@inner
def _basis_moments(own: Memory, spot: Memory, count: int, scale: float) -> tuple[float, float]:
    slot, total, squares = own.whole[SLOT], 0.0, 0.0
    for k in range(slot - count, slot):
        total += 1e4 * (own.ring[k % RING, LOG_MID] - spot.ring[k % RING, LOG_MID] + scale)
    mean = total / count
    for k in range(slot - count, slot):
        squares += (1e4 * (own.ring[k % RING, LOG_MID] - spot.ring[k % RING, LOG_MID] + scale) - mean) ** 2
    return mean, math.sqrt(squares / count)


@inner
def _lead(follower: Memory, leader: Memory) -> float:
    """Correlation through the origin of the follower's slot return with the leader's one slot before, 30 s."""
    slot, cross, a, b = follower.whole[SLOT], 0.0, 0.0, 0.0
    for k in range(slot - 299, slot):
        r = follower.ring[k % RING, LOG_MID] - follower.ring[(k - 1) % RING, LOG_MID]
        led = leader.ring[(k - 1) % RING, LOG_MID] - leader.ring[(k - 2) % RING, LOG_MID]
        cross += r * led
        a += r * r
        b += led * led
    return cross / math.sqrt(a * b) if a > 0 and b > 0 else 0.0


@inner
def _asset(now: int, static: Reals, out: Reals) -> None:
    for k in range(_STATIC):
        out[k] = static[k]
    seconds = now // SECOND
    weekday = (seconds // 86_400 + 3) % 7
    for k, period in enumerate((86_400, 604_800, 3_600)):
        shift = 3 * 86_400 if period == 604_800 else 0
        phase = 2.0 * math.pi * ((seconds + shift) % period) / period
        out[_STATIC + 2 * k], out[_STATIC + 2 * k + 1] = math.sin(phase), math.cos(phase)
    out[_STATIC + 6] = 1.0 if weekday >= 5 else 0.0
