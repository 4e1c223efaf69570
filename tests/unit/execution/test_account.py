"""The account on paper-and-pencil examples."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cryptoai.core.errors import ConfigError, InvariantError
from cryptoai.core.instruments import Contract
from cryptoai.core.messages import Fill, Side
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.execution.account import DAY_NS, Account
from cryptoai.testing.fakes import make_instrument

NAME = "fake:BTCUSDT"


def account() -> Account:
    return Account([make_instrument()], Money(1000))


def trade(book: Account, side: Side, quantity: str, price: str, fee: str = "0") -> None:
    book.fill(
        Fill(
            client_order_id="c",
            fill_id="f",
            instrument=NAME,
            side=side,
            price=Price(price),
            quantity=Quantity(quantity),
            fee=Money(fee),
            maker=True,
            event_time=3,
            known_at=4,
        )
    )


def test_a_round_trip() -> None:
    """Two bought at 100 and 110, one sold at 120 at the average of 105, fee 1: 15 realised, 15 open."""
    book = account()
    trade(book, Side.BUY, "1", "100")
    trade(book, Side.BUY, "1", "110")
    trade(book, Side.SELL, "1", "120", "1")
    book.mark(NAME, Price(120))
    assert book.realised == Money(15)
    assert book.unrealised() == Money(15)
    assert book.cash == Money(909)
    assert book.equity() == Money(1029)
    view = book.view(9, 2)
    assert view.entry_prices == {NAME: Price(105)}
    assert (view.equity, view.peak_equity, view.open_orders, view.last_fill_time) == (Money(1029), Money(1029), 2, 4)


def test_through_zero() -> None:
    """A sale larger than the position closes it and opens a short at the sale's price."""
    book = account()
    trade(book, Side.BUY, "1", "100")
    trade(book, Side.SELL, "3", "90")
    assert book.realised == Money(-10)
    assert book.quantities() == {NAME: Quantity(-2)}
    assert book.view(0, 0).entry_prices == {NAME: Price(90)}
    trade(book, Side.BUY, "2", "80")
    assert book.realised == Money(10)
    assert book.quantities() == {}
    assert book.equity() == Money(1010)


def test_an_inexact_average_loses_nothing() -> None:
    """A third of a cost that does not divide: what was realised and what is open still add up."""
    book = account()
    trade(book, Side.BUY, "0.007", "100.1")
    trade(book, Side.SELL, "0.002", "99.7")
    book.mark(NAME, Price("99.9"))
    assert book.equity() == book.initial + book.realised + book.unrealised()


def test_funding_is_cash() -> None:
    """What is received is in cash and in the running total."""
    book = account()
    book.pay_funding(NAME, Money("-0.25"))
    seen = book.observe(5)
    assert (seen.cash, seen.funding, seen.equity) == (Money("999.75"), Money("-0.25"), Money("999.75"))


def test_peak_and_day() -> None:
    """The peak only rises until it is forgiven; the day's start moves at 00:00 UTC."""
    book = account()
    trade(book, Side.BUY, "1", "100")
    for time, price in ((1, 150), (2, 120), (DAY_NS, 130), (DAY_NS + 1, 90)):
        book.mark(NAME, Price(price))
        book.observe(time)
    assert (book.peak, book.day_start) == (Money(1050), Money(1030))
    book.forgive_drawdown()
    assert book.peak == Money(990)


def test_what_it_refuses() -> None:
    """Instruments that it was not made for, and contracts that settle in different currencies."""
    with pytest.raises(ConfigError, match="BTC, USDT"):
        Account([make_instrument(), make_instrument("fake:BTCUSD", contract=Contract.INVERSE)], Money(1))
    with pytest.raises(InvariantError, match="does not trade"):
        account().mark("fake:OTHER", Price(1))


def inverse() -> Account:
    """One coin and contracts of 100 USD."""
    made = make_instrument(contract=Contract.INVERSE).model_copy(
        update={"contract_size": Decimal(100), "step": Decimal(1)}
    )
    return Account([made], Money(1))


def test_an_inverse_contract_earns_coin() -> None:
    """1,000 contracts of 100 from 50,000 to 62,500: 100,000 x (1/50,000 - 1/62,500) = 0.4 coin."""
    book = inverse()
    trade(book, Side.BUY, "1000", "50000", "0.001")
    book.mark(NAME, Price(62_500))
    assert book.unrealised() == Money("0.4")
    assert book.equity() == Money("1.399")
    assert book.view(0, 0).entry_prices == {NAME: Price(50_000)}
    assert book.notional(NAME) == Money("1.6")
    trade(book, Side.SELL, "1000", "62500")
    assert (book.realised, book.cash) == (Money("0.4"), Money("1.399"))


def test_an_inverse_entry_is_the_harmonic_mean_and_a_turn_loses_no_digit() -> None:
    """As many contracts at 30,000 and at 60,000 were bought at 40,000; through zero the identities still hold."""
    book = inverse()
    trade(book, Side.BUY, "7", "30000")
    trade(book, Side.BUY, "7", "60000")
    assert book.view(0, 0).entry_prices == {NAME: Price(40_000)}
    trade(book, Side.SELL, "23", "70001.3")
    book.mark(NAME, Price("69999.9"))
    assert book.equity() == book.initial + book.realised + book.unrealised()
    assert book.quantities() == {NAME: Quantity(-9)}


def test_what_one_side_of_an_inverse_contract_loses_the_other_gains() -> None:
    """Prices that do not divide: the coin of both accounts together stays what it was, to the last digit."""
    long, short = inverse(), inverse()
    for quantity, price in (("3", "61111.7"), ("11", "59999.3"), ("5", "60007.1")):
        trade(long, Side.BUY, quantity, price)
        trade(short, Side.SELL, quantity, price)
        assert long.cash + short.cash == Money(2)
        for book in (long, short):
            book.mark(NAME, Price("60123.7"))
        assert long.equity() + short.equity() == Money(2)


def test_differences() -> None:
    """Only what differs from the venue is named."""
    book = account()
    trade(book, Side.BUY, "1", "100")
    assert book.differences({NAME: Quantity(1)}) == {}
    assert book.differences({}) == {NAME: Quantity(-1)}
    assert book.differences({NAME: Quantity(1), "fake:X": Quantity(2)}) == {"fake:X": Quantity(2)}
