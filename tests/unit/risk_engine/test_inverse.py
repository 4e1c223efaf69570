"""Inverse contracts: sizes are contracts, money is coin, prices and venue minimums are quote."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from cryptoai.core.instruments import Contract
from cryptoai.core.messages import Side, Verdict
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.testing.fakes import make_instrument, make_quote

Judged = Callable[..., tuple[Verdict, ApprovedOrder | None]]
NOW = 1_700_000_000_000_000_000
MADE = make_instrument(contract=Contract.INVERSE).model_copy(
    update={"tick": Decimal("0.5"), "step": Decimal(1), "contract_size": Decimal(100), "min_notional": Money(100)}
)
QUOTE = make_quote(MADE, NOW, "49999.75", "100000").model_copy(update={"ask": Price("50000.25")})
COIN = {"equity": "10", "peak_equity": "10", "cash": "10"}


def inverse(judged: Judged, **changes: Any) -> tuple[Verdict, ApprovedOrder | None]:
    """Ten coins at 50,000, so that a contract is worth 0.002 coin and the budget of 10 % is 500 contracts."""
    context = {"day_start_equity": Money(10)} | changes.pop("context", {})
    account = COIN | changes.pop("account", {})
    limits = {"max_correlated_pct": 20.0, "max_volatility_pct": 0.5} | changes.pop("limits", {})
    return judged(instrument=MADE, quote=QUOTE, context=context, account=account, limits=limits, **changes)


def test_the_budget_is_in_contracts(judged: Judged) -> None:
    """Half of the budget, 0.5 coin, is 250 contracts of 100 dollars."""
    verdict, order = inverse(judged)
    assert verdict.bounds == ()
    assert verdict.proposed == verdict.approved == Quantity(250)
    assert order is not None
    assert (order.request.side, order.request.quantity) == (Side.BUY, Quantity(250))


@pytest.mark.parametrize(
    ("limit", "changes", "contracts"),
    [
        ("max_leverage", {"context": {"other_notional": Money("49.8")}}, 100),
        ("correlated", {"limits": {"max_correlated_pct": 0.03}}, 150),
        ("volatility", {"limits": {"max_volatility_pct": 0.02}, "conditions": {"volatility_bps": 5_000.0}}, 200),
        ("volume", {"conditions": {"turnover": 60_000.0}}, 120),
        ("tail_loss", {"limits": {"max_tail_loss_pct": 0.01}, "context": {"es99_bps": 3_000.0}}, 116),
        (
            "tail_loss",
            {"limits": {"max_tail_loss_pct": 0.01}, "context": {"es99_bps": 3_000.0}, "exposure": "-0.5"},
            -166,
        ),
        ("tail_loss", {"context": {"es99_bps": 10_000.0}}, 0),
    ],
)
def test_each_cap_is_in_contracts(judged: Judged, limit: str, changes: dict[str, Any], contracts: int) -> None:
    """Shares of equity are coin and a contract is 0.002 of one; turnover is quote, a contract 100 of it; a fall of
    30 % costs a long 3/7 of its coin, and one of 100 % everything there is and more."""
    verdict, _ = inverse(judged, **changes)
    assert verdict.approved == Quantity(contracts)
    assert [b.limit for b in verdict.bounds] == [limit]


@pytest.mark.parametrize(("entry", "stopped"), [("50900", False), ("51001", True)])
def test_the_stop_is_a_share_of_the_coin_at_entry(judged: Judged, entry: str, stopped: bool) -> None:
    """A long of 51,001 lost 2.002 % of its coin at 50,000, though the price fell by 1.96 %."""
    verdict, order = inverse(judged, held="100", entry=entry)
    assert ("stop_loss" in [b.limit for b in verdict.bounds]) == stopped
    if stopped:
        assert order is not None
        assert (order.request.side, order.request.quantity) == (Side.SELL, Quantity(100))


def test_the_least_notional_is_in_quote(judged: Judged) -> None:
    """One contract of 100 dollars is the smallest order, whatever the price; one of 200 would be refused."""
    assert inverse(judged, exposure="0.002")[1] is not None
    dear = MADE.model_copy(update={"min_notional": Money(200)})
    verdict, order = judged(
        instrument=dear, quote=QUOTE, account=COIN, exposure="0.002", context={"day_start_equity": Money(10)}
    )
    assert order is None
    assert [(b.limit, b.wanted, b.allowed) for b in verdict.bounds] == [("min_notional", "100", "200")]
