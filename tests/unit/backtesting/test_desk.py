"""Margin, brackets and the bankruptcy price, by paper and pencil."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoai.backtesting.desk import Desk, bankruptcy_ticks, initial_margin, maintenance_margin
from cryptoai.core.config import BacktestConfig
from cryptoai.core.instruments import Contract, LeverageBracket
from cryptoai.core.messages import Fill, OrderKind, OrderRequest, Side
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.testing.fakes import make_instrument


def _bracket(floor: int, cap: int, leverage: int, rate: str, amount: int) -> LeverageBracket:
    return LeverageBracket(
        floor=Money(floor), cap=Money(cap), max_leverage=leverage, maintenance_rate=Decimal(rate),
        maintenance_amount=Money(amount),
    )  # fmt: skip


PLAIN = make_instrument()
TIERED = PLAIN.model_copy(
    update={"brackets": (_bracket(0, 50_000, 20, "0.02", 0), _bracket(50_000, 10**9, 10, "0.05", 1500))}
)
INVERSE = make_instrument(contract=Contract.INVERSE).model_copy(
    update={"contract_size": Decimal(100), "step": Decimal(1)}
)


def _desk(made=PLAIN, cash: int = 1000, **rules) -> Desk:
    return Desk([made], Money(cash), BacktestConfig.model_validate(rules))


def _buy(desk: Desk, quantity: str, price: str, made=PLAIN, side: Side = Side.BUY) -> None:
    desk.took(
        Fill(
            client_order_id="c", fill_id="f", instrument=made.id, side=side, price=Price(price),
            quantity=Quantity(quantity), fee=Money.zero(), maker=False, event_time=1, known_at=1,
        )
    )  # fmt: skip


def _request(quantity: str, side: Side = Side.BUY) -> OrderRequest:
    return OrderRequest(
        client_order_id="c", decision=0, time=0, instrument=PLAIN.id, side=side, kind=OrderKind.MARKET,
        quantity=Quantity(quantity), price=None,
    )  # fmt: skip


def test_initial_margin_takes_the_least_leverage() -> None:
    """Configured 20, the instrument's 20, a bracket's 10 above 50,000."""
    assert initial_margin(TIERED, Price(100), Quantity(400), Decimal(20)) == Money(2000)
    assert initial_margin(TIERED, Price(100), Quantity(600), Decimal(20)) == Money(6000)
    assert initial_margin(PLAIN, Price(100), Quantity(600), Decimal(5)) == Money(12_000)


def test_maintenance_is_continuous_over_the_brackets() -> None:
    """2 % of 50,000 is 1,000; 5 % of it less 1,500 is 1,000 too."""
    assert maintenance_margin(TIERED, Price(100), Quantity(-400)) == Money(800)
    assert maintenance_margin(TIERED, Price(100), Quantity(500)) == Money(1000)
    assert maintenance_margin(PLAIN, Price(100), Quantity(400)) == Money(1000)


def test_an_order_without_margin_is_refused() -> None:
    """1,000 carry 20 x less the fee: 199 at 100, not 200."""
    desk = _desk()
    desk.account.mark(PLAIN.id, Price(100))
    assert desk.refuse_margin(_request("199"), Price(100), Quantity(195)) == ""
    assert "insufficient margin" in desk.refuse_margin(_request("200"), Price(100), Quantity(200))
    assert desk.refuse_margin(_request("200"), Price(100), Quantity.zero()) == ""


def test_a_long_is_liquidated_where_the_closed_form_says() -> None:
    """100 bought at 100 with 1,000: equity 1,000 - 100 d meets maintenance 2.5 % x 100 x (100 - d) at d = 7.692..."""
    desk = _desk()
    _buy(desk, "100", "100")
    desk.account.mark(PLAIN.id, Price("92.308"))
    assert desk.breach() is None
    desk.account.mark(PLAIN.id, Price("92.307"))
    breach = desk.breach()
    assert breach is not None
    assert breach.lots == 100_000


def test_a_large_position_steps_down_a_bracket_first() -> None:
    """600 at 100: enough is closed to come below 50,000."""
    desk = _desk(TIERED, cash=1600)
    _buy(desk, "600", "100", TIERED)
    desk.account.mark(PLAIN.id, Price(100))
    desk.account.pay_funding(PLAIN.id, Money(-200))
    breach = desk.breach()
    assert breach is not None
    assert breach.lots == 100_001


def test_an_isolated_position_stands_alone() -> None:
    """With 20 x its margin is gone at -2.5 %, although the account has plenty."""
    for mode, broken in (("cross", False), ("isolated", True)):
        desk = _desk(cash=100_000, margin_mode=mode)
        _buy(desk, "100", "100")
        desk.account.mark(PLAIN.id, Price(97))
        assert (desk.breach() is not None) is broken


@pytest.mark.parametrize("made", [PLAIN, INVERSE], ids=["linear", "inverse"])
@given(
    price=st.integers(20, 10**6),
    lots=st.integers(1, 10**6),
    side=st.sampled_from([1, -1]),
    share=st.integers(-30, 99),
)
def test_at_the_bankruptcy_price_nothing_is_left_and_nothing_owed(made, price, lots, side, share) -> None:
    """Closing there leaves what stood behind not below zero; one tick worse leaves less."""
    mark, quantity = made.price(price), made.quantity(lots).times(side)
    behind = Money((made.notional(mark, quantity).value * share / 100).quantize(Decimal("1E-12")))
    ticks = bankruptcy_ticks(made, mark, quantity, behind)
    if ticks == 0:
        return

    def left(at: int) -> Money:
        return behind - made.value(mark, quantity) + made.value(made.price(at), quantity)

    if left(ticks) < Money("-1E-17"):
        assert made.price(ticks) == mark or side < 0
    elif ticks > 1:
        assert left(ticks - side) < left(ticks)
        assert left(ticks - side) <= Money("1E-12") or side < 0 or left(ticks - side) < Money.zero()


def test_the_order_rate_is_counted_over_ten_seconds() -> None:
    """Three in ten seconds, a fourth when the first is ten seconds old."""
    desk = _desk(orders_per_10s=3)
    second = 1_000_000_000
    answers = [desk.refuse_rate(t * second) for t in (0, 1, 2, 3, 10)]
    assert [bool(answer) for answer in answers] == [False, False, False, True, False]
