"""What the venue books without an order of ours: applied, journalled, and rebuilt from the journal."""

from __future__ import annotations

from decimal import Decimal

from cryptoai.core.messages import Fill, Funding, Liquidation, OrderRequest, OrderUpdate, Side
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.execution.ports import VenueEvent
from cryptoai.execution.replay import replay
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.testing.fakes import make_instrument

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
NAME = "fake:BTCUSDT"


class _Bookkeeper:
    """A venue that takes no order and only says what it was told to say."""

    def __init__(self, *news: VenueEvent) -> None:
        self.news = list(news)

    def submit(self, order: ApprovedOrder, now_ns: int) -> None: ...

    def cancel(self, client_order_id: str, now_ns: int) -> None: ...

    def poll(self, now_ns: int) -> list[OrderUpdate | Fill | Funding | Liquidation]:
        known = [event for event in self.news if event.known_at <= now_ns]
        self.news = [event for event in self.news if event.known_at > now_ns]
        return known

    def positions(self, now_ns: int) -> dict[str, Quantity]:  # noqa: ARG002
        return {}

    def open_orders(self, now_ns: int) -> list[OrderRequest]:  # noqa: ARG002
        return []


def test_funding_and_liquidation_reach_the_account_and_the_journal(world) -> None:
    """Replay ends with the same money, and a liquidation is a critical alert."""
    paid = Funding(
        instrument=NAME, share=Decimal("-0.0001"), mark=Price(100), position=Quantity(5), amount=Money("-0.05"),
        event_time=START + SECOND, known_at=START + SECOND,
    )  # fmt: skip
    gone = Liquidation(
        instrument=NAME, side=Side.SELL, price=Price(90), quantity=Quantity(2), fee=Money("1.5"),
        event_time=START + 2 * SECOND, known_at=START + 2 * SECOND, reason="margin",
    )  # fmt: skip
    made = world(venue=_Bookkeeper(paid, gone), script=lambda _: 0.0)
    made.run(4)
    account = made.kernel.account
    assert (account.funding, account.fees) == (Money("-0.05"), Money("1.5"))
    assert account.quantities() == {NAME: Quantity(-2)}
    assert [record.kind for record in made.records("funding", "liquidation")] == ["funding", "liquidation"]
    assert "liquidation" in made.alerts()
    past = replay(made.records(), "bot", [make_instrument()], account.initial)
    assert (past.account.cash, past.account.funding) == (account.cash, account.funding)
    assert past.account.quantities() == account.quantities()
