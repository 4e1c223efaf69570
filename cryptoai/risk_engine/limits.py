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
from cryptoai.risk_engine.situation import BPS, HALF, ZERO, Peer, Situation, exact

__all__ = ["LIMITS", "Cap", "daily_loss_breach", "drawdown_breach"]


class Cap(NamedTuple):
    """The largest absolute position, in base units (contracts if inverse).

    `wanted` and `allowed` are for the verdict, in the limit's own unit (empty: that of the position). `urgent` closes
    at the collar at once instead of waiting at the touch.
    """

    position: Decimal
    wanted: str = ""
    allowed: str = ""
    urgent: bool = False


def _text(number: Decimal) -> str:
    return format(number.quantize(Decimal("0.000001")).normalize(), "f")


def max_position(s: Situation) -> Cap | None:
    """Notional <= max_position_pct x equity."""
    return Cap(s.units(exact(s.limits.max_position_pct) * s.budget))


def max_leverage(s: Situation) -> Cap | None:
    """Gross notional of all instruments <= max_leverage x equity."""
    return Cap(_leverage_room(s, Decimal(1)))


def event_risk(s: Situation) -> Cap | None:
    """While a severe event is in force only event_leverage_share of the leverage and of the position is left."""
    known = s.context.conditions
    if known is None or known.event_severity is None or exact(known.event_severity) < exact(s.limits.event_severity):
        return None
    return Cap(_tightened(s, exact(s.limits.event_leverage_share)))


def stress(s: Situation) -> Cap | None:
    """From half way to the border of what training saw, leverage and position shrink to stress_leverage_share."""
    anomaly = s.context.anomaly
    if anomaly is None or exact(anomaly) <= HALF:
        return None
    far = min(2 * exact(anomaly) - 1, Decimal(1))
    return Cap(_tightened(s, 1 - far * (1 - exact(s.limits.stress_leverage_share))))


def drawdown(s: Situation) -> Cap | None:
    """At max_drawdown_pct below the peak nothing may be held; the kernel engages the kill switch."""
    bound = _fall(s.peak, s.equity, s.limits)
    return Cap(ZERO, bound.wanted, bound.allowed, urgent=True) if bound else None


def daily_loss(s: Situation) -> Cap | None:
    """At max_daily_loss_pct below the equity of 00:00 UTC: reduce-only."""
    bound = _lost(s.context.day_start_equity.value, s.equity, s.limits)
    return Cap(s.keep, bound.wanted, bound.allowed) if bound else None


def stop_loss(s: Situation) -> Cap | None:
    """A position that lost stop_loss_pct of what it was worth at its entry is closed; without a known entry too."""
    if not s.current:
        return None
    limit = exact(s.limits.stop_loss_pct)
    if s.entry is None or s.entry <= 0:
        return Cap(ZERO, "entry price unknown", _text(limit), urgent=True)
    loss = (s.entry - s.mid) / (s.entry if s.face is None else s.mid) * (1 if s.current > 0 else -1)
    return Cap(ZERO, _text(loss), _text(limit), urgent=True) if loss >= limit else None


def cooldown(s: Situation) -> Cap | None:
    """For cooldown_s after a stop loss the instrument is reduce-only."""
    return Cap(s.keep, "after a stop loss", "reduce-only") if s.context.cooling else None


def stale_data(s: Situation) -> Cap | None:
    """A quote older than max_data_age_s: reduce-only (invariant 10)."""
    limit = exact(s.limits.max_data_age_s)
    return Cap(s.keep, f"{_text(s.age_s)} s", f"{_text(limit)} s") if s.age_s > limit else None


def volatility(s: Situation) -> Cap | None:
    """Daily standard deviation x notional <= max_volatility_pct x equity; of an unknown market reduce-only."""
    known = s.context.conditions
    if known is None or known.volatility_bps is None or known.volatility_bps < 0:
        return Cap(s.keep, "volatility unknown", "reduce-only")
    return _loss_cap(s, exact(known.volatility_bps) * BPS, s.limits.max_volatility_pct)


def volume(s: Situation) -> Cap | None:
    """A decision adds at most volume_share of what the market traded in the last minute; unknown: reduce-only."""
    known = s.context.conditions
    if known is None or known.turnover is None or known.turnover < 0:
        return Cap(s.keep, "volume unknown", "reduce-only")
    return Cap(s.keep + s.units_of_quote(exact(s.limits.volume_share) * exact(known.turnover)))


def tail_loss(s: Situation) -> Cap | None:
    """Expected shortfall x notional <= max_tail_loss_pct x equity; without a forecast reduce-only."""
    loss = _own_tail(s)
    if loss is None:
        return Cap(s.keep, "no credible tail forecast", "reduce-only")
    return _loss_cap(s, loss, s.limits.max_tail_loss_pct)


