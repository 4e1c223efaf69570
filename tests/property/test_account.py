"""The account's identities, to the last decimal, after any fills, funding and marks."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoai.core.instruments import Contract
from cryptoai.core.messages import Fill, Side
from cryptoai.core.money import EXACT, Money, Price, Quantity
from cryptoai.execution.account import Account
from cryptoai.testing.fakes import make_instrument

NAMES = ("fake:A", "fake:B")
INSTRUMENTS = (make_instrument(NAMES[0]), make_instrument(NAMES[1], contract=Contract.SPOT))


def digits(low: int, high: int, places: int) -> st.SearchStrategy[Decimal]:
    return st.integers(low * 10**places, high * 10**places).map(lambda n: Decimal(n).scaleb(-places))


names = st.sampled_from(NAMES)
events = st.one_of(
    st.tuples(
        st.just("fill"), names, st.sampled_from(list(Side)), digits(1, 10**5, 2), digits(1, 100, 3), digits(-5, 5, 8)
    ),
    st.tuples(st.just("mark"), names, digits(1, 10**5, 3)),
    st.tuples(st.just("funding"), names, digits(-50, 50, 8)),
)


def apply(account: Account, event: tuple[Any, ...], number: int) -> None:
    if event[0] == "mark":
        account.mark(event[1], Price(event[2]))
    elif event[0] == "funding":
        account.pay_funding(event[1], Money(event[2]))
    else:
        _, name, side, price, quantity, fee = event
        account.fill(
            Fill(
                client_order_id="c",
                fill_id=str(number),
                instrument=name,
                side=side,
                price=Price(price),
                quantity=Quantity(quantity),
                fee=Money(fee),
                maker=False,
                event_time=number,
                known_at=number,
            )
        )


@given(st.lists(events, max_size=30))
@settings(max_examples=100)
def test_the_identities_hold_at_every_event(history: list[tuple[Any, ...]]) -> None:
    """equity = cash + sum(q x mark) = initial + realised + unrealised - fees + funding, digit by digit."""
    account = Account(INSTRUMENTS, Money("100000"))
    cash = Decimal(100_000)
    held = dict.fromkeys(NAMES, Decimal(0))
    for number, event in enumerate(history):
        apply(account, event, number)
        if event[0] == "fill":
            signed = event[4] * event[2].sign
            cash = EXACT.subtract(EXACT.subtract(cash, EXACT.multiply(signed, event[3])), event[5])
            held[event[1]] += signed
        elif event[0] == "funding":
            cash = EXACT.add(cash, event[2])
        seen = account.observe(number)
        worth = sum((EXACT.multiply(q, seen.marks[n].value) for n, q in held.items() if q), start=Decimal(0))
        assert seen.cash == Money(cash)
        assert seen.equity == Money(EXACT.add(cash, worth))
        assert seen.positions == {n: Quantity(q) for n, q in held.items() if q}
        parts = account.initial + account.realised + account.unrealised() - account.fees + account.funding
        assert parts == seen.equity


@given(st.lists(events, max_size=30))
def test_a_flat_account_has_nothing_unrealised(history: list[tuple[Any, ...]]) -> None:
    """After closing everything the cost is exactly zero: no rest of a rounding stays in a position."""
    account = Account(INSTRUMENTS, Money("100000"))
    for number, event in enumerate(history):
        apply(account, event, number)
    for name, quantity in account.quantities().items():
        side = Side.SELL if quantity > Quantity.zero() else Side.BUY
        apply(account, ("fill", name, side, Decimal("7.77"), abs(quantity).value, Decimal(0)), 10**6)
    assert account.unrealised() == Money.zero()
    assert all(position.cost == Money.zero() for position in account.positions.values())
    assert account.equity() == account.cash
