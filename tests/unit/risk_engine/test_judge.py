"""The judge: each limit binds where its sentence says, and what cannot be judged is denied."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from cryptoai.core.config import ExecutionConfig, RiskConfig
from cryptoai.core.ids import client_order_id
from cryptoai.core.instruments import Contract
from cryptoai.core.messages import OrderKind, Proposal, Side, Verdict
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.risk_engine.judge import DENIED, judge
from cryptoai.risk_engine.situation import Context
from cryptoai.testing.fakes import make_instrument, make_quote

Judged = Callable[..., tuple[Verdict, ApprovedOrder | None]]
NOW = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def bound(verdict: Verdict) -> list[str]:
    return [b.limit for b in verdict.bounds]


def test_an_unbound_proposal_passes_whole(judged: Judged) -> None:
    """Half the budget of 10,000 at 100.05 is 49.975 units, bought at the far touch with a deterministic id."""
    verdict, order = judged()
    assert verdict.bounds == ()
    assert verdict.proposed == verdict.approved == Quantity("49.975")
    assert order is not None
    request = order.request
    assert verdict.order == request
    assert (request.side, request.quantity, request.price) == (Side.BUY, Quantity("49.975"), Price("100.1"))
    assert request.client_order_id == client_order_id("b", "r", 7, "fake:BTCUSDT")
    assert not request.reduce_only


def test_leverage_counts_the_other_instruments(judged: Judged) -> None:
    """With 498,000 of 500,000 used elsewhere, 2,000 are left."""
    verdict, _ = judged(context={"other_notional": Money(498_000)})
    assert verdict.approved == Quantity("19.99")
    assert bound(verdict) == ["max_leverage"]


def test_drawdown_leaves_nothing(judged: Judged) -> None:
    """Ten per cent under the peak the position is closed at once, by an IOC order inside the collar."""
    verdict, order = judged(held="10", account={"peak_equity": "111112"})
    assert "drawdown" in bound(verdict)
    assert verdict.approved == Quantity(0)
    assert order is not None
    assert (order.request.kind, order.request.side, order.request.reduce_only) == (OrderKind.IOC, Side.SELL, True)
    assert order.request.price == Price("99.1")


def test_daily_loss_is_reduce_only(judged: Judged) -> None:
    """Five per cent under the day's start nothing is added, and a reduction still passes."""
    lost = {"day_start_equity": Money("105263.2")}
    assert judged(held="10", context=lost)[0].approved == Quantity(10)
    assert judged(held="10", context=lost)[1] is None
    verdict, order = judged(held="10", exposure="0.05", context=lost)
    assert verdict.approved == Quantity("4.997")
    assert order is not None
    assert order.request.reduce_only


@pytest.mark.parametrize(("held", "entry"), [("10", "102.1"), ("-10", "98.08")])
def test_stop_loss_closes(judged: Judged, held: str, entry: str) -> None:
    """Two per cent against the entry price closes a long and a short."""
    verdict, order = judged(held=held, entry=entry, exposure="0.5" if held == "10" else "-0.5")
    assert "stop_loss" in bound(verdict)
    assert verdict.approved == Quantity(0)
    assert order is not None
    assert order.request.quantity == Quantity(10)


def test_stop_loss_waits_for_its_level(judged: Judged) -> None:
    """Just under two per cent nothing happens."""
    assert "stop_loss" not in bound(judged(held="10", entry="102.09")[0])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("stale_data", {"quote": make_quote(make_instrument(), NOW - 3 * SECOND, "100", "1000")}),
        ("order_rate", {"context": {"orders_last_minute": 60}}),
        ("kill_switch", {"context": {"kill": True}}),
        ("black_swan", {"context": {"alarm": True}}),
        ("out_of_distribution", {"context": {"anomaly": 1.01}}),
        ("tail_loss", {"context": {"es99_bps": None}}),
        ("tail_loss", {"context": {"es99_bps": -1.0}}),
    ],
)
def test_reduce_only_states(judged: Judged, name: str, changes: dict[str, Any]) -> None:
    """Each of these adds nothing from flat, keeps what is held, and lets a reduction through."""
    flat, nothing = judged(**changes)
    assert (flat.approved, nothing) == (Quantity(0), None)
    assert name in bound(flat)
    assert judged(held="10", **changes)[0].approved == Quantity(10)
    less, order = judged(held="60", exposure="0.1", **changes)
    assert less.approved == Quantity("9.995")
    assert order is not None
    assert order.request.reduce_only


def test_tail_loss_scales_with_the_forecast(judged: Judged) -> None:
    """2,000 of allowed loss over 50 % expected shortfall is a notional of 4,000."""
    verdict, _ = judged(context={"es99_bps": 5000.0})
    assert verdict.approved == Quantity("39.98")
    assert bound(verdict) == ["tail_loss"]