def portfolio_loss(s: Situation) -> Cap | None:
    """Expected shortfall of all positions together <= max_portfolio_loss_pct x equity.

    Shortfalls e_j add up as sqrt(sum_jk r_jk e_j e_k) (McNeil, Frey & Embrechts 2015, elliptical aggregation). Losses
    of the others are taken to come together (r = 1), a hedge counts for nothing (r >= 0), an unknown r is 1. The cap is
    the e that solves e^2 + 2 e b + c^2 = limit^2 with b = sum r_j e_j, c = sum e_j; past the limit: reduce-only.
    """
    if not s.context.peers:
        return None
    own, tails = _own_tail(s), [_tail(peer, s) for peer in s.context.peers]
    if own is None or None in tails:
        return Cap(s.keep, "a tail forecast is missing", "reduce-only")
    limit = exact(s.limits.max_portfolio_loss_pct) * s.budget
    others = along = ZERO
    for tail, moves in zip(tails, s.together, strict=True):
        others += tail or ZERO
        along += (tail or ZERO) * moves
    room, wanted = limit * limit - others * others, s.notional(abs(s.proposed)) * own
    if wanted * (wanted + 2 * along) <= room or not own:
        return None
    left = (along * along + room).sqrt() - along if room > 0 else ZERO
    return Cap(max(s.units(left / own), s.keep))


def correlated(s: Situation) -> Cap | None:
    """Notional of the instrument and of what moves with it <= max_correlated_pct x equity; above it reduce-only."""
    along = ZERO
    for peer, moves in zip(s.context.peers, s.together, strict=True):
        along += abs(peer.notional) * moves
    return Cap(max(s.units(exact(s.limits.max_correlated_pct) * s.budget - along), s.keep))


def funding_cost(s: Situation) -> Cap | None:
    """A side that pays more than max_funding_bps within funding_horizon_s is reduce-only.

    A market that publishes no funding has none to veto.
    """
    known = s.context.conditions
    if known is None or known.funding_rate is None:
        return None
    cost = exact(known.funding_rate) / BPS * (1 if s.proposed > 0 else -1)
    soon = known.funding_in_s is None or exact(known.funding_in_s) <= exact(s.limits.funding_horizon_s)
    limit = exact(s.limits.max_funding_bps)
    return Cap(s.keep, f"{_text(cost)} bp", f"{_text(limit)} bp") if soon and cost > limit else None


def order_rate(s: Situation) -> Cap | None:
    """After max_orders_per_minute orders that added exposure: reduce-only."""
    sent, limit = s.context.orders_last_minute, s.limits.max_orders_per_minute
    return Cap(s.keep, str(sent + 1), str(limit)) if sent >= limit else None


def kill_switch(s: Situation) -> Cap | None:
    """Engaged: reduce-only, and what reduces goes at once (invariant 3) unless positions are to be kept."""
    return Cap(s.keep, "engaged", "reduce-only", urgent=not s.context.hold) if s.context.kill else None


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
    ("event_risk", event_risk),
    ("stress", stress),
    ("drawdown", drawdown),
    ("daily_loss", daily_loss),
    ("stop_loss", stop_loss),
    ("cooldown", cooldown),
    ("stale_data", stale_data),
    ("volatility", volatility),
    ("volume", volume),
    ("tail_loss", tail_loss),
    ("portfolio_loss", portfolio_loss),
    ("correlated", correlated),
    ("funding_cost", funding_cost),
    ("order_rate", order_rate),
    ("kill_switch", kill_switch),
    ("black_swan", black_swan),
    ("out_of_distribution", out_of_distribution),
    ("spot_short", spot_short),
)


def _leverage_room(s: Situation, share: Decimal) -> Decimal:
    """The position that `share` of the leverage leaves beside the other instruments."""
    room = exact(s.limits.max_leverage) * share * s.equity - s.context.other_notional.value
    return s.units(max(room, ZERO))


def _tightened(s: Situation, share: Decimal) -> Decimal:
    return min(_leverage_room(s, share), s.units(share * exact(s.limits.max_position_pct) * s.budget))


def _loss_cap(s: Situation, loss: Decimal, share: float) -> Cap | None:
    """The position that loses `share` of equity with `loss` of its notional; none if nothing can be lost."""
    return Cap(s.units(exact(share) * s.budget / loss)) if loss else None


def _own_tail(s: Situation) -> Decimal | None:
    """Expected shortfall as a share of notional; None without a credible forecast."""
    es99 = s.context.es99_bps
    return s.shortfall(es99, 1 if s.proposed >= 0 else -1) if es99 is not None else None


def _tail(peer: Peer, s: Situation) -> Decimal | None:
    """The expected shortfall of another position, in the settlement currency; None if nobody can tell.

    One account settles in one currency, so the others are inverse if the judged instrument is.
    """
    share = s.shortfall(peer.es99_bps, peer.notional) if peer.es99_bps is not None else None
    return abs(peer.notional) * share if share is not None else None


def _fall(peak: Decimal, equity: Decimal, limits: RiskConfig) -> Bound | None:
    limit = exact(limits.max_drawdown_pct)
    fall = (peak - equity) / peak if peak > 0 and equity > 0 else Decimal(1)
    return Bound(limit="drawdown", wanted=_text(fall), allowed=_text(limit)) if fall >= limit else None


def _lost(start: Decimal, equity: Decimal, limits: RiskConfig) -> Bound | None:
    limit = exact(limits.max_daily_loss_pct)
    loss = (start - equity) / start if start > 0 else Decimal(1)
    return Bound(limit="daily_loss", wanted=_text(loss), allowed=_text(limit)) if loss >= limit else None


def daily_loss_breach(equity: Money, day_start: Money, limits: RiskConfig) -> Bound | None:
    """The bound that makes everything reduce-only until 00:00 UTC, or None."""
    return _lost(day_start.value, equity.value, limits)


def drawdown_breach(equity: Money, peak: Money, limits: RiskConfig) -> Bound | None:
    """The bound that engages the kill switch, or None; no equity at all is a breach."""
    return _fall(peak.value, equity.value, limits)
