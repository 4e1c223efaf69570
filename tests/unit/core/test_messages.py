"""Messages: frozen, closed, exact, and the meaning of an action."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cryptoai.core import messages
from cryptoai.core.messages import SAFE_ACTION, Action, Fill, Message, OrderKind, OrderRequest, OrderStatus, Quote, Side
from cryptoai.core.money import Money, Price, Quantity

HERE = "binance_usdm:BTCUSDT"
UNIT = st.floats(min_value=-1, max_value=1)


def order(**changes: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "client_order_id": "cai-1",
        "decision": 1,
        "time": 5,
        "instrument": HERE,
        "side": Side.SELL,
        "kind": OrderKind.LIMIT,
        "quantity": Quantity("0.003"),
        "price": Price("57301.1"),
    }
    return OrderRequest(**(fields | changes))


def every_message() -> list[type[Message]]:
    made = [getattr(messages, name) for name in messages.__all__]
    return [kind for kind in made if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message]


@pytest.mark.parametrize("kind", every_message())
def test_every_message_is_frozen_closed_and_versioned(kind: type[Message]) -> None:
    """A fact is never changed and never carries a field that readers do not know."""
    assert kind.model_config["frozen"]
    assert kind.model_config["extra"] == "forbid"
    assert kind.model_fields["v"].default == 1


def test_a_message_cannot_be_changed_or_extended() -> None:
    """The configuration above does what it says."""
    made = order()
    with pytest.raises(ValidationError, match="frozen"):
        made.quantity = Quantity(9)  # type: ignore[misc]
    with pytest.raises(ValidationError, match="extra"):
        order(leverage=50)
    with pytest.raises(ValidationError):
        order(v=2)


@pytest.mark.parametrize("field", ["direction", "size", "leverage", "timing"])
@pytest.mark.parametrize("value", [1.0000001, -1.0000001, float("nan"), float("inf"), float("-inf"), None, "up"])
def test_an_action_stays_in_its_box(field: str, value: object) -> None:
    """Each of the four numbers is finite and in [-1, 1]."""
    with pytest.raises(ValidationError):
        Action(**({"direction": 0, "size": 0, "leverage": 0, "timing": 0} | {field: value}))


@given(UNIT, UNIT, UNIT, UNIT)
def test_exposure_is_direction_times_size(direction: float, size: float, leverage: float, timing: float) -> None:
    """A negative size wants nothing, leverage and timing do not matter, and rounding only shrinks."""
    exposure = Action(direction=direction, size=size, leverage=leverage, timing=timing).exposure()
    wanted = Decimal(direction) * Decimal(max(size, 0.0))
    assert abs(exposure) <= abs(wanted) + Decimal("1e-12")
    assert abs(exposure - wanted) <= Decimal("1.000001e-6")
    assert exposure == 0 or (exposure > 0) == (direction > 0)
    assert -1 <= exposure <= 1


def test_exposure_at_the_corners() -> None:
    """Full long, full short, and the safe action, which wants no exposure."""
    full = {"leverage": 1.0, "timing": 1.0}
    assert Action(direction=1, size=1, **full).exposure() == 1
    assert Action(direction=-1, size=1, **full).exposure() == -1
    assert Action(direction=1, size=-1, **full).exposure() == 0
    assert SAFE_ACTION.exposure() == 0


@pytest.mark.parametrize("quantity", ["0", "-0.001"])
def test_the_side_gives_the_sign(quantity: str) -> None:
    """An order or a fill of zero or less is refused, or buying -1 would sell."""
    with pytest.raises(ValidationError, match="above zero"):
        order(quantity=Quantity(quantity))
    with pytest.raises(ValidationError, match="above zero"):
        fill(quantity=Quantity(quantity))
    assert order().signed == Quantity("-0.003")
    assert fill().signed == Quantity("0.5")


def fill(**changes: Any) -> Fill:
    fields: dict[str, Any] = {
        "client_order_id": "cai-1",
        "fill_id": "1",
        "instrument": HERE,
        "side": Side.BUY,
        "price": Price("10"),
        "quantity": Quantity("0.5"),
        "fee": Money("0.001"),
        "maker": True,
        "event_time": 1,
        "known_at": 2,
    }
    return Fill(**(fields | changes))


def test_only_a_market_order_has_no_price() -> None:
    """A limit order without a limit would walk the book; a stop is a market order that waits."""
    for kind in (OrderKind.LIMIT, OrderKind.POST_ONLY, OrderKind.IOC):
        with pytest.raises(ValidationError, match="market, stop and take_profit orders have no price"):
            order(kind=kind, price=None)
    with pytest.raises(ValidationError, match="market, stop and take_profit orders have no price"):
        order(kind=OrderKind.MARKET)
    assert order(kind=OrderKind.MARKET, price=None).price is None


def test_bodies_are_canonical_and_read_back() -> None:
    """What the journal stores are digits, and the message comes back equal."""
    made = order(quantity=Quantity("0.0030"))
    body = made.body()
    assert (body["quantity"], body["price"], body["side"]) == ("0.003", "57301.1", "sell")
    assert OrderRequest.model_validate(body) == made
    assert order(client_order_id="c" * 36)
    with pytest.raises(ValidationError):
        order(client_order_id="c" * 37)
    with pytest.raises(ValidationError):
        order(price=57301.1)


def test_mid_is_exact() -> None:
    """Half way between bid and ask, also where half a tick is."""
    quote = Quote(
        instrument=HERE,
        event_time=1,
        known_at=2,
        bid=Price("100.1"),
        bid_size=Quantity(1),
        ask=Price("100.2"),
        ask_size=Quantity(2),
    )
    assert quote.mid == Price("100.15")


def test_final_states() -> None:
    """Filled, cancelled and rejected end an order."""
    assert {status for status in OrderStatus if status.final} == {
        OrderStatus.FILLED,
        OrderStatus.CANCELLED,
        OrderStatus.REJECTED,
    }
