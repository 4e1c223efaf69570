"""Features against a slow, independent reading of the same real tape: dictionaries, lists and numpy."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from cryptoai.core.clock import MS
from cryptoai.data_universe import schema
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import BID, CLEAR, LEVEL, QUOTE, TRADE, EventArray
from cryptoai.data_universe.features import FeatureEngine, batch
from cryptoai.testing.random_market import START, random_tape
from cryptoai.testing.slices import head

PERP, SPOT = "binance_usdm:BTCUSDT", "binance_spot:BTCUSDT"
SLOT = 100 * MS


@dataclass
class History:
    """All touches (time, b, qb, a, qa), trades (time, s, p, q), best-10 books and level changes up to a moment.

    `edges`: (time, side, change, within 5 bp) of each level change; `paid`: (trade, mid when it came).
    """

    touches: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    trades: list[tuple[int, int, int, int]] = field(default_factory=list)
    books: list[tuple[int, list[tuple[int, int]], list[tuple[int, int]]]] = field(default_factory=list)
    edges: list[tuple[int, int, int, bool]] = field(default_factory=list)
    paid: list[float] = field(default_factory=list)
    book: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))


def middle(seen: History) -> float:
    """The mid of the newest touch."""
    return (seen.touches[-1][1] + seen.touches[-1][3]) / 2 if seen.touches else math.nan


def replay(tape: EventArray, now: int) -> History:  # noqa: C901  # one loop is easier to check than five functions
    """Reads the tape row by row with dictionaries for a book."""
    seen, known, newest, changed, fresh, quoted = History(), False, 0, False, False, {}
    columns = (tape.event_time, tape.known_at, tape.kind, tape.side, tape.last, tape.price, tape.qty)
    for event, at, kind, side, last, price, qty in zip(*(c[: tape.until(now)].tolist() for c in columns), strict=True):
        if kind == CLEAR:
            seen.book, known, fresh = ({}, {}), True, True
        elif kind == LEVEL and known:
            changed = True
            levels = seen.book[0 if side == BID else 1]
            if not fresh:
                seen.edges.append(
                    (at, side, qty - levels.get(price, 0), abs(price - middle(seen)) <= 5e-4 * middle(seen))
                )
            if qty:
                levels[price] = qty
            else:
                levels.pop(price, None)
        elif kind == TRADE:
            seen.trades.append((at, side, price, qty))
            seen.paid.append(middle(seen))
        elif kind == QUOTE:
            quoted[side] = (price, qty)
        if last:
            if len(quoted) == 2 and event >= newest:
                newest = event
                seen.touches.append((at, *quoted[1], *quoted[-1]))
            if changed:
                bids, asks = (heapq.nlargest(10, seen.book[0].items()), heapq.nsmallest(10, seen.book[1].items()))
                seen.books.append((at, bids, asks))
                if event >= newest and bids[0][0] < asks[0][0]:
                    newest = event
                    seen.touches.append((at, *bids[0], *asks[0]))
                fresh = False
            changed, quoted = False, {}
    return seen


def flow(old: tuple[int, ...], new: tuple[int, ...]) -> int:
    """Cont, Kukanov and Stoikov's e between two (b, qb, a, qa)."""
    (b0, qb0, a0, qa0), (b, qb, a, qa) = old, new
    return (b >= b0) * qb - (b <= b0) * qb0 - (a <= a0) * qa + (a >= a0) * qa0


