"""From urgency to a limit price that never pays more than its cap.

Called by the judge. Prices are rounded to the tick on the side of whoever pays: a buy down, a sell up.
"""

from __future__ import annotations

from decimal import Decimal

from cryptoai.core.config import ExecutionConfig
from cryptoai.core.messages import OrderKind, Quote, Side
from cryptoai.risk_engine.situation import HALF, exact

__all__ = ["distance_bps", "limit_price", "on_tick", "worst_price"]

TEN_THOUSAND = Decimal(10_000)


def worst_price(mid: Decimal, side: Side, bps: float) -> Decimal:
    """mid x (1 +- bps/10000): above mid for a buy, below for a sell; not on a tick."""
    return mid + mid * exact(bps) / TEN_THOUSAND * side.sign


def limit_price(quote: Quote, side: Side, urgency: Decimal, kind: OrderKind, execution: ExecutionConfig) -> Decimal:
    """Urgency 0 rests at the near touch, 0.5 reaches the far touch, 1 the slippage cap; linear between.

    Nothing goes past the cap. The kink at the far touch keeps urgency meaningful when the spread is one tick. A
    post-only order rests at the near touch whatever its urgency. The result is not yet on a tick.
    """
    bid, ask = quote.bid.value, quote.ask.value
    near, far = (bid, ask) if side is Side.BUY else (ask, bid)
    if kind is OrderKind.POST_ONLY:
        return near
    cap = worst_price((bid + ask) * HALF, side, execution.max_slippage_bps)
    patient = urgency <= HALF
    wanted = near + (far - near) * urgency * 2 if patient else far + (cap - far) * (urgency * 2 - 1)
    return min(wanted, cap) if side is Side.BUY else max(wanted, cap)


def on_tick(price: Decimal, side: Side, tick: Decimal) -> Decimal:
    """The nearest tick that costs the order nothing: down for a buy, up for a sell."""
    rounding = "ROUND_FLOOR" if side is Side.BUY else "ROUND_CEILING"
    return (price / tick).to_integral_value(rounding=rounding) * tick


def distance_bps(price: Decimal, mid: Decimal) -> Decimal:
    """How far a price lies from mid, in basis points."""
    return abs(price - mid) / mid * TEN_THOUSAND
