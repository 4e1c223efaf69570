"""hftbacktest with a compiled strategy on the rows of an .npz, as a worker of benchmarks/backtest.py.

Its exchange with partial fills stops at an error of its own in the quoting rule (14, an order's status), so orders fill
whole here; with orders of one step that is no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from hftbacktest import (
    ALL_ASSETS,
    BUY_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    GTC,
    GTX,
    LIMIT,
    MARKET,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.data.validation import correct_event_order
from hftbacktest.types import event_dtype
from numba import njit
from protocol import Answer, Make, Run, serve

TICK, STEP = 0.1, 0.001
LEVEL, TRADE, CLEAR = 0, 1, 2


def rows_of(file: np.lib.npyio.NpzFile) -> np.ndarray:
    """The native rows, each stream in the order of its own clock."""
    kind, side = file["kind"], file["side"]
    keep = (kind == LEVEL) | (kind == TRADE) | (kind == CLEAR)
    kind, side = kind[keep], side[keep]
    rows = np.zeros(len(kind), event_dtype)
    names = {LEVEL: DEPTH_EVENT, TRADE: TRADE_EVENT, CLEAR: DEPTH_CLEAR_EVENT}
    flags = np.zeros(len(kind), np.uint64)
    for ours, theirs in names.items():
        flags[kind == ours] = theirs
    flags |= np.where(side > 0, np.uint64(BUY_EVENT), np.where(side < 0, np.uint64(SELL_EVENT), np.uint64(0)))
    rows["ev"] = flags
    rows["exch_ts"], rows["local_ts"] = file["exchange_time"][keep], file["known_at"][keep]
    rows["px"], rows["qty"] = file["price"][keep] * TICK, file["qty"][keep] * STEP
    by_exchange = np.argsort(rows["exch_ts"], kind="mergesort")
    by_local = np.argsort(rows["local_ts"], kind="mergesort")
    return correct_event_order(rows, by_exchange, by_local)


def asset(rows: np.ndarray, delay: int) -> BacktestAsset:
    return (
        BacktestAsset()
        .data([rows])
        .linear_asset(1.0)
        .constant_order_latency(delay, delay)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0002, 0.0005)
        .tick_size(TICK)
        .lot_size(STEP)
        .roi_lb(0.0)
        .roi_ub(700_000.0)
        .last_trades_capacity(0)
    )


@njit
def replay(hbt, every):
    while hbt.elapse(every) == 0:
        pass
    return 0


@njit
def quote(hbt, every, offset, size, limit):
    """The quoting rule: post-only, so many ticks behind the best, no side beyond the limit."""
    actions, number, mine = 0, 1, np.zeros(2, np.int64)
    while hbt.elapse(every) == 0:
        hbt.clear_inactive_orders(ALL_ASSETS)
        depth, orders = hbt.depth(0), hbt.orders(0)
        if depth.best_bid_tick <= 0 or depth.best_ask_tick >= 2**31 - 1:
            continue
        position = hbt.position(0)
        for i in range(2):
            side = 1 - 2 * i
            want = depth.best_bid_tick - offset if side == 1 else depth.best_ask_tick + offset
            if mine[i] in orders:
                order = orders.get(mine[i])
                if order.price_tick == want:
                    continue
                if order.cancellable:
                    hbt.cancel(0, mine[i], False)
                    actions += 1
            mine[i] = 0
            if side * position < limit - size / 2:
                if side == 1:
                    hbt.submit_buy_order(0, number, want * TICK, size, GTX, LIMIT, False)
                else:
                    hbt.submit_sell_order(0, number, want * TICK, size, GTX, LIMIT, False)
                mine[i] = number
                number += 1
                actions += 1
    return actions


@njit
def take(hbt, every, size):
    """A market order each second, buy and sell in turn."""
    number, side = 1, 1
    while hbt.elapse(every) == 0:
        if hbt.depth(0).best_bid_tick <= 0:
            continue
        if side == 1:
            hbt.submit_buy_order(0, number, 0.0, size, GTC, MARKET, False)
        else:
            hbt.submit_sell_order(0, number, 0.0, size, GTC, MARKET, False)
        number, side = number + 1, -side
        hbt.clear_inactive_orders(ALL_ASSETS)
    return number - 1


def top(hbt, levels: int = 20) -> list[list[list[int]]]:
    depth, found = hbt.depth(0), []
    for best, step, quantity in (
        (depth.best_bid_tick, -1, depth.bid_qty_at_tick),
        (depth.best_ask_tick, 1, depth.ask_qty_at_tick),
    ):
        side, tick = [], best
        while len(side) < levels:
            lots = round(quantity(tick) / STEP)
            if lots:
                side.append([int(tick), lots])
            tick += step
        found.append(side)
    return found


def prepare(path: str) -> tuple[int, Mapping[str, Make]]:
    file = np.load(path)
    rows, second = rows_of(file), 1_000_000_000

    def maker(work: Callable[..., int]) -> Make:
        def make() -> Run:
            hbt = ROIVectorMarketDepthBacktest([asset(rows, 10_000_000)])

            def run() -> Answer:
                return {"actions": int(work(hbt)), "after": after}

            def after() -> Answer:
                state, book = hbt.state_values(0), top(hbt)
                vwap = state.trading_value / state.trading_volume / TICK if state.trading_volume else 0.0
                position = round(float(hbt.position(0)) / STEP)
                hbt.close()
                return {"fills": int(state.num_trades), "vwap_ticks": vwap, "position": position, "book": book}

            return run

        return make

    return int(file["rows"]), {
        "S0": maker(lambda hbt: replay(hbt, second // 10)),
        "S1": maker(lambda hbt: quote(hbt, second // 10, 5, STEP, 20 * STEP)),
        "S2": maker(lambda hbt: take(hbt, second, STEP)),
    }


if __name__ == "__main__":
    serve("hftbacktest 2.4.4", prepare)
