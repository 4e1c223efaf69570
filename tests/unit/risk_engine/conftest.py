"""One judgement with everything in order; each test changes what it is about."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from cryptoai.core.config import ExecutionConfig, RiskConfig
from cryptoai.core.messages import AccountView, Conditions, Proposal, Verdict
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.risk_engine.judge import judge
from cryptoai.risk_engine.situation import Context
from cryptoai.testing.fakes import make_instrument, make_quote

NOW = 1_700_000_000_000_000_000


def _judged(**changes: Any) -> tuple[Verdict, ApprovedOrder | None]:
    """Equity 100,000, budget 10 %, mid 100.05, visible 1,000 a side; `held` and `entry` set the position."""
    instrument = changes.pop("instrument", make_instrument())
    held, entry = changes.pop("held", "0"), changes.pop("entry", "100")
    account = {"equity": "100000", "peak_equity": "100000", "cash": "100000", "time": NOW} | changes.pop("account", {})
    flat = not Quantity(held)
    view = AccountView(
        **account,
        positions={} if flat else {instrument.id: Quantity(held)},
        entry_prices={} if flat else {instrument.id: Price(entry)},
        open_orders=0,
        last_fill_time=0,
    )
    proposal = Proposal(
        decision=7,
        time=NOW,
        instrument=instrument.id,
        exposure=Decimal(changes.pop("exposure", "0.5")),
        leverage=Decimal(1),
        urgency=Decimal(changes.pop("urgency", "0.5")),
        state_hash="s",
        revision="r",
    )
    limits = RiskConfig(**({"depth_share": 1.0} | changes.pop("limits", {})))
    execution = ExecutionConfig(**changes.pop("execution", {}))
    quote = changes.pop("quote", make_quote(instrument, NOW, "100", "1000"))
    known = {"volatility_bps": 300.0, "turnover": 1e7} | changes.pop("conditions", {})
    base = {
        "day_start_equity": Money(100_000),
        "other_notional": Money.zero(),
        "es99_bps": 3.0,
        "anomaly": 0.1,
        "conditions": Conditions(instrument=instrument.id, time=NOW, **known),
    }
    context = Context(bot="b", **(base | changes.pop("context", {})))
    assert not changes, f"unknown: {changes}"
    return judge(proposal, quote, view, limits, execution, instrument, context)


@pytest.fixture
def judged() -> Callable[..., tuple[Verdict, ApprovedOrder | None]]:
    return _judged
