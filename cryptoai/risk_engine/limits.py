"""The limits: each a small pure function from a situation to the largest position it allows.

The judge asks all of them and takes the smallest answer. A limit returns a `Cap` on the absolute position, or None
where it has nothing to say; it never looks at another limit's answer and never raises the position. What a limit needs
and cannot get makes it reduce-only (fail closed). To add one: write the function, add a line to `LIMITS`, and the
property tests in tests/property/test_risk.py cover it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from cryptoai.core.config import RiskConfig
from cryptoai.core.messages import Bound
from cryptoai.core.money import Money
from cryptoai.risk_engine.situation import Situation, exact

__all__ = ["LIMITS", "Cap", "drawdown_breach"]

ZERO = Decimal(0)
BPS = Decimal("0.0001")


class Cap(NamedTuple):
    """The largest absolute position, in base units.

    `wanted` and `allowed` are for the verdict, in the limit's own unit (empty: base units). `urgent` closes at the
    collar at once instead of waiting at the touch.
    """

    position: Decimal
    wanted: str = ""
    allowed: str = ""
    urgent: bool = False


def _text(number: Decimal) -> str:
    return format(number.quantize(Decimal("0.000001")).normalize(), "f")


def max_position(s: Situation) -> Cap | None:
    """|position| x mid <= max_position_pct x equity."""
    return Cap(exact(s.limits.max_position_pct) * max(s.equity, ZERO) / s.mid)


def max_leverage(s: Situation) -> Cap | None:
    """Gross notional of all instruments <= max_leverage x equity."""
    room = exact(s.limits.max_leverage) * s.equity - s.context.other_notional.value
    return Cap(max(room, ZERO) / s.mid)


def drawdown(s: Situation) -> Cap | None:
    """At max_drawdown_pct below the peak nothing may be held; the kernel engages the kill switch."""
    bound = _fall(s.peak, s.equity, s.limits)
    return Cap(ZERO, bound.wanted, bound.allowed, urgent=True) if bound else None


def daily_loss(s: Situation) -> Cap | None:
    """At max_daily_loss_pct below the equity of 00:00 UTC: reduce-only."""
    start, limit = s.context.day_start_equity.value, exact(s.limits.max_daily_loss_pct)
    loss = (start - s.equity) / start if start > 0 else Decimal(1)
    return Cap(s.keep, _text(loss), _text(limit)) if loss >= limit else None


def stop_loss(s: Situation) -> Cap | None:
    """A position that lost stop_loss_pct of its entry price is closed; one without a known entry is closed too."""
    if not s.current:
        return None
    limit = exact(s.limits.stop_loss_pct)
    if s.entry is None or s.entry <= 0:
        return Cap(ZERO, "entry price unknown", _text(limit), urgent=True)
    loss = (s.entry - s.mid) / s.entry * (1 if s.current > 0 else -1)
    return Cap(ZERO, _text(loss), _text(limit), urgent=True) if loss >= limit else None


def stale_data(s: Situation) -> Cap | None:
    """A quote older than max_data_age_s: reduce-only (invariant 10)."""
    limit = exact(s.limits.max_data_age_s)
    return Cap(s.keep, f"{_text(s.age_s)} s", f"{_text(limit)} s") if s.age_s > limit else None


def tail_loss(s: Situation) -> Cap | None:
    """Expected shortfall x notional <= max_tail_loss_pct x equity; without a forecast reduce-only."""
    es99 = s.context.es99_bps
    if es99 is None or exact(es99) < 0:
        return Cap(s.keep, "no credible tail forecast", "reduce-only")
    if es99 == 0:
        return None
    return Cap(exact(s.limits.max_tail_loss_pct) * max(s.equity, ZERO) / (exact(es99) * BPS * s.mid))


def order_rate(s: Situation) -> Cap | None:
    """After max_orders_per_minute orders that added exposure: reduce-only."""
    sent, limit = s.context.orders_last_minute, s.limits.max_orders_per_minute
    return Cap(s.keep, str(sent + 1), str(limit)) if sent >= limit else None


def kill_switch(s: Situation) -> Cap | None:
    """Engaged: reduce-only, and what reduces goes at once (invariant 3)."""
    return Cap(s.keep, "engaged", "reduce-only", urgent=True) if s.context.kill else None


def black_swan(s: Situation) -> Cap | None:
    """The alarm of the tail models: reduce-only."""
    return Cap(s.keep, "alarm", "reduce-only") if s.context.alarm else None


def out_of_distribution(s: Situation) -> Cap | None:
    """A state farther from the training states than 1: no new exposure (invariant 9)."""
    anomaly = s.context.anomaly
    if anomaly is None or exact(anomaly) <= 1:
        return None
    return Cap(s.keep, _text(exact(anomaly)), "1")


def spot_short(s: Situation) -> Cap | None:
    """A spot balance cannot be negative."""
    return Cap(ZERO) if s.spot and s.proposed < 0 else None


LIMITS: tuple[tuple[str, Callable[[Situation], Cap | None]], ...] = (
    ("max_position", max_position),
    ("max_leverage", max_leverage),
    ("drawdown", drawdown),
    ("daily_loss", daily_loss),
    ("stop_loss", stop_loss),
    ("stale_data", stale_data),
    ("tail_loss", tail_loss),
    ("order_rate", order_rate),
    ("kill_switch", kill_switch),
    ("black_swan", black_swan),
    ("out_of_distribution", out_of_distribution),
    ("spot_short", spot_short),
)


def _fall(peak: Decimal, equity: Decimal, limits: RiskConfig) -> Bound | None:
    limit = exact(limits.max_drawdown_pct)
    fall = (peak - equity) / peak if peak > 0 and equity > 0 else Decimal(1)
    return Bound(limit="drawdown", wanted=_text(fall), allowed=_text(limit)) if fall >= limit else None


def drawdown_breach(equity: Money, peak: Money, limits: RiskConfig) -> Bound | None:
    """The bound that engages the kill switch, or None; no equity at all is a breach."""
    return _fall(peak.value, equity.value, limits)
