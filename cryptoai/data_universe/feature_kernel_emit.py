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
from cryptoai.data_universe.feature_kernel import (
    ASK_ADDED, ASK_REMOVED, BID_ADDED, BID_REMOVED, BOOKS, BUCKETS, BUY_NOTIONAL, BUY_QTY, BUYS, DEPTH, EFFECTIVE, IMBALANCE,
    LEVEL_CHANGES, LEVEL_DEPTH, LEVEL_OFI, LEVELS, MOST_BUCKETS, OFI, PRICE_QTY, RUN, SELL_NOTIONAL, SELL_QTY, SELLS, SIGN_LAG_1,
    SIGN_LAG_2, SIGN_LAG_5, SINCE, SLOT_NS, SQUARES, TOP_KNOWN, TOUCHES, TRADE_KNOWN, TRADES, VOLUME, Memory, close_slots,
)  # fmt: skip
from cryptoai.data_universe.feature_kernel_depth import depth, touch
from cryptoai.data_universe.feature_kernel_micro import Reals, inner
from cryptoai.data_universe.feature_kernel_read import FAINT, balance, decayed, middle, per_depth, slog, warm
from cryptoai.data_universe.feature_kernel_windows import pair, windows
from cryptoai.data_universe.market_microstructure.book import Arrays

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
    "spread", "touch_imbalance", "weighted_mid", "quote_age", "tick_size", "step_notional", "micro_price",
    "book_imbalance_3", "book_imbalance_5", "book_imbalance_10", "bid_depth_1", "ask_depth_1", "bid_depth_10", "ask_depth_10",
    "bid_depth_5bp", "ask_depth_5bp", "depth_imbalance_5bp", "bid_depth_10bp", "ask_depth_10bp", "depth_imbalance_10bp",
    "bid_slope", "ask_slope", "bid_gap", "ask_gap", "sell_cost", "buy_cost",
)  # fmt: skip
WINDOWED = (
    "spread_mean_5s", "spread_mean_30s", "amihud_5s", "amihud_30s", "realised_volatility_5s", "realised_volatility_30s",
    "roll_spread_30s", "touch_depth_ratio_30s", "jump_share_30s", "upside_share_30s", "variance_ratio_30s", "efficiency_30s",
    "volatility_ratio", "bipower_volatility_30s", "perp_return_1s", "perp_return_5s", "perp_return_30s",
    "spread_resilience_30s", "depth_resilience_30s",
)  # fmt: skip
PAIR = (
    "basis", "basis_change_1s", "basis_change_5s", "basis_change_30s", "spot_return_1s", "spot_return_5s", "spot_return_30s",
    "spot_trade_imbalance_1s", "spot_trade_imbalance_5s", "spot_trade_imbalance_30s", "spot_ofi_1s", "spot_ofi_5s", "spot_ofi_30s",
    "perp_spot_volume_30s", "basis_mean_5s", "basis_mean_30s", "basis_sd_30s", "basis_zscore_30s", "spot_leads_30s",
    "perp_leads_30s",
)  # fmt: skip
ASSET = (
    "maker_fee", "taker_fee", "max_leverage", "min_notional", "is_spot", "is_linear", "is_inverse", "maintenance_margin",
    "listing_age", "day_sin", "day_cos", "week_sin", "week_cos", "is_weekend",
)  # fmt: skip
COMPUTED = (*FLOW, *LIQUIDITY, *WINDOWED, *PAIR, *ASSET)
"""Names of what `emit` writes, in its order."""

_LIQUIDITY_AT = len(FLOW)
_WINDOWED_AT = _LIQUIDITY_AT + len(LIQUIDITY)
_PAIR_AT = _WINDOWED_AT + len(WINDOWED)
_ASSET_AT = _PAIR_AT + len(PAIR)
_TOUCH = 7
_STATIC = 8


def constants(instrument: Instrument) -> Reals:
    """The registry's part of the asset group, float64[8]; NaN where the registry does not know."""
    kind, brackets = instrument.contract, instrument.brackets
    return np.array([
        1e4 * float(instrument.maker_fee),
        1e4 * float(instrument.taker_fee),
        math.log(instrument.max_leverage),
        math.log1p(float(instrument.min_notional)),
        kind is Contract.SPOT,
        kind is Contract.LINEAR,
        kind is Contract.INVERSE,
        float(brackets[0].maintenance_rate) if brackets else math.nan,
    ])  # fmt: skip