def test_depth_limits_the_order_not_the_target(judged: Judged) -> None:
    """Of ten visible one may be taken; the target stays. A reduction is not held back."""
    thin = make_quote(make_instrument(), NOW, "100", "10")
    verdict, order = judged(quote=thin, limits={"depth_share": 0.1})
    assert verdict.approved == Quantity("49.975")
    assert order is not None
    assert order.request.quantity == Quantity(1)
    _, closing = judged(quote=thin, limits={"depth_share": 0.1}, held="40", exposure="0")
    assert closing is not None
    assert closing.request.quantity == Quantity(40)


def test_a_reversal_stops_at_zero(judged: Judged) -> None:
    """From long to short takes two decisions: this one closes."""
    verdict, order = judged(held="10", exposure="-0.5")
    assert bound(verdict) == ["reversal"]
    assert verdict.approved == Quantity(0)
    assert order is not None
    assert (order.request.side, order.request.quantity, order.request.reduce_only) == (Side.SELL, Quantity(10), True)


def test_dust_waits_unless_it_closes(judged: Judged) -> None:
    """An order under the smallest notional is skipped; one that closes the position is sent."""
    assert bound(judged(held="49.97")[0]) == ["min_notional"]
    _, closing = judged(held="0.01", exposure="0")
    assert closing is not None


def test_collar_denies_a_far_price(judged: Judged) -> None:
    """In a very wide market the near touch is too far from mid."""
    wide = make_quote(make_instrument(), NOW, "90", "1000").model_copy(update={"ask": Price("110")})
    verdict, order = judged(quote=wide, urgency="0")
    assert order is None
    assert bound(verdict) == ["price_collar"]


def test_one_open_order_at_a_time(judged: Judged) -> None:
    """While an order of the instrument is open the next one waits, and says so."""
    verdict, order = judged(context={"open_order": True})
    assert order is None
    assert bound(verdict) == ["open_order"]


def test_the_unexplained_stops_everything(judged: Judged) -> None:
    """Unreconciled, not even a reduction is sent: the position itself is in doubt."""
    verdict, order = judged(held="10", exposure="0", context={"unreconciled": True})
    assert order is None
    assert bound(verdict) == ["unreconciled"]


def test_spot_cannot_go_short(judged: Judged) -> None:
    """A negative target of a spot instrument is zero."""
    verdict, order = judged(instrument=make_instrument(contract=Contract.SPOT), exposure="-0.5")
    assert (verdict.approved, order) == (Quantity(0), None)
    assert bound(verdict) == ["spot_short"]


def test_market_and_post_only_orders(judged: Judged) -> None:
    """A market order has no price; a post-only one rests at the near touch whatever the urgency."""
    _, market = judged(execution={"order_type": "market"})
    _, post = judged(execution={"order_type": "post_only"}, urgency="1")
    assert market is not None
    assert post is not None
    assert market.request.price is None
    assert post.request.price == Price("100")


@pytest.mark.parametrize(
    "quote",
    [
        None,
        make_quote(make_instrument(), NOW + 1, "100"),
        make_quote(make_instrument("fake:OTHER"), NOW, "100"),
        make_quote(make_instrument(), NOW, "100").model_copy(update={"bid": Price("200")}),
        make_quote(make_instrument(), NOW, "100").model_copy(update={"bid": Price("0")}),
    ],
)
def test_a_quote_that_is_none_is_denied(judged: Judged, quote: Any) -> None:
    """No quote, one from the future, of another instrument, crossed or at zero: no order, and the reason is written."""
    verdict, order = judged(quote=quote, held="5")
    assert order is None
    assert bound(verdict) == [DENIED]
    assert verdict.current == Quantity(5)
    assert len(verdict.bounds[0].allowed) > 20


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_forecast_that_is_no_number_is_denied(judged: Judged, value: float) -> None:
    """NaN never compares its way through a limit."""
    for field in ("es99_bps", "anomaly"):
        verdict, order = judged(context={field: value})
        assert order is None
        assert bound(verdict) == [DENIED]


def test_garbage_is_denied() -> None:
    """Objects of no type at all still get a verdict."""
    junk: Any = object()
    proposal = Proposal.model_construct(decision="x", time=None, instrument=3, exposure=Decimal("NaN"), revision=None)
    context = Context("b", Money(1), Money.zero())
    for first in (junk, proposal, None):
        verdict, order = judge(first, junk, junk, RiskConfig(), ExecutionConfig(), make_instrument(), context)
        assert order is None
        assert bound(verdict) == [DENIED]
    nothing: Any = None
    assert judge(nothing, nothing, nothing, nothing, nothing, nothing, nothing)[1] is None
