"""Funding by its own tape, and the marks it is settled on."""

from decimal import Decimal

import numpy as np
import pytest

from cryptoai.backtesting.settlement import NEVER, Charges, Marks
from cryptoai.core.config import BacktestConfig
from cryptoai.core.instruments import Contract
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.data_universe.facts import Facts
from cryptoai.testing.fakes import make_instrument

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
RULES = BacktestConfig()
INVERSE = make_instrument(contract=Contract.INVERSE).model_copy(update={"contract_size": Decimal(100)})


def _funding(times, rates) -> Facts:
    return Facts.of("funding", times, times, np.stack([rates, np.full(len(rates), 28_800.0)], axis=1))


def _paid(charges: Charges, times, position: Quantity, marks) -> Money:
    """Everything that a clock which knows only `next` settles."""
    total, clock = Money.zero(), int(times[0]) - 1
    by_time = dict(zip((int(t) for t in times), marks, strict=True))
    while (clock := charges.next(clock)) < NEVER:
        payment = charges.payment(clock, position, by_time[clock])
        total = total + (payment.amount if payment is not None else Money.zero())
    return total


def _changing() -> tuple[np.ndarray, np.ndarray, list[Price]]:
    """Intervals of 8, then 4, then 2 hours, milliseconds of jitter, rates down to a cap of -2 %, as in a squeeze."""
    rng = np.random.default_rng(5)
    steps = np.concatenate([np.full(9, 8), np.full(6, 4), np.full(30, 2)]) * HOUR
    times = np.cumsum(steps) + 1_667_865_600 * SECOND + rng.integers(0, 9, len(steps)) * 1_000_000
    rates = np.round(np.clip(rng.normal(-0.004, 0.01, len(steps)), -0.02, 0.02), 8)
    return times, rates, [Price(f"{value:.3f}") for value in 30 * np.exp(rng.normal(0, 0.2, len(steps)))]


def test_changing_intervals_sum_to_the_closed_form() -> None:
    """-position x sum(rate x mark), digit by digit, for a long and a short; no payment is lost to jitter."""
    times, rates, marks = _changing()
    charges = Charges(make_instrument(), _funding(times, rates), RULES)
    wanted = sum((Decimal(repr(float(r))) * m.value for r, m in zip(rates, marks, strict=True)), start=Decimal(0))
    for held in ("12.5", "-3.25"):
        assert _paid(charges, times, Quantity(held), marks) == Money(-Decimal(held) * wanted)


@pytest.mark.parametrize("made", [make_instrument(), INVERSE], ids=["linear", "inverse"])
def test_longs_pay_to_the_last_digit_what_shorts_get(made) -> None:
    """Rates and marks that do not divide."""
    times, rates, marks = _changing()
    charges = Charges(made, _funding(times, rates / 3), RULES)
    both = [_paid(charges, times, Quantity(held), marks) for held in ("7", "-7")]
    assert both[0] + both[1] == Money.zero()
    assert both[0]


def test_a_positive_rate_is_paid_by_the_long_of_either_contract() -> None:
    """1 bp of 100 x 100 = 10,000 quote, and of 100 x 100 / 100 = 100 coin."""
    for made, paid in ((make_instrument(), "-1"), (INVERSE, "-0.01")):
        charges = Charges(made, _funding([HOUR], [0.0001]), RULES)
        payment = charges.payment(HOUR, Quantity(100), Price(100))
        assert payment is not None
        assert payment.amount == Money(paid)


def test_without_a_tape_both_sides_pay_every_eight_hours() -> None:
    """Nobody is paid by a tape that is not there."""
    charges = Charges(make_instrument(), None, RULES)
    assert charges.next(3 * HOUR) == 8 * HOUR
    amounts = [charges.payment(8 * HOUR, Quantity(q), Price(100)) for q in (50, -50)]
    assert [payment.amount for payment in amounts if payment] == [Money("-0.5"), Money("-0.5")]


def test_spot_pays_nothing_but_for_borrowed_coins() -> None:
    """A short of 1 at 87,600 and 10 % a year: 1 an hour; a long nothing."""
    spot = make_instrument(contract=Contract.SPOT)
    assert Charges(spot, None, RULES).next(5) == NEVER
    charges = Charges(spot, None, BacktestConfig(spot_short=True, borrow_apr=0.1))
    assert charges.next(5) == HOUR
    payment = charges.payment(HOUR, Quantity(-1), Price(87_600))
    assert payment is not None
    assert float(payment.amount) == pytest.approx(-1.0)
    assert charges.payment(HOUR, Quantity(1), Price(87_600)) is None


def _marks(*rows: tuple[float, float]) -> Facts:
    times = np.array([int(t * SECOND) for t, _ in rows])
    return Facts.of("mark", times, times, [(price, np.nan) for _, price in rows])


def test_a_mark_counts_while_it_is_fresh() -> None:
    """Sixty seconds; a payment may be settled on one stamped up to a second later, nothing else may."""
    marks = Marks(_marks((10, 100.0), (100, 101.5)), RULES)
    assert [marks.at(t * SECOND) for t in (9, 10, 70, 71)] == [None, Price(100), Price(100), None]
    assert marks.settled(99 * SECOND) == Price("101.5")
    assert marks.at(99 * SECOND) is None


def test_the_mark_is_looked_at_at_each_row_and_on_a_grid_in_gaps() -> None:
    """A row ten seconds ahead is waited for, a row ninety seconds ahead is not."""
    marks = Marks(_marks((10, 100.0), (100, 101.5)), RULES)
    assert marks.next(5 * SECOND) == 10 * SECOND
    assert marks.next(10 * SECOND) == 11 * SECOND
    assert marks.next(100 * SECOND) == 101 * SECOND