def mids(seen: History, now: int, count: int) -> np.ndarray:
    """The mid at the end of each of the `count` + 1 last closed slots of 100 ms."""
    times = np.array([t[0] for t in seen.touches])
    mid = np.array([(t[1] + t[3]) / 2 for t in seen.touches])
    ends = (now // SLOT - np.arange(count, -1, -1)) * SLOT
    return mid[np.searchsorted(times, ends, side="left") - 1]


def slog(x: float) -> float:
    """A logarithm that keeps the sign."""
    return math.copysign(math.log1p(abs(x)), x)


def slot_touches(seen: History, now: int, count: int) -> np.ndarray:
    """(b, qb, a, qa) at the end of each of the `count` + 1 last closed slots of 100 ms."""
    times = np.array([t[0] for t in seen.touches])
    ends = (now // SLOT - np.arange(count, -1, -1)) * SLOT
    return np.array([t[1:] for t in seen.touches], float)[np.searchsorted(times, ends, side="left") - 1]


def reference(own: History, spot: History, now: int) -> dict[str, float]:
    """The features by their formulas, straight from the schema's text."""
    tick, unit = 0.1, 0.1 * 0.001
    _, b, qb, a, qa = own.touches[-1]
    mid = (a + b) / 2
    out = (
        flows(own, now)
        | pair(own, spot, now)
        | {
            "micro_price": 1e4 * micro(own, now) / mid,
            "tick_size": math.log(1e4 / mid),
            "step_notional": math.log1p(mid * unit),
            "spread": 1e4 * (a - b) / mid,
            "touch_imbalance": (qb - qa) / (qb + qa),
            "weighted_mid": 1e4 * ((b * qa + a * qb) / (qa + qb) - mid) / mid,
            "quote_age": math.log1p((now - own.touches[-1][0]) / 1e9),
            "basis": 1e4 * math.log(mid * tick / ((spot.touches[-1][1] + spot.touches[-1][3]) / 2 * 0.01)),
        }
    )
    age, s, p, q = (np.array(c, float) for c in zip(*((now - t, *rest) for t, *rest in own.trades), strict=True))
    changes = [
        (now - one[0], flow(zero[1:], one[1:]), (one[2] + one[4]) / 2)
        for zero, one in zip(own.touches, own.touches[1:], strict=False)
        if zero[1:] != one[1:]
    ]
    ct, ce, cd = (np.array(c, float) for c in zip(*changes, strict=True))
    for w in (1, 5, 30):
        k, kc = np.exp(-age / 1e9 / w), np.exp(-ct / 1e9 / w)
        buys = s > 0
        out |= {
            f"ofi_{w}s": (kc @ ce) / ((kc @ cd) / kc.sum()),
            f"quote_rate_{w}s": math.log1p(kc.sum() / w),
            f"trade_imbalance_{w}s": (k @ (s * q)) / (k @ q),
            f"count_imbalance_{w}s": (k @ s) / k.sum(),
            f"net_notional_{w}s": math.copysign(math.log1p(abs(k @ (s * p * q)) * unit), k @ (s * p * q)),
            f"buy_rate_{w}s": math.log1p(k[buys].sum() / w),
            f"sell_rate_{w}s": math.log1p(k[~buys].sum() / w),
            f"notional_rate_{w}s": math.log1p((k @ (p * q)) * unit / w),
            f"trade_size_{w}s": math.log1p((k @ (p * q)) * unit / k.sum()),
            f"vwap_deviation_{w}s": 1e4 * ((k @ (p * q)) / (k @ q) - mid) / mid,
        }
        if w > 1:
            out[f"trade_concentration_{w}s"] = (k @ (q * q)) / (k @ q) ** 2
            out[f"sign_autocorrelation_1_{w}s"] = (k[1:] @ (s[1:] * s[:-1])) / k.sum()
    out["sign_autocorrelation_2_30s"] = (k[2:] @ (s[2:] * s[:-2])) / k.sum()
    out["sign_autocorrelation_5_30s"] = (k[5:] @ (s[5:] * s[:-5])) / k.sum()
    return out | books(own, now, mid) | windows(own, spot, now)


def books(own: History, now: int, mid: float) -> dict[str, float]:
    """Depth, slope, cost and multi-level flow."""
    unit = 0.1 * 0.001
    bids, asks = own.books[-1][1:]
    near = [sum(p * q * unit for p, q in side.items() if abs(p - mid) <= 5e-4 * mid) for side in own.book]
    left, got, paid = 100_000.0, 0.0, 0.0
    for price, qty in sorted(own.book[1].items()):
        taken = min(qty, left / (price * unit))
        got, paid, left = got + taken, paid + taken * price, left - taken * price * unit
        if left <= 1e-6:
            break
    cost = {} if left > 1e-6 else {"buy_cost": 1e4 * abs(paid / got / mid - 1)}
    return (
        level_flows(own, now)
        | cost
        | {
            "book_imbalance_3": balance(sum(q for _, q in bids[:3]), sum(q for _, q in asks[:3])),
            "book_imbalance_5": balance(sum(q for _, q in bids[:5]), sum(q for _, q in asks[:5])),
            "ask_depth_1": math.log1p(asks[0][0] * asks[0][1] * unit),
            "book_imbalance_10": (sum(q for _, q in bids) - sum(q for _, q in asks)) / sum(q for _, q in bids + asks),
            "bid_depth_10": math.log1p(sum(p * q * unit for p, q in bids)),
            "bid_depth_5bp": math.log1p(near[0]),
            "depth_imbalance_5bp": (near[0] - near[1]) / sum(near),
            "bid_slope": math.log(
                np.mean(
                    [sum(p * q * unit for p, q in bids[: m + 1]) / (1e4 * abs(bids[m][0] / mid - 1)) for m in range(10)]
                )
            ),
            "ask_gap": 1e4 * (asks[9][0] - asks[0][0]) / 9 / mid,
        }
    )


def balance(plus: float, minus: float) -> float:
    """A difference as a share of the sum."""
    return (plus - minus) / (plus + minus)


def level_flows(own: History, now: int) -> dict[str, float]:
    """Multi-level order-flow imbalance between neighbouring books, level by level and all together."""
    pairs = list(zip(own.books, own.books[1:], strict=False))
    ages = np.array([(now - one[0]) / 1e9 for _, one in pairs])
    depth = np.array([sum(q for _, q in one[1] + one[2]) / 20 for _, one in pairs])
    moved = np.array(
        [[flow((*zero[1][m], *zero[2][m]), (*one[1][m], *one[2][m])) for m in range(10)] for zero, one in pairs]
    )
    weight = {w: np.exp(-ages / w) for w in (1, 5, 30)}
    per_depth = {w: (k @ moved) / ((k @ depth) / k.sum()) for w, k in weight.items()}
    levels = {f"ofi_level_{m + 1}_5s": float(per_depth[5][m]) for m in range(10)}
    return levels | {f"ofi_deep_{w}s": float(per_depth[w].mean()) for w in (1, 30)}


def flows(own: History, now: int) -> dict[str, float]:
    """Additions, removals, bursts, runs and volume buckets."""
    out: dict[str, float] = {}
    age, side, change, near = (np.array(c) for c in zip(*((now - e[0], *e[1:]) for e in own.edges), strict=True))
    ta, s, _, q = (np.array(c, float) for c in zip(*((now - t[0], *t[1:]) for t in own.trades), strict=True))
    for w in (1, 5):
        k = np.exp(-age / 1e9 / w) * near * np.abs(change)
        for name, chosen in (("add", change > 0), ("removal", change < 0)):
            out[f"{name}_imbalance_{w}s"] = balance(k[chosen & (side == 1)].sum(), k[chosen & (side == -1)].sum())
    fast, middle_, slow = (np.exp(-ta / 1e9 / w) for w in (1, 5, 30))
    for name, chosen in (("buy", s > 0), ("sell", s < 0)):
        out[f"{name}_burst"] = math.log((fast[chosen].sum() + 0.1) / (slow[chosen].sum() / 30 + 0.1))
    out["order_to_trade_5s"] = math.log((np.exp(-age / 5e9).sum() + 1) / (middle_.sum() + 1))
    spread = 2e4 * s * (np.array([p for _, _, p, _ in own.trades]) / np.array(own.paid) - 1)
    for w, k in ((5, middle_), (30, slow)):
        out[f"effective_spread_{w}s"] = np.nansum(k * q * spread) / (k @ q)
    run = next((n for n, x in enumerate(s[::-1]) if x != s[-1]), len(s))
    out["run_length"] = math.copysign(math.log1p(run), s[-1])
    out["trade_age"] = math.log1p(ta[-1] / 1e9)
    filled = vpin(own)
    for n in (10, 50):
        if len(filled) >= n:
            out[f"vpin_{n}"] = sum(x for x, _ in filled[-n:]) / sum(size for _, size in filled[-n:])
    return out


def vpin(own: History) -> list[tuple[float, float]]:
    """(|buys - sells|, volume) of the full buckets, the trades dealt out to them one after another."""
    full, rate, before, size, sides = [], 0.0, 0, 0.0, {1: 0.0, -1: 0.0}
    for at, sign, _, qty in own.trades:
        rate = rate * math.exp(-(at - before) / 30e9) + qty
        before = at
        if not own.touches or at - own.touches[0][0] < 30e9:
            continue
        left = float(qty)
        size = size or max(1.0, math.floor(rate / 30))
        while left >= size - sum(sides.values()):
            room = size - sum(sides.values())
            sides[sign] += room
            left -= room
            full.append((abs(sides[1] - sides[-1]), size))
            size, sides = max(1.0, math.floor(rate / 30)), {1: 0.0, -1: 0.0}
        sides[sign] += left
    return full


def micro(own: History, now: int) -> float:
    """Stoikov's G6 in ticks, by matrices as the paper writes them: counts, inverse, powers."""
    place = lambda t: min(9, 10 * t[2] // (t[2] + t[4])) + (0 if t[3] - t[1] == 1 else 10)  # noqa: E731
    mirror = lambda x: 9 - x if x < 10 else 29 - x  # noqa: E731
    stay, move, size, held = np.zeros((20, 20)), np.zeros((20, 20)), np.zeros(20), 0.0
    for zero, one in zip(own.touches, own.touches[1:], strict=False):
        if zero[1:] == one[1:] or one[0] >= now // 10**9 * 10**9:
            continue
        x, y, moved = place(zero), place(one), (one[1] + one[3] - zero[1] - zero[3]) / 2
        for a, b, d in ((x, y, moved), (mirror(x), mirror(y), -moved)):
            (move if moved else stay)[a, b] += 1
            size[a] += d
        held += 1
        if held >= 20_000:
            stay, move, size, held = stay / 2, move / 2, size / 2, held / 2
    total = 1 + stay.sum(1) + move.sum(1)
    inverse = np.linalg.inv(np.eye(20) - stay / total[:, None])
    first, step = inverse @ (size / total), inverse @ (move / total[:, None])
    return float(sum(np.linalg.matrix_power(step, n) @ first for n in range(6))[place(own.touches[-1])])


def pair(own: History, spot: History, now: int) -> dict[str, float]:
    """What compares the perpetual with spot, and spot's own flow."""
    out: dict[str, float] = {}
    mine, other = mids(own, now, 300), mids(spot, now, 300)
    basis = 1e4 * math.log(middle(own) * 0.1 / (middle(spot) * 0.01))
    for w in (1, 5, 30):
        before = 1e4 * math.log(mine[-1 - 10 * w] * 0.1 / (other[-1 - 10 * w] * 0.01))
        out[f"basis_change_{w}s"] = basis - before
        out[f"spot_return_{w}s"] = 1e4 * math.log(middle(spot) / other[-1 - 10 * w])
        k = np.array([math.exp(-(now - t[0]) / 1e9 / w) for t in spot.trades])
        signs, sizes = np.array([t[1] for t in spot.trades]), np.array([t[3] for t in spot.trades])
        out[f"spot_trade_imbalance_{w}s"] = (k @ (signs * sizes)) / (k @ sizes)
    series = 1e4 * np.log(mine[1:] * 0.1 / (other[1:] * 0.01))
    out["basis_mean_5s"] = float(series[-50:].mean())
    out["basis_zscore_30s"] = (basis - series.mean()) / max(series.std(), 0.01)
    worth = [sum(p * q * math.exp(-(now - t) / 30e9) for t, _, p, q in side.trades) for side in (own, spot)]
    out["perp_spot_volume_30s"] = math.log((worth[0] * 0.1 * 0.001 + 1) / (worth[1] * 0.01 * 0.00001 + 1))
    return out


def windows(own: History, spot: History, now: int) -> dict[str, float]:
    """Statistics over the last 300 slots of 100 ms."""
    mid, other = mids(own, now, 300), mids(spot, now, 300)
    r, ro = 1e4 * np.diff(np.log(mid)), 1e4 * np.diff(np.log(other))
    x, n = np.zeros(300), np.zeros(300)
    for at, s, p, q in own.trades:
        if 0 <= (slot := at // SLOT - (now // SLOT - 300)) < 300:
            x[slot] += s * p * q * 1e-10
            n[slot] += p * q * 1e-10
    basis = 1e4 * np.log(mid[1:] * 0.1 / (other[1:] * 0.01))
    traded = n > 0
    bipower = math.pi / 2 * 300 / 299 * (np.abs(r[1:]) @ np.abs(r[:-1]))
    y = np.sign(x) * np.sqrt(np.abs(x))
    touches = slot_touches(own, now, 300)
    spread, depth = touches[:, 2] - touches[:, 0], touches[:, 1] + touches[:, 3]
    open_slot = abs(1e4 * math.log(middle(own) / mid[-1]))
    return {
        "bipower_volatility_30s": math.sqrt(bipower),
        "spread_resilience_30s": -np.polyfit(spread[:-1], np.diff(spread), 1)[0],
        "depth_resilience_30s": -np.polyfit(depth[:-1], np.diff(depth), 1)[0],
        "hasbrouck_lambda_30s": slog((y @ r) / (y @ y)),
        "spread_mean_30s": float(np.mean(1e4 * spread[1:] / mid[1:])),
        "touch_depth_ratio_30s": math.log((own.touches[-1][2] + own.touches[-1][4]) / depth[1:].mean()),
        "efficiency_30s": 1e4 * math.log(middle(own) / mid[0]) / (np.abs(r).sum() + open_slot),
        "volatility_ratio": math.log((r[-50:] @ r[-50:] / 5 + 1e-4) / (r @ r / 30 + 1e-4)),
        "perp_return_30s": 1e4 * math.log(middle(own) / mid[0]),
        "realised_volatility_30s": math.sqrt(r @ r),
        "realised_volatility_5s": math.sqrt(r[-50:] @ r[-50:]),
        "jump_share_30s": max(0.0, 1 - math.pi / 2 * 300 / 299 * (np.abs(r[1:]) @ np.abs(r[:-1])) / (r @ r)),
        "upside_share_30s": (r[r > 0] @ r[r > 0]) / (r @ r),
        "variance_ratio_30s": (r.reshape(30, 10).sum(1) ** 2).sum() / (r @ r),
        "roll_spread_30s": -2 * np.sign(r[1:] @ r[:-1]) * math.sqrt(abs(r[1:] @ r[:-1]) / 299),
        "kyle_lambda_5s": slog((x[-50:] @ r[-50:]) / (x[-50:] @ x[-50:])),
        "kyle_lambda_30s": slog((x @ r) / (x @ x)),
        "amihud_30s": math.log1p(np.mean(np.abs(r[traded]) / n[traded])),
        "perp_return_5s": 1e4 * math.log((own.touches[-1][1] + own.touches[-1][3]) / 2 / mid[-51]),
        "basis_mean_30s": float(basis.mean()),
        "basis_sd_30s": float(basis.std()),
        "spot_leads_30s": float((r[1:] @ ro[:-1]) / math.sqrt((r[1:] @ r[1:]) * (ro[:-1] @ ro[:-1]))),
    }


def compared(tape: EventArray, spot: EventArray, now: int) -> tuple[dict[str, float], dict[str, float]]:
    """(kernel's, reference's) features at one moment."""
    rows = batch(FeatureEngine(instrument(PERP), instrument(SPOT)), tape, spot, np.array([now]))
    kernel = {name: float(v) for name, v, bit in zip(schema.NAMES, rows.values[0], rows.mask[0], strict=True) if bit}
    return kernel, reference(replay(tape, now), replay(spot, now), now)


def assert_same(kernel: dict[str, float], expected: dict[str, float]) -> None:
    got = {name: kernel.get(name, math.nan) for name in expected}
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-8)


@pytest.mark.parametrize("ms_before_end", [37, 2_500])
def test_the_kernel_agrees_with_the_formulas_on_the_real_tape(ms_before_end: int) -> None:
    """More than a hundred features, read two independent ways, agree to nine digits."""
    tape, spot = head(PERP, 11_000), head(SPOT, 4_900)
    kernel, expected = compared(tape, spot, int(tape.known_at[-1]) - ms_before_end * MS)

    assert len(expected) > 100
    assert_same(kernel, expected)


def test_the_kernel_agrees_with_the_formulas_on_a_random_tape() -> None:
    """Spreads of several ticks, jumps and sizes that no real tape has; long enough for VPIN over 50 buckets."""
    generator = np.random.default_rng(7)
    tape, spot = random_tape(generator, 90), random_tape(generator, 90, price=6_003_000)
    kernel, expected = compared(tape, spot, START + 89_950 * MS)

    assert {"vpin_10", "vpin_50"} < set(expected)
    assert_same(kernel, expected)
