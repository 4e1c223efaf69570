"""The limits that look at the market and at the rest of the portfolio: each binds where its sentence says."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from cryptoai.core.messages import Conditions, Verdict
from cryptoai.core.money import Money, Quantity
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.risk_engine.situation import Peer

Judged = Callable[..., tuple[Verdict, ApprovedOrder | None]]
WIDE = {"max_position_pct": 1.0, "max_leverage": 20.0, "max_correlated_pct": 20.0}
"""Room enough that only the limit under test binds; half of the budget is 499.750 units at 100.05."""


def bound(verdict: Verdict) -> list[str]:
    return [b.limit for b in verdict.bounds]


def allowed(verdict: Verdict, limit: str) -> str:
    return next(b.allowed for b in verdict.bounds if b.limit == limit)


def test_exposure_falls_with_volatility(judged: Judged) -> None:
    """At 10 % a day, 2 % of 100,000 is the daily deviation of 20,000: 199.900 units."""
    verdict, order = judged(limits=WIDE, conditions={"volatility_bps": 1000.0})
    assert bound(verdict) == ["volatility"]
    assert verdict.approved == Quantity("199.9")
    assert order is not None
    held = judged(limits=WIDE, held="300", conditions={"volatility_bps": 1000.0})[1]
    assert held is not None
    assert held.request.reduce_only, "a market that became wilder is left, not only not entered"


def test_size_follows_the_volume(judged: Judged) -> None:
    """A fifth of the 500 units that were traded in the last minute may be added to what is held."""
    verdict, _ = judged(limits=WIDE, conditions={"turnover": 50_025.0})
    assert (bound(verdict), verdict.approved) == (["volume"], Quantity(100))
    verdict, _ = judged(limits=WIDE, held="200", conditions={"turnover": 50_025.0})
    assert verdict.approved == Quantity(300)


@pytest.mark.parametrize("blind", [{"volatility_bps": None}, {"turnover": None}, {"volatility_bps": -1.0}])
def test_an_unknown_market_is_reduce_only(judged: Judged, blind: dict[str, Any]) -> None:
    """Without a volatility or a volume nothing is added; what is held may still shrink."""
    assert judged(conditions=blind)[1] is None
    order = judged(held="100", exposure="0.1", conditions=blind)[1]
    assert order is not None
    assert order.request.reduce_only


def test_conditions_of_another_market_are_denied(judged: Judged) -> None:
    """They would say nothing about this one; nor may they come from the future."""
    other = Conditions(instrument="fake:ETHUSDT", time=0, volatility_bps=1.0, turnover=1.0)
    verdict, order = judged(context={"conditions": other})
    assert (bound(verdict), order) == (["denied"], None)


@pytest.mark.parametrize(("severity", "approved"), [(0.49, "499.75"), (0.5, "199.9"), (1.0, "199.9")])
def test_a_severe_event_tightens_leverage(judged: Judged, severity: float, approved: str) -> None:
    """From the configured severity on a fifth of position and leverage is left."""
    verdict, _ = judged(limits=WIDE | {"event_leverage_share": 0.2}, conditions={"event_severity": severity})
    assert verdict.approved == Quantity(approved)


@pytest.mark.parametrize(("anomaly", "approved"), [(0.5, "499.75"), (0.9, "439.78"), (1.0, "299.85")])
def test_stress_tightens_leverage(judged: Judged, anomaly: float, approved: str) -> None:
    """Linear from half way (all) to the border (three tenths)."""
    assert judged(limits=WIDE, context={"anomaly": anomaly})[0].approved == Quantity(approved)


def test_the_side_that_pays_funding_waits(judged: Judged) -> None:
    """20 bp due in 10 minutes veto a long, not a short; due in two hours they veto nobody."""
    due = {"funding_rate": 0.002, "funding_in_s": 600.0}
    assert bound(judged(conditions=due)[0]) == ["funding_cost"]
    assert judged(exposure="-0.5", conditions=due)[0].bounds == ()
    assert judged(conditions=due | {"funding_in_s": 7200.0})[0].bounds == ()
    assert bound(judged(exposure="-0.5", conditions=due | {"funding_rate": -0.002})[0]) == ["funding_cost"]


def test_after_a_stop_loss_nothing_is_added(judged: Judged) -> None:
    """A cooling instrument is reduce-only."""
    assert bound(judged(context={"cooling": True})[0]) == ["cooldown"]
    order = judged(held="100", exposure="0.1", context={"cooling": True})[1]
    assert order is not None
    assert order.request.reduce_only


@pytest.mark.parametrize(
    ("correlation", "approved"), [(1.0, "399.8"), (0.5, "449.775"), (-1.0, "499.75"), (None, "399.8")]
)
def test_what_moves_together_counts_together(judged: Judged, correlation: float | None, approved: str) -> None:
    """A long of 10,000 elsewhere uses the concentration limit by its correlation; a hedge or a stranger never helps."""
    peer = Peer(Decimal(10_000), 0.0, correlation)
    context = {"peers": (peer,), "other_notional": Money(10_000)}
    verdict, _ = judged(limits=WIDE | {"max_correlated_pct": 0.5}, context=context)
    assert verdict.approved == Quantity(approved)


@pytest.mark.parametrize(("correlation", "approved"), [(0.0, "399.8"), (1.0, "199.9")])
def test_the_portfolio_has_one_tail(judged: Judged, correlation: float, approved: str) -> None:
    """5,000 may be lost together and 3,000 may be lost elsewhere: sqrt(5^2 - 3^2) = 4 thousand alone, 2 together."""
    context = {"peers": (Peer(Decimal(30_000), 1000.0, correlation),), "es99_bps": 1000.0}
    verdict, _ = judged(limits=WIDE | {"max_tail_loss_pct": 0.5}, context=context)
    assert (bound(verdict), verdict.approved) == (["portfolio_loss"], Quantity(approved))


def test_a_peer_without_a_forecast_blocks_new_risk(judged: Judged) -> None:
    """The sum of the tails is not known, so nothing is added."""
    verdict, order = judged(context={"peers": (Peer(Decimal(100), None, 0.0),)})
    assert (bound(verdict), order) == (["portfolio_loss"], None)


def test_every_limit_that_binds_is_named(judged: Judged) -> None:
    """Each with what it alone would allow; the smallest is what was approved."""
    verdict, _ = judged(
        limits=WIDE, conditions={"volatility_bps": 1000.0, "turnover": 50_025.0}, context={"anomaly": 0.99}
    )
    assert bound(verdict) == ["stress", "volatility", "volume"]
    assert [allowed(verdict, name) for name in bound(verdict)] == ["313.843", "199.9", "100"]
    assert verdict.approved == Quantity(100)