@njit(error_model="numpy")
def emit(
    memories: tuple[Memory, Memory], paired: bool, book: Arrays, now: int, asset: tuple[Reals, int], out: Reals
) -> None:
    """Writes float64[len(COMPUTED)] as known at `now`; every row known by then must have been applied before.

    `memories` are those of the instrument and of its companion (any, if not `paired`); `asset` is what `constants` gave,
    and the moment of listing in ns, negative if unknown.
    """
    own, spot = memories
    for k in range(len(out)):
        out[k] = np.nan
    close_slots(own, now // SLOT_NS)
    sums = decayed(own, now)
    _flow(own, sums, now, out[:_LIQUIDITY_AT])
    if own.whole[SINCE] >= 0:
        touch(own, now, out[_LIQUIDITY_AT:_WINDOWED_AT])
        if own.whole[TOP_KNOWN] != 0:
            depth(own, book, out[_LIQUIDITY_AT + _TOUCH : _WINDOWED_AT])
        windows(own, out[:_LIQUIDITY_AT], out[_WINDOWED_AT:_PAIR_AT])
    if paired and own.whole[SINCE] >= 0:
        close_slots(spot, now // SLOT_NS)
        if spot.whole[SINCE] >= 0:
            pair(own, spot, sums, now, out[_PAIR_AT:_ASSET_AT])
    _asset(now, asset, out[_ASSET_AT:])


@inner
def _flow(memory: Memory, sums: Reals, now: int, out: Reals) -> None:
    whole = memory.whole
    for w in range(3):
        if warm(memory, now, w):
            _flow_window(memory, sums, w, out[10 * w : 10 * w + 10])
    tail = out[30:]
    for w in range(2):
        if warm(memory, now, w) and sums[LEVEL_CHANGES, w] >= FAINT:
            tail[21 + w] = balance(sums, BID_ADDED, ASK_ADDED, w)
            tail[23 + w] = balance(sums, BID_REMOVED, ASK_REMOVED, w)
    if warm(memory, now, 0):
        tail[10] = _deep(memory, sums, 0)
    if warm(memory, now, 1):
        _flow_middle(memory, sums, tail)
    if warm(memory, now, 2):
        _flow_slow(memory, sums, tail)
    if whole[TRADES] > 0:
        tail[25] = slog(float(whole[RUN]))
        tail[26] = math.log1p((now - whole[TRADE_KNOWN]) * 1e-9)


@inner
def _flow_window(memory: Memory, sums: Reals, w: int, out: Reals) -> None:
    span = (1.0, 5.0, 30.0)[w]
    trades = sums[BUYS, w] + sums[SELLS, w]
    notional = sums[BUY_NOTIONAL, w] + sums[SELL_NOTIONAL, w]
    out[0] = per_depth(sums[OFI, w], sums[TOUCHES, w], sums[DEPTH, w])
    out[3] = slog(sums[BUY_NOTIONAL, w] - sums[SELL_NOTIONAL, w])
    out[4] = math.log1p(sums[BUYS, w] / span)
    out[5] = math.log1p(sums[SELLS, w] / span)
    out[6] = math.log1p(notional / span)
    out[8] = math.log1p(sums[TOUCHES, w] / span)
    if trades >= FAINT:
        out[1] = balance(sums, BUY_QTY, SELL_QTY, w)
        out[2] = balance(sums, BUYS, SELLS, w)
        out[7] = math.log1p(notional / trades)
        out[9] = 1e4 * (sums[PRICE_QTY, w] / (sums[BUY_QTY, w] + sums[SELL_QTY, w]) / middle(memory) - 1.0)


@inner
def _deep(memory: Memory, sums: Reals, w: int) -> float:
    flow = 0.0
    for m in range(LEVELS):
        flow += sums[LEVEL_OFI + m, w]
    return _level(memory, sums, flow / LEVELS, w)


@inner
def _level(memory: Memory, sums: Reals, flow: float, w: int) -> float:
    if memory.whole[TOP_KNOWN] == 0:
        return math.nan
    return per_depth(flow, sums[BOOKS, w], sums[LEVEL_DEPTH, w])


@inner
def _flow_middle(memory: Memory, sums: Reals, out: Reals) -> None:
    trades = sums[BUYS, 1] + sums[SELLS, 1]
    qty = sums[BUY_QTY, 1] + sums[SELL_QTY, 1]
    for m in range(LEVELS):
        out[m] = _level(memory, sums, sums[LEVEL_OFI + m, 1], 1)
    out[29] = math.log((sums[LEVEL_CHANGES, 1] + 1.0) / (trades + 1.0))
    if trades >= FAINT:
        out[12] = sums[SIGN_LAG_1, 1] / trades
        out[30] = sums[SQUARES, 1] / qty**2
        out[32] = sums[EFFECTIVE, 1] / qty


@inner
def _flow_slow(memory: Memory, sums: Reals, out: Reals) -> None:
    trades = sums[BUYS, 2] + sums[SELLS, 2]
    qty = sums[BUY_QTY, 2] + sums[SELL_QTY, 2]
    out[11] = _deep(memory, sums, 2)
    if trades >= FAINT:
        out[13] = sums[SIGN_LAG_1, 2] / trades
        out[14] = sums[SIGN_LAG_2, 2] / trades
        out[15] = sums[SIGN_LAG_5, 2] / trades
        out[27] = math.log((sums[BUYS, 0] + 0.1) / (sums[BUYS, 2] / 30.0 + 0.1))
        out[28] = math.log((sums[SELLS, 0] + 0.1) / (sums[SELLS, 2] / 30.0 + 0.1))
        out[31] = sums[SQUARES, 2] / qty**2
        out[33] = sums[EFFECTIVE, 2] / qty
    out[16], out[17] = _vpin(memory, 10), _vpin(memory, MOST_BUCKETS)


@inner
def _vpin(memory: Memory, count: int) -> float:
    """Mean imbalance of the last `count` full volume buckets, weighted by their volume."""
    filled, imbalance, volume = memory.whole[BUCKETS], 0.0, 0.0
    if filled < count:
        return math.nan
    for k in range(filled - count, filled):
        imbalance += memory.buckets[k % MOST_BUCKETS, IMBALANCE]
        volume += memory.buckets[k % MOST_BUCKETS, VOLUME]
    return imbalance / volume


@inner
def _asset(now: int, asset: tuple[Reals, int], out: Reals) -> None:
    static, listed = asset
    for k in range(_STATIC):
        out[k] = static[k]
    seconds = now // SECOND
    if 0 <= listed <= now:
        out[_STATIC] = math.log1p((seconds - listed // SECOND) / 86_400.0)
    for k, period in enumerate((86_400, 604_800)):
        shift = 3 * 86_400 if period == 604_800 else 0
        phase = 2.0 * math.pi * ((seconds + shift) % period) / period
        out[_STATIC + 1 + 2 * k], out[_STATIC + 2 + 2 * k] = math.sin(phase), math.cos(phase)
    out[_STATIC + 5] = 1.0 if (seconds // 86_400 + 3) % 7 >= 5 else 0.0
