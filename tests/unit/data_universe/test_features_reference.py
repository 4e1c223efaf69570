"""Features against a slow, independent reading of the same real tape: dictionaries, lists and numpy."""

from __future__ import annotations

import functools
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
from cryptoai.testing.slices import head

PERP, SPOT = "binance_usdm:BTCUSDT", "binance_spot:BTCUSDT"
SLOT = 100 * MS


@dataclass
class History:
    """All touches (time, b, qb, a, qa), trades (time, s, p, q), best-10 books and level changes up to a moment."""

    touches: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    trades: list[tuple[int, int, int, int]] = field(default_factory=list)
    books: list[tuple[int, list[tuple[int, int]], list[tuple[int, int]]]] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)
    book: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))


def replay(tape: EventArray, now: int) -> History:  # noqa: C901  # one loop is easier to check than five functions
    """Reads the tape row by row with dictionaries for a book."""
    seen, known, newest, changed, fresh, quoted = History(), False, 0, False, False, {}
    columns = (tape.event_time, tape.known_at, tape.kind, tape.side, tape.last, tape.price, tape.qty)
    for event, at, kind, side, last, price, qty in zip(*(c[: tape.until(now)].tolist() for c in columns), strict=True):
        if kind == CLEAR:
            seen.book, known, fresh = ({}, {}), True, True
        elif kind == LEVEL and known:
            changed = True
            if not fresh:
                seen.changes.append(at)
            levels = seen.book[0 if side == BID else 1]
            if qty:
                levels[price] = qty
            else:
                levels.pop(price, None)
        elif kind == TRADE:
            seen.trades.append((at, side, price, qty))
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


def reference(own: History, spot: History, now: int) -> dict[str, float]:
    """The features by their formulas, straight from the schema's text."""
    tick, unit = 0.1, 0.1 * 0.001
    _, b, qb, a, qa = own.touches[-1]
    mid = (a + b) / 2
    out = {
        "spread": 1e4 * (a - b) / mid,
        "touch_imbalance": (qb - qa) / (qb + qa),
        "weighted_mid": 1e4 * ((b * qa + a * qb) / (qa + qb) - mid) / mid,
        "quote_age": math.log1p((now - own.touches[-1][0]) / 1e9),
        "basis": 1e4 * math.log(mid * tick / ((spot.touches[-1][1] + spot.touches[-1][3]) / 2 * 0.01)),
    }
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
            f"notional_rate_{w}s": math.log1p((k @ (p * q)) * unit / w),
            f"trade_size_{w}s": math.log1p((k @ (p * q)) * unit / k.sum()),
            f"vwap_deviation_{w}s": 1e4 * ((k @ (p * q)) / (k @ q) - mid) / mid,
        }
        if w > 1:
            out[f"trade_concentration_{w}s"] = (k @ (q * q)) / (k @ q) ** 2
            out[f"sign_autocorrelation_1_{w}s"] = (k[1:] @ (s[1:] * s[:-1])) / k.sum()
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
    pairs = list(zip(own.books, own.books[1:], strict=False))
    k = np.array([math.exp(-(now - one[0]) / 5e9) for _, one in pairs])
    depth = np.array([sum(q for _, q in one[1] + one[2]) / 20 for _, one in pairs])
    third = np.array([flow((*zero[1][2], *zero[2][2]), (*one[1][2], *one[2][2])) for zero, one in pairs])
    return {
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
        "buy_cost": 1e4 * abs(paid / got / mid - 1),
        "ofi_level_3_5s": (k @ third) / ((k @ depth) / k.sum()),
    }


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
    return {
        "realised_volatility_30s": math.sqrt(r @ r),
        "realised_volatility_5s": math.sqrt(r[-50:] @ r[-50:]),
        "jump_share_30s": max(0.0, 1 - math.pi / 2 * 300 / 299 * (np.abs(r[1:]) @ np.abs(r[:-1])) / (r @ r)),
        "upside_share_30s": (r[r > 0] @ r[r > 0]) / (r @ r),
        "variance_ratio_30s": (r.reshape(30, 10).sum(1) ** 2).sum() / (r @ r),
        "roll_spread_30s": 2 * math.sqrt(max(0.0, -(r[1:] @ r[:-1]) / 299)),
        "kyle_lambda_30s": (x @ r) / (x @ x),
        "amihud_30s": float(np.mean(np.abs(r[traded]) / n[traded])),
        "perp_return_5s": 1e4 * math.log((own.touches[-1][1] + own.touches[-1][3]) / 2 / mid[-51]),
        "basis_mean_30s": float(basis.mean()),
        "basis_sd_30s": float(basis.std()),
        "spot_leads_30s": float((r[1:] @ ro[:-1]) / math.sqrt((r[1:] @ r[1:]) * (ro[:-1] @ ro[:-1]))),
    }


@functools.cache
def both(ms_before_end: int) -> tuple[dict[str, float], dict[str, float]]:
    """(kernel's, reference's) features at one moment of the real tape."""
    tape, spot = head(PERP, 11_000), head(SPOT, 4_900)
    now = int(tape.known_at[-1]) - ms_before_end * MS
    rows = batch(FeatureEngine(instrument(PERP), instrument(SPOT)), tape, spot, np.array([now]))
    kernel = {name: float(v) for name, v, bit in zip(schema.NAMES, rows.values[0], rows.mask[0], strict=True) if bit}
    return kernel, reference(replay(tape, now), replay(spot, now), now)


@pytest.mark.parametrize("ms_before_end", [37, 2_500])
def test_the_kernel_agrees_with_the_formulas_on_the_real_tape(ms_before_end: int) -> None:
    """More than fifty features, read two independent ways, agree to nine digits."""
    kernel, expected = both(ms_before_end)

    assert len(expected) > 50
    assert {name: kernel.get(name, math.nan) for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)
