"""Ids, clocks, instruments, the error tree."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cryptoai.core import errors
from cryptoai.core.clock import ReplayClock, SystemClock, iso
from cryptoai.core.errors import CryptoAIError, DataError, InvariantError, PermanentError, TransientError
from cryptoai.core.ids import CLIENT_ORDER_PREFIX, client_order_id, content_hash, parse_instrument
from cryptoai.core.instruments import Instrument
from cryptoai.core.money import Money, Price, Quantity

Perp = Callable[..., Instrument]


@pytest.mark.parametrize("name", ["binance_usdm:BTCUSDT", "binance_coinm:BTCUSD_PERP", "a:1.B-2"])
def test_instrument_names_split(name: str) -> None:
    """Venue and symbol on either side of the colon."""
    assert ":".join(parse_instrument(name)) == name


@pytest.mark.parametrize(
    "name", ["", "BTCUSDT", ":BTCUSDT", "binance:", "Binance:BTC", "binance:btc", "a:B:C", "a:B\n"]
)
def test_other_names_are_refused(name: str, perp: Perp) -> None:
    """The message shows the right form; an instrument cannot be made with such a name."""
    with pytest.raises(DataError, match="is not venue:SYMBOL"):
        parse_instrument(name)
    with pytest.raises(ValidationError, match="is not venue:SYMBOL"):
        perp(id=name)


@given(st.text(max_size=30), st.text(max_size=30), st.integers(0, 2**40))
def test_order_ids_are_stable_and_short(bot: str, revision: str, decision: int) -> None:
    """The same decision is the same order; the next one is another; venues take 36 characters."""
    made = client_order_id(bot, revision, decision, "binance_usdm:BTCUSDT")
    assert made == client_order_id(bot, revision, decision, "binance_usdm:BTCUSDT")
    assert made != client_order_id(bot, revision, decision + 1, "binance_usdm:BTCUSDT")
    assert made.startswith(CLIENT_ORDER_PREFIX)
    assert len(made) <= 36
    assert all(letter in "abcdefghijklmnopqrstuvwxyz0123456789-" for letter in made)


def test_content_hash_is_sha256() -> None:
    """The known digest of the empty input."""
    assert content_hash(b"", 16) == "e3b0c44298fc1c14"
    assert len(content_hash(b"x")) == 64


def test_replay_clock_moves_forward_only() -> None:
    """Going back would let a replay see the past twice."""
    clock = ReplayClock(5)
    clock.advance_to(5)
    clock.advance_to(9)
    assert clock.now_ns() == 9
    with pytest.raises(InvariantError, match="go back from 9 to 8"):
        clock.advance_to(8)


def test_system_clock_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that NTP sets back is answered with the last time seen."""
    ticks = iter([100, 90, 95, 101])
    monkeypatch.setattr(time, "time_ns", lambda: next(ticks))
    clock = SystemClock()
    assert [clock.now_ns() for _ in range(4)] == [100, 100, 100, 101]


def test_iso_keeps_nanoseconds() -> None:
    """All nine digits, in UTC."""
    assert iso(1_723_161_255_030_314_667) == "2024-08-08T23:54:15.030314667Z"
    assert iso(0) == "1970-01-01T00:00:00.000000000Z"


def test_ticks_and_lots_are_exact(perp: Perp) -> None:
    """Integers of the kernel and exact amounts convert both ways, toward zero."""
    made = perp()
    assert made.price(573_011) == Price("57301.1")
    assert made.ticks(Price("57301.1")) == 573_011
    assert made.ticks(Price("57301.19")) == 573_011
    assert made.lots(Quantity("-0.0039")) == -3
    assert made.lots(Quantity("0.000" + "9" * 40)) == 0
    assert made.quantity(-3) == Quantity("-0.003")
    assert (made.venue, made.symbol) == ("binance_usdm", "BTCUSDT")


@given(st.integers(0, 10**9), st.sampled_from(["0.1", "0.01", "0.00001", "0.5", "0.3"]))
def test_ticks_round_trip(perp: Perp, ticks: int, tick: str) -> None:
    """No integer is lost on the way to a price and back."""
    made = perp(tick=Decimal(tick))
    assert made.ticks(made.price(ticks)) == ticks


def test_fees_are_exact(perp: Perp) -> None:
    """A share of the notional, the same for both signs; a rebate is negative."""
    made = perp()
    assert made.fee(Price("50000"), Quantity("-0.003"), maker=False) == Money("0.075")
    assert made.fee(Price("50000"), Quantity("0.003"), maker=True) == Money("0.03")
    assert perp(maker_fee=Decimal("-0.0001")).fee(Price(10), Quantity(1), maker=True) == Money("-0.001")


@pytest.mark.parametrize(
    "change", [{"tick": 0}, {"step": -1}, {"min_notional": 0.5}, {"taker_fee": Decimal("0.06")}, {"max_leverage": 1001}]
)
def test_impossible_instruments_are_refused(change: dict[str, object], perp: Perp) -> None:
    """Ticks and steps are above zero, amounts exact, fees and leverage within reason."""
    with pytest.raises(ValidationError):
        perp(**change)


def test_the_error_tree_says_retry_or_stop() -> None:
    """Every error is transient, permanent or our bug, and exits non-zero."""
    kinds = [getattr(errors, name) for name in errors.__all__]
    for kind in kinds:
        assert issubclass(kind, CryptoAIError)
        assert kind.exit_code != 0
        if kind is not CryptoAIError:
            assert sum(issubclass(kind, branch) for branch in (TransientError, PermanentError, InvariantError)) == 1
    assert issubclass(DataError, ValueError)
    assert TransientError("slow down", retry_after_s=7).retry_after_s == 7
